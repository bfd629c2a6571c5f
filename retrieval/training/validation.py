"""The end of an epoch: what is written down, measured, kept as best, and when it is enough."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext

import numpy as np
import torch

from retrieval.errors import ConfigError
from retrieval.towers.pair import TowerPair
from retrieval.training.checkpoint import save_best
from retrieval.training.run import Run

Validate = Callable[[TowerPair], Mapping[str, float]]


def end_epoch(run: Run, validate: Validate | None) -> None:
    """Close the epoch; the first process validates every few of them, and says for all whether training ends.

    Raises DivergedError where a weight is not finite: it is neither measured nor kept.
    """
    run.check_weights()
    progress, config = run.progress, run.config
    progress.epoch, progress.step = progress.epoch + 1, 0
    run.ranks.check_equal(list(run.pair.parameters()), progress.total_steps)
    losses = [loss for loss in run.losses if not math.isnan(loss)]
    row = {"step": progress.total_steps, "epoch": progress.epoch, "examples": progress.examples}
    interests = run.objective.take_interests()
    run.write(
        {
            **row,
            **({"interests": interests} if interests else {}),
            "kind": "train",
            "loss": float(np.mean(losses)) if losses else None,
            "temperature": float(run.pair.log_temperature.detach().exp()),
        }
    )
    run.losses.clear()
    last = progress.epoch >= config.epochs
    if validate is not None and run.ranks.first and (last or progress.epoch % config.validate_every == 0):
        run.pair.eval()
        with nullcontext() if run.mean is None else run.mean.applied():
            with torch.no_grad():
                metrics = dict(validate(run.pair))
            run.write({**row, "kind": "validation", "metrics": metrics})
            _compare(run, metrics)
    progress.finished = bool(run.ranks.broadcast_first(last or progress.stale >= config.patience))


def _compare(run: Run, metrics: dict[str, float]) -> None:
    """Keep the weights if they are the best so far; equally good ones count as stale, the earlier stay."""
    progress, name = run.progress, run.config.select
    if name not in metrics:
        raise ConfigError(f"training.select: no metric {name!r}; the validation has {', '.join(sorted(metrics))}")
    if progress.best is not None and not (metrics[name] > progress.best or math.isnan(progress.best)):
        progress.stale += 1
        return
    progress.best, progress.best_epoch, progress.best_metrics = metrics[name], progress.epoch, metrics
    progress.stale = 0
    save_best(run.run_dir, run.pair, progress)
