"""What a build answers beside what its version was measured with, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.table import Table

from retrieval.evaluation.stages import Stages
from retrieval.types import BuildId, ModelVersion


@dataclass(frozen=True)
class ServedQuality:
    """What a build answers beside what its version was measured with."""

    version: ModelVersion
    build: BuildId
    asked: str
    """Address of the candidate service, or that this process answered."""
    split: str
    available: int
    """Targets that could have been asked for."""
    stages: Stages
    max_loss: float
    remarks: tuple[str, ...]

    def problems(self) -> list[str]:
        """Where more is lost than `max_loss`, a sentence each; empty when what is measured is what is served."""
        return self.stages.over(self.max_loss)

    def title(self) -> str:
        """What was asked, in a line."""
        some = "" if self.stages.targets == self.available else f" of {self.available:,}"
        return (
            f"{self.build} of {self.version}, {self.split}: {self.stages.targets:,}{some} targets, asked {self.asked}"
        )

    def tables(self) -> list[Table]:
        """For people."""
        return [self.stages.table(self.title())]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "version": str(self.version),
            "build": str(self.build),
            "asked": self.asked,
            "split": self.split,
            "available_targets": self.available,
            **self.stages.to_dict(),
            "max_loss": self.max_loss,
            "remarks": list(self.remarks),
            "problems": self.problems(),
        }
