"""What a search found, as settings: TOML lines to paste into retrieval.toml, and a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retrieval.config import laid_over
from retrieval.errors import ConfigError
from retrieval.toml_text import toml_text
from retrieval.training.loop import HOW_IT_IS_RUN
from retrieval.workflows.tuning.search_space import SECTIONS, nested
from retrieval.workflows.tuning.tune import TuneOutcome


def best_lines(outcome: TuneOutcome) -> str:
    """The best trial's values as TOML; empty where no trial has finished."""
    if outcome.best is None:
        return ""
    found: dict[str, Any] = {}
    for key, value in outcome.best.values.items():
        found = laid_over(found, nested(key, value))
    return toml_text(found)


def recipe_text(outcome: TuneOutcome, device: str) -> str:
    """A recipe: the workspace's settings of features, towers and training, with the best trial's values.

    Raises ConfigError where no trial has finished.
    """
    if outcome.best is None:
        raise ConfigError("no trial has finished, so there is no best one to write down")
    laid = outcome.base.laid(outcome.best.values)
    kept: dict[str, Any] = {name: _without_how(name, laid[name]) for name in SECTIONS if name in laid}
    head = (
        f"# Found by retrieval tune: validation {outcome.metric} {outcome.best.metric:.4f}, on {device}.",
        f"# {outcome.about}.",
    )
    return "\n".join(head) + "\n\n" + toml_text(kept)


def write_recipe(outcome: TuneOutcome, path: Path, *, device: str) -> bool:
    """Write the best settings down as a recipe; False where no trial has finished, and nothing is written.

    `device` is the setting that the trials ran with: auto, cpu or cuda.
    """
    if outcome.best is None:
        return False
    import torch

    used = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    path.write_text(recipe_text(outcome, used), encoding="utf-8")
    return True


def check_target(path: Path) -> None:
    """Whether a recipe can be written there, before hours are spent. Raises ConfigError."""
    if path.suffix != ".toml":
        raise ConfigError(f"--write {path}: a recipe's file ends in .toml")
    if path.exists():
        raise ConfigError(f"--write {path}: exists; it is left as it is")
    if not path.parent.is_dir():
        raise ConfigError(f"--write {path}: there is no folder {path.parent}")


def _without_how(name: str, section: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if name != "training" or key not in HOW_IT_IS_RUN}
