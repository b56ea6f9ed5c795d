"""Rational activation functions: a polynomial over a positive one, learned for each layer (RAFT)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from actbench.activations import coefficients
from actbench.activations.base import ElementwiseActivation, Sharing
from actbench.activations.by_hand import columns, elements, moments, subtract_product, times, with_sign_of
from actbench.activations.fitting import C_OFFSET, MOST, Version
from actbench.activations.horner import derivative, even_and_odd, horner
from actbench.activations.options import check
from actbench.activations.registry import code_hash, register
from actbench.activations.starts import start
from actbench.errors import BadInput

Finite = Annotated[float, Field(allow_inf_nan=False)]
Terms = Sequence[Tensor | float]  # a polynomial's coefficients from the constant on, each a number, () or (F,)

DEFAULT_INIT = "gelu"
NOISE = 0.1  # version D's coefficients are multiplied by a number from [1 - NOISE, 1 + NOISE]
SAFE_DEGREE = 7  # to which powers of fp16's numbers are far from fp32's largest


@register("raf")
class RAF(ElementwiseActivation):
    """RAFT's rational function, ten scalars a layer at degrees (5, 4).

    The denominator by `version`, with S = b_1 x + ... + b_n x^n. A: 1 + |b_1 x| + ... + |b_n x^n|. B: 1 + |S|. C: 0.1 +
    |b_0 + S|. D: B, and in training each coefficient is multiplied by a random number from [0.9, 1.1]. N: 1 + S, which
    may become zero.

    It starts like the activation `init`: as published for version A and degrees (5, 4) on [-3, 3], else by a fit on
    `range`. Or it starts at `numerator` (a_0..a_m) and `denominator` (b_1..b_n, C: b_0..b_n). Or, in recipes, `init` is
    a coefficient file, FILE.json or FILE.json:MODEL. Outside of `range` the formula goes on, or, with `outside`
    "linear", the tangents at its ends do.

    In fp32 it is finite for |x| <= 65504, in degrees (5, 4) up to 1e7. Above degree 7 it is constant far out, where
    powers would overflow. Raises ValueError for options that do not fit together.
    """

    formula = r"\frac{\sum_{i=0}^{m} a_i x^i}{1 + \sum_{j=1}^{n} |b_j x^j|}"
    source = (
        "Fang et al. 2023, Transformers with Learnable Activation Functions, Findings of EACL, "
        "arXiv 2208.14111; after Molina et al. 2020, Padé Activation Units, ICLR, arXiv 1907.06732"
    )
    symbols: ClassVar = {"numerator": r"a_0, \dots, a_m", "denominator": r"b_1, \dots, b_n"}

    def __init__(
        self,
        degrees: tuple[Annotated[int, Field(ge=0, le=MOST)], Annotated[int, Field(ge=1, le=MOST)]] = (5, 4),
        version: Version = "A",
        init: str = DEFAULT_INIT,
        numerator: list[Finite] | None = None,
        denominator: list[Finite] | None = None,
        outside: Literal["extrapolate", "linear"] = "extrapolate",
        range: tuple[Finite, Finite] = (-3.0, 3.0),
        sharing: Sharing = "layer",
        width: int | None = None,
    ):
        super().__init__(sharing, width)
        if not range[0] < 0 < range[1]:
            raise ValueError(f"range must go from a negative to a positive number, not from {range[0]} to {range[1]}")
        if init != DEFAULT_INIT and (numerator is not None or denominator is not None):
            raise ValueError(f"give init '{init}' or coefficients, not both")
        self.degrees, self.version, self.outside, self.range = degrees, version, outside, range
        if numerator is None and denominator is None:
            if coefficients.names_file(init):
                raise ValueError(f"init: the file {init} is read by recipes and by `create` alone")
            numerator, denominator = map(list, start(init, version, degrees, range))
        a, b = _matching(numerator, denominator, degrees, version)
        self.numerator, self.denominator = self.coefficient(a), self.coefficient(b)

    @property
    def draws(self) -> bool:
        """True for version D in training."""
        return self.version == "D" and self.training

    def compute(self, x: Tensor) -> Tensor:
        """P(x) / Q(x), (..., F) -> (..., F)."""
        a, b = self._terms()
        if self.outside == "linear":
            low, high = self.range
            inside = x.clamp(low, high)
            slope = torch.where(x > 0, self._slope(a, b, high), self._slope(a, b, low))
            return self._ratio(a, b, inside) + slope * (x - inside)
        if max(self.degrees) > SAFE_DEGREE:
            reach = torch.finfo(x.dtype).max ** (0.9 / max(self.degrees))
            x = x.clamp(-reach, reach)
        return self._ratio(a, b, x)

    def has_gradients(self) -> bool:
        """Where the formula goes on as it is, without noise, for one set of coefficients."""
        plain = self.outside == "extrapolate" and max(self.degrees) <= SAFE_DEGREE and not self.draws
        return plain and super().has_gradients()

    def gradients(self, inputs: Sequence[Tensor], grad: Tensor) -> Sequence[Tensor]:
        """By hand: f = P / Q, with Q made of a polynomial in t, which is |x| for version A and x for the others."""
        (x,), (a, b) = inputs, self._terms()
        inner, t, square = self._inner(b), x.abs() if self.version == "A" else x, x * x
        value = even_and_odd(inner, t, square)
        inverse = self._around(value).reciprocal()  # a division takes as long as a dozen multiplications
        by_p = grad * inverse
        # By the polynomial that Q is made of, with the sign turned.
        less = times(times(even_and_odd(a, x, square), inverse), by_p)
        if self.version in "BCD":
            less = with_sign_of(value, less)
        by_t = times(even_and_odd(derivative(inner), t, square), less)
        by_x = times(even_and_odd(derivative(a), x, square), by_p)
        by_x = subtract_product(by_x, by_t, x.sgn()) if self.version == "A" else by_x - by_t
        by_a, by_b = moments(by_p, x, square, len(a)), -moments(less, t, square, len(inner))[len(inner) - len(b) :]
        if self.version == "A":
            by_b = with_sign_of(self.denominator, by_b)
        return by_x, *self.not_frozen(numerator=by_a, denominator=by_b)

    @classmethod
    def expand(cls, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        """With coefficients in the place of an `init` that does not ship with actbench: a file's, or those of a fit."""
        init = options.get("init")
        others = {key: value for key, value in options.items() if key != "init"}
        if not coefficients.names_file(init):
            return [{**others, **_fitted(cls, options)} if _foreign(init) else dict(options)]
        _, entries = coefficients.read(options["init"])
        return [_expanded(entry, others) for entry in entries]

    def _terms(self) -> tuple[Terms, Terms]:
        """a_0..a_m and b_1..b_n (A: |b_1|..|b_n|; C: b_0..b_n), ready to meet x."""
        above: Tensor = self.numerator
        below: Tensor = self.denominator
        if self.draws:
            above, below = _noisy(above), _noisy(below)
        below = _magnitude(below) if self.version == "A" else below
        terms = elements if self.outside == "extrapolate" else columns
        return terms(self.spread(above)), terms(self.spread(below))

    def _ratio(self, a: Terms, b: Terms, x: Tensor) -> Tensor:
        t, square = x.abs() if self.version == "A" else x, x * x
        return even_and_odd(a, x, square) * self._around(even_and_odd(self._inner(b), t, square)).reciprocal()

    def _around(self, inner: Tensor) -> Tensor:
        """The denominator, from the polynomial that it is made of."""
        return inner if self.version in "AN" else self._offset + _magnitude(inner)

    def _inner(self, b: Terms) -> Terms:
        """The polynomial that the denominator is made of: in |x| for version A, in x for the others."""
        if self.version == "C":
            return b
        return float(self.version in "AN"), *b

    @property
    def _offset(self) -> float:
        return C_OFFSET if self.version == "C" else 1.0

    def _slope(self, a: Terms, b: Terms, x: float) -> Tensor:
        """The derivative at an x that is not zero: () or (F,)."""
        inner, t = self._inner(b), abs(x) if self.version == "A" else x
        p, q = horner(a, x), horner(inner, t)
        dp, dq = horner(derivative(a), x), horner(derivative(inner), t)
        if self.version == "A" and x < 0:
            dq = -dq
        elif self.version in "BCD":
            q, dq = self._offset + _magnitude(q), torch.where(q >= 0, dq, -dq)
        return (dp - p / q * dq) / q


def _magnitude(value: Any) -> Tensor:
    """|value|, with the derivative 1 at zero: with torch's, which is 0 there, a b_j of zero would never move."""
    return with_sign_of(value, value) if torch.is_grad_enabled() else value.abs()


def _foreign(init: Any) -> bool:
    """Whether `init` names an activation whose code is not part of actbench."""
    try:
        return isinstance(init, str) and code_hash(init) is not None
    except BadInput:  # the constructor tells
        return False


def _fitted(cls: type[RAF], options: Mapping[str, Any]) -> dict[str, Any]:
    """The coefficients that the constructor would start at; nothing where the options are wrong, which it tells."""
    checked, problems = check(cls, options)
    if problems:
        return {"init": options["init"]}
    with torch.device("cpu"):
        module = cls(**{**checked, "sharing": "layer"})
    return {"numerator": module.numerator.tolist(), "denominator": module.denominator.tolist()}


def _noisy(parameter: Tensor) -> Tensor:
    return parameter * torch.empty_like(parameter).uniform_(1 - NOISE, 1 + NOISE)


def _matching(
    numerator: list[float] | None, denominator: list[float] | None, degrees: tuple[int, int], version: Version
) -> tuple[list[float], list[float]]:
    if numerator is None or denominator is None:
        raise ValueError("give both numerator and denominator, or neither")
    wanted = degrees[0] + 1, degrees[1] + (version == "C")
    if (len(numerator), len(denominator)) != wanted:
        numbers = f"{wanted[0]} numerator and {wanted[1]} denominator coefficients"
        raise ValueError(f"degrees {degrees} need {numbers}, not {len(numerator)} and {len(denominator)}")
    return numerator, denominator


def _expanded(entry: coefficients.Entry, others: Mapping[str, Any]) -> dict[str, Any]:
    """The options `others` with the entry's coefficients, where they do not contradict it."""
    said = {
        "version": entry.version,
        "degrees": list(entry.degrees),
        "numerator": entry.numerator,
        "denominator": entry.denominator,
    }
    for key, value in said.items():
        given = others.get(key, value)
        if (list(given) if isinstance(given, list | tuple) else given) != value:
            raise ValueError(f"{key}: {given} contradicts the coefficient file, which has {value}")
    return {**others, **said}
