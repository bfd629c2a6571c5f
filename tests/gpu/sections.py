"""The sections: what each is for, what it needs, and how long it may take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from tests.gpu.report import Recorder

if TYPE_CHECKING:
    import torch

_TOWERS = ("torch", "numpy", "pyarrow", "pydantic", "safetensors", "filelock", "rich")


@dataclass(frozen=True)
class Place:
    """Where and how large: the device that is checked, and whether sizes are those of the script's own test."""

    device: torch.device
    small: bool


@dataclass(frozen=True)
class Section:
    """A module of this folder whose `run(record, place)` makes the checks."""

    module: str
    seconds: float
    """After so many it is ended."""
    needs: tuple[str, ...]
    """Packages without which it is left out."""

    def load(self) -> Callable[[Recorder, Place], None]:
        """The section's `run`."""
        run: Callable[[Recorder, Place], None] = import_module(f"tests.gpu.{self.module}").run
        return run


SECTIONS = {
    section.module: section
    for section in (
        Section("ceilings", 45, ("torch",)),
        Section("towers", 75, _TOWERS),
        Section("losses", 60, _TOWERS),
        Section("training", 150, (*_TOWERS, "matplotlib")),
        Section("encoding", 45, _TOWERS),
        Section("export", 45, (*_TOWERS, "onnx", "onnxruntime")),
        Section("speed", 110, _TOWERS),
        Section("processes", 75, (*_TOWERS, "matplotlib")),
    )
}
