"""Which smooth functions networks of which activations are fitted to."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from actbench.config.section import Positive, Section, Seed, Several

MOST_PARAMETERS = 2000  # of a network: time grows with the cube


class ApproximationSection(Section):
    """Every target is fitted by every activation at every size from every seed: see docs/analyses.md."""

    targets: Annotated[Several[str], Field(min_length=1)] = ("square", "sine", "ripple")
    activations: Annotated[Several[str], Field(min_length=1)] = ("relu", "gelu", "poly_relu", "poly_norm", "raf")
    sizes: Annotated[Several[Annotated[Positive, Field(le=MOST_PARAMETERS)]], Field(min_length=1)] = (16, 32, 64, 128)
    seeds: Annotated[Several[Seed], Field(min_length=1)] = (0, 1, 2, 3, 4)

    @field_validator("seeds")
    @classmethod
    def _once(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(dict.fromkeys(seeds))

    @property
    def combinations(self) -> list[tuple[str, str, int]]:
        """(target, activation, size), each once; a fit has all seeds."""
        return [
            (target, activation, size)
            for target in dict.fromkeys(self.targets)
            for activation in dict.fromkeys(self.activations)
            for size in sorted(set(self.sizes))
        ]
