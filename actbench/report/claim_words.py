"""What a report says of the study's claim: the claim in exact terms, its verdict, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from actbench.analysis.claims import Claim, Finding, Judgement, Verdict, judge
from actbench.analysis.comparisons import Family
from actbench.analysis.paired import ENOUGH_PAIRS
from actbench.analysis.statements import Statement
from actbench.report.numbers import difference_and_interval, p_value, plural
from actbench.report.stated_words import in_time
from actbench.report.tables import LOSS_DIGITS, SCORE_DIGITS

MEANING: dict[Verdict, str] = {
    "supported": "In every model it speaks of, the difference goes as claimed and stands after correction.",
    "not supported": "The runs do not show it, nor that it is wrong: the interval says what remains possible.",
    "refuted": "The runs show that it is not so.",
    "cannot be judged": "These runs cannot tell.",
}


@dataclass(frozen=True)
class ClaimText:
    """The claim and its verdict for readers; `data` is the same as JSON data.

    `tested` is the claim in exact terms and, if it was in time, when it was stated.
    """

    text: str
    tested: str
    verdict: Verdict
    meaning: str
    reasons: tuple[str, ...]
    data: dict[str, Any]


def claim_text(claim: Claim, family: Family, statements: Sequence[Statement] = ()) -> ClaimText:
    """The verdict on a claim, in words. `statements` tell when it was stated, if that is known."""
    judgement = judge(claim, family)
    reasons = tuple(_reason(finding, claim, family) for finding in judgement.findings)
    meaning = MEANING[judgement.verdict]
    tested = " ".join(part for part in (_tested(claim, family), in_time(statements)) if part)
    return ClaimText(claim.text, tested, judgement.verdict, meaning, reasons, _data(claim, judgement))


def _tested(claim: Claim, family: Family) -> str:
    what = "validation loss after pre-training" if claim.task is None else f"score on {claim.task}"
    margin = f" by more than {claim.margin:g} {_unit(claim)}" if claim.margin else ""
    models = "every model" if claim.model is None else claim.model
    return f"Tested: {claim.activation} has a {claim.towards} {what} than {family.baseline}{margin}, in {models}."


def _reason(finding: Finding, claim: Claim, family: Family) -> str:
    difference = finding.difference
    if difference is None or difference.mean is None:
        return f"{finding.model}: {finding.verdict}, {finding.why}."
    shown = f"{difference_and_interval(difference, LOSS_DIGITS if claim.task is None else SCORE_DIGITS)} {_unit(claim)}"
    over = f"{shown} over {plural(difference.n, 'seed')}"
    if finding.why == "too few seeds":
        return f"{finding.model}: {finding.verdict}, {over}; it takes {ENOUGH_PAIRS} to conclude."
    if finding.why:
        return f"{finding.model}: {finding.verdict}, {over}; {finding.why}."
    against = f" against the margin of {claim.margin:g}" if claim.margin else ""
    sign = "" if (value := p_value(finding.p_value)).startswith("<") else "= "
    test = f"paired t-test{against}, p {sign}{value} after Holm's correction for {plural(family.tested, 'comparison')}"
    return f"{finding.model}: {finding.verdict}, {over}; {test}."


def _unit(claim: Claim) -> str:
    return "nats" if claim.task is None else "points"


def _data(claim: Claim, judgement: Judgement) -> dict[str, Any]:
    findings = [
        {
            "model": finding.model,
            "verdict": finding.verdict,
            "mean": finding.difference.mean if finding.difference else None,
            "p_value": finding.p_value,
            "why": finding.why,
        }
        for finding in judgement.findings
    ]
    return {
        **claim.model_dump(mode="json"),
        "direction": claim.towards,
        "verdict": judgement.verdict,
        "findings": findings,
    }
