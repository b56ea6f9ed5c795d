"""What a study stated and when: its claim, the comparisons besides, and the baseline that both go by.

A claim tests something as far as it was made before its results were there to be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field

from actbench.analysis.claims import Claim
from actbench.analysis.comparisons import Stated
from actbench.config.section import Section, Several

Part = Literal["claim", "comparisons", "baseline"]
How = Literal["stated", "changed", "withdrawn"]


class Statement(Section):
    """What a study asked at a time, when `finished` of its runs were finished."""

    time: AwareDatetime
    finished: Annotated[int, Field(ge=0)]
    baseline: str
    claim: Claim | None = None
    comparisons: Several[Stated] = ()

    def asks(self) -> dict[Part, Any]:
        """Its parts, None for one it lacks, alike for all ways to write the same."""
        claim = self.claim and self.claim.model_copy(update={"direction": self.claim.towards})
        pairs = sorted((one.activation, one.against) for one in self.comparisons)
        return {"claim": claim, "comparisons": pairs or None, "baseline": self.baseline}


@dataclass(frozen=True)
class Change:
    """How a statement differs from the one before it: which parts, and in what way."""

    how: How
    parts: tuple[Part, ...]
    statement: Statement


def changes(statements: Sequence[Statement]) -> Iterator[Change]:
    """All changes from one statement to the next, oldest first. The first states its claim and its comparisons."""
    for former, now in zip([None, *statements], statements, strict=False):
        asked = now.asks()
        before = former.asks() if former else {"claim": None, "comparisons": None, "baseline": now.baseline}
        found: dict[How, list[Part]] = {}
        for part in asked:
            if asked[part] != before[part]:
                how: How = "stated" if before[part] is None else "withdrawn" if asked[part] is None else "changed"
                found.setdefault(how, []).append(part)
        yield from (Change(how, tuple(parts), now) for how, parts in found.items())
