"""Settings of `[gates]`: a threshold for each gate."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from pydantic import Field, create_model, field_validator

from retrieval.config import Section
from retrieval.rollout.gates import GATES


class _Gates(Section):
    """`[gates]`: what must hold before a retrained version goes live; each key is a gate's threshold."""

    off: tuple[str, ...] = Field((), description="Gates that are not asked, by name.")
    warn: tuple[str, ...] = Field(
        ("version_skew",),
        description="Gates that only warn, by name: what they find is recorded and said, not refused.",
    )

    @field_validator("off", "warn")
    @classmethod
    def _are_gates(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in names if name not in GATES]
        if unknown:
            raise ValueError(f"{', '.join(unknown)}: no such gate; there are: {', '.join(GATES)}")
        return names

    def threshold(self, gate: str) -> float:
        """The threshold of a gate."""
        return float(getattr(self, gate))


if TYPE_CHECKING:
    GatesConfig: TypeAlias = _Gates
else:
    GatesConfig = create_model(
        "GatesConfig",
        __base__=_Gates,
        __doc__=_Gates.__doc__,
        __module__=__name__,
        **{name: (float, Field(gate.threshold, description=gate.about)) for name, gate in GATES.items()},
    )
