"""Numbers as text. A true minus sign, no false precision, and a dash where there is nothing to show."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from actbench.analysis.paired import Difference, Spread
from actbench.analysis.power import MOST_SEEDS, Needed
from actbench.analysis.tasks import Estimate

MINUS, NOTHING = "\N{MINUS SIGN}", "\N{EN DASH}"
SIGNIFICANT, MOST_DIGITS = 2, 10  # what would need more digits than the most is rounding, and shown as the zero it is
FEWEST_TO_PLAN = 3  # pairs; the true spread may be 32 times that of two, which is no ground to count seeds by


def digits_for(values: Iterable[float], usual: int) -> int:
    """How many digits the numbers of a cell need: more than `usual` where one that is not zero would look it.

    The smallest such number then shows two significant digits.
    """
    vanishing = [abs(value) for value in values if value and math.isfinite(value) and not float(f"{value:.{usual}f}")]
    needed = [SIGNIFICANT - 1 - math.floor(math.log10(value)) for value in vanishing]
    return max([usual, *(digits for digits in needed if digits <= MOST_DIGITS)])


def signed(value: float, digits: int) -> str:
    """+0.021 or −0.021."""
    return f"{value:+.{digits}f}".replace("-", MINUS)


def plain(value: float, digits: int) -> str:
    """0.021 or −0.021."""
    return f"{value:,.{digits}f}".replace("-", MINUS)


def mean_and_sd(spread: Spread, digits: int) -> str:
    """5.012 ± 0.004, or the mean alone of a single seed."""
    if spread.sd is None:
        return plain(spread.mean, digits_for([spread.mean], digits))
    digits = digits_for([spread.mean, spread.sd], digits)
    return f"{plain(spread.mean, digits)} ± {spread.sd:,.{digits}f}"


def difference_and_interval(difference: Difference, digits: int) -> str:
    """−0.021 [−0.031, −0.011], or the difference alone where it has no interval."""
    if difference.mean is None:
        return NOTHING
    return signed_with_interval(difference.mean, difference.interval, digits)


def signed_with_interval(value: float, ends: tuple[float, float] | None, digits: int) -> str:
    """−0.021 [−0.031, −0.011], or the value alone."""
    digits = digits_for([value, *(ends or ())], digits)
    text = signed(value, digits)
    return text if ends is None else f"{text} {interval(ends, digits)}"


def pairs(difference: Difference, caution: str) -> str:
    """6, or 3 (too few seeds, 1 dropped)."""
    dropped = f"{difference.dropped} dropped" if difference.dropped else ""
    remarks = ", ".join(remark for remark in (caution, dropped) if remark)
    return f"{difference.n} ({remarks})" if remarks else str(difference.n)


def interval(ends: tuple[float, float] | None, digits: int) -> str:
    """[−0.031, −0.011]."""
    if ends is None:
        return NOTHING
    digits = digits_for(ends, digits)
    return f"[{signed(ends[0], digits)}, {signed(ends[1], digits)}]"


def with_interval(estimate: Estimate | None, digits: int) -> str:
    """71.20 [70.10, 72.30] of what is no difference, or the value alone."""
    if estimate is None:
        return NOTHING
    digits = digits_for([estimate.value, *(estimate.interval or ())], digits)
    text = f"{estimate.value:.{digits}f}"
    if estimate.interval is not None:
        text += f" [{estimate.interval[0]:.{digits}f}, {estimate.interval[1]:.{digits}f}]"
    return text.replace("-", MINUS)


def p_value(value: float | None) -> str:
    """0.034, or < 0.001."""
    if value is None:
        return NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def seeds(number: int | None) -> str:
    """1,234, or > 10,000 where no more were tried."""
    return f"> {MOST_SEEDS:,}" if number is None else f"{number:,}"


def needed_seeds(needed: Needed | None) -> str:
    """34 [14 to 262]: the seeds needed, and the range that the uncertain spread allows."""
    if needed is None:
        return NOTHING
    if needed.low is None:
        return seeds(None)
    return f"{seeds(needed.seeds)} [{seeds(needed.low)} to {seeds(needed.high)}]"


def count(value: float) -> str:
    """434,816 below a million; 12.3 M, 1.2 B above."""
    for unit, name in ((1e9, "B"), (1e6, "M")):
        if value >= unit:
            return f"{value / unit:.4g} {name}"
    return f"{value:,.0f}"


def rough(value: float) -> str:
    """819 K, 1.64 M: three digits."""
    for unit, name in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if value >= 0.9995 * unit:  # what is rounded to 1000 of the next unit is one of this
            return f"{value / unit:.3g} {name}"
    return f"{value:.0f}"


def duration(seconds: float) -> str:
    """48 s, 12.3 min, 4.5 h, 3.1 d."""
    for unit, name in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 1.5 * unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:.0f} s"


def plural(number: int, noun: str) -> str:
    """1 run, 2 runs."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def join(words: Sequence[str]) -> str:
    """a, b and c."""
    return ", ".join(words[:-1]) + " and " + words[-1] if len(words) > 1 else words[0]
