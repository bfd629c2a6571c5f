"""Checkpoints: what a run needs to go on exactly where it stopped. safetensors and JSON only; nothing is unpickled.

A run's folder holds `checkpoint-<steps>/` (state.safetensors, progress.json, MANIFEST.json) and `best/`, alike.
Each is written under another name, flushed, and renamed: a run that is killed leaves the one before it whole.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from retrieval.errors import ArtifactError
from retrieval.storage import verify, write_manifest
from retrieval.storage.atomic import staged_folder
from retrieval.training.ema import WeightMean

KIND = "checkpoint"
_STATE, _PROGRESS = "state.safetensors", "progress.json"
_PREFIX = "checkpoint-"
BEST = "best"


class Stateful(Protocol):
    """What goes on from its own past: memory of negatives, streaming estimates."""

    def state(self) -> Mapping[str, Tensor]:
        """All of it, by name."""

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take it up again."""


@dataclass
class Progress:
    """Where a run stands. Everything random is drawn from (seed, epoch, step), so that no generator state is kept."""

    signature: str
    """Hash of what the run is made from; a checkpoint of another signature is not resumed."""
    epoch: int = 0
    step: int = 0
    """Batches done in this epoch."""
    total_steps: int = 0
    examples: int = 0
    seconds: float = 0.0
    stale: int = 0
    """Validations since the best one."""
    best: float | None = None
    best_epoch: int = 0
    best_metrics: dict[str, float] = field(default_factory=dict)
    finished: bool = False


def save_checkpoint(
    run_dir: Path,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    progress: Progress,
    mean: WeightMean | None = None,
    *,
    objective: Stateful | None = None,
) -> Path:
    """Write a checkpoint and let go of the older ones."""
    state = {f"model.{name}": value for name, value in model.state_dict().items()}
    state.update(_optimiser_tensors(optimiser))
    if mean is not None:
        state.update({f"mean.{name}": value for name, value in mean.state().items()})
    if objective is not None:
        state.update({f"objective.{name}": value for name, value in objective.state().items()})
    target = run_dir / f"{_PREFIX}{progress.total_steps:010d}"
    _write(target, state, progress)
    for older in _checkpoints(run_dir)[:-1]:
        shutil.rmtree(older)
    return target


def load_checkpoint(
    run_dir: Path,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    signature: str,
    mean: WeightMean | None = None,
    *,
    objective: Stateful | None = None,
) -> Progress | None:
    """Load the newest whole checkpoint into what is given; None where there is none of this signature."""
    for folder in reversed(_checkpoints(run_dir)):
        try:
            progress, state = _read(folder)
        except ArtifactError:
            continue  # killed before it was whole, or damaged since: the one before it serves
        if progress.signature != signature:
            continue
        model.load_state_dict(_part(state, "model."))
        _restore_optimiser(optimiser, state)
        if mean is not None:
            mean.restore(_part(state, "mean."))
        if objective is not None:
            objective.restore(_part(state, "objective."))
        return progress
    return None


def newest_optimiser_state(run_dir: Path) -> dict[int, dict[str, Tensor]]:
    """The optimiser's state in the newest whole checkpoint of a run, by the number of the weight; empty without one."""
    for folder in reversed(_checkpoints(run_dir)):
        try:
            return _optimiser_entries(_read(folder)[1])
        except ArtifactError:
            continue
    return {}


def save_best(run_dir: Path, model: nn.Module, progress: Progress) -> None:
    """Keep the weights that validate best so far."""
    _write(run_dir / BEST, {f"model.{name}": value for name, value in model.state_dict().items()}, progress)


def load_best(run_dir: Path, model: nn.Module, signature: str) -> None:
    """Load the weights that validated best. Raises ArtifactError where they are missing or damaged."""
    progress, state = _read(run_dir / BEST)
    if progress.signature != signature:
        raise ArtifactError(f"{run_dir / BEST}: weights of another run; train with --fresh")
    model.load_state_dict({name.removeprefix("model."): value for name, value in state.items()})


def _write(target: Path, state: Mapping[str, Tensor], progress: Progress) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with staged_folder(target, existing="replace") as folder:
        save_file({name: value.detach().cpu().contiguous() for name, value in state.items()}, folder / _STATE)
        (folder / _PROGRESS).write_text(json.dumps(asdict(progress), indent=1), encoding="utf-8")
        write_manifest(folder, KIND, {"signature": progress.signature, "steps": progress.total_steps})


def _read(folder: Path) -> tuple[Progress, dict[str, Tensor]]:
    verify(folder, kind=KIND)
    try:
        progress = Progress(**json.loads((folder / _PROGRESS).read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ArtifactError(f"{folder / _PROGRESS}: not a run's progress: {error}") from error
    return progress, load_file(folder / _STATE)


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _checkpoints(run_dir: Path) -> list[Path]:
    return sorted(path for path in run_dir.glob(f"{_PREFIX}*") if path.is_dir())


def _optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"optimiser.{number}.{name}": value
        for number, entry in optimiser.state_dict()["state"].items()
        for name, value in entry.items()
    }


def _restore_optimiser(optimiser: torch.optim.Optimizer, state: Mapping[str, Tensor]) -> None:
    whole = optimiser.state_dict()
    optimiser.load_state_dict({"state": _optimiser_entries(state), "param_groups": whole["param_groups"]})


def _optimiser_entries(state: Mapping[str, Tensor]) -> dict[int, dict[str, Any]]:
    entries: dict[int, dict[str, Any]] = {}
    for key, value in state.items():
        kind, _, rest = key.partition(".")
        if kind == "optimiser":
            number, _, name = rest.partition(".")
            entries.setdefault(int(number), {})[name] = value
    return entries
