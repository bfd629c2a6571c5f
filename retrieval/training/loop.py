"""The training loop: epochs, validations, checkpoints, and the best weights at the end."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from retrieval.data import Dataset, Split
from retrieval.features import Features
from retrieval.observability import track
from retrieval.towers.config import TowerConfig
from retrieval.towers.pair import TowerPair
from retrieval.training.checkpoint import load_best
from retrieval.training.config import TrainingConfig
from retrieval.training.epoch import cut_epoch, train_epoch
from retrieval.training.journal import CURVES, draw_curves
from retrieval.training.machine import (
    Precision,
    chosen_precision,
    cpu_threads,
    limit_kernel_cache,
    matrix_precision,
    return_memory,
)
from retrieval.training.processes import processes_of
from retrieval.training.ranks import Ranks
from retrieval.training.run import HOW_IT_IS_RUN, Run, TrainingInputs, prepare_run
from retrieval.training.validation import Validate, end_epoch
from retrieval.training.warm_start import WarmStart

_log = logging.getLogger(__name__)

__all__ = ["HOW_IT_IS_RUN", "TrainResult", "Validate", "train"]


@dataclass(frozen=True)
class TrainResult:
    """The trained towers (the best validated weights), and how they came about."""

    pair: TowerPair
    metrics: Mapping[str, float]
    """Of the best validation; empty without one."""
    epochs: int
    best_epoch: int
    steps: int
    examples: int
    seconds: float
    """Time spent training, validation included, over all resumptions."""
    resumed_at: int
    """Steps that an earlier, interrupted run had done already."""
    curves: Path
    device: str
    """cpu or cuda: where it was trained (since it was resumed, if it was)."""
    precision: Precision
    """Of matrix products, likewise."""


def train(
    dataset: Dataset,
    split: Split,
    features: Features,
    towers: TowerConfig,
    config: TrainingConfig,
    *,
    run_dir: Path,
    validate: Validate | None = None,
    positive_actions: Sequence[str] = (),
    warm: WarmStart | None = None,
    show: bool = True,
) -> TrainResult:
    """Train both towers on the split's training events: the next item at every position of every history.

    `validate` measures the towers (in eval mode) every few epochs; the weights with the best `config.select` win. State
    With `warm`, training begins with what an earlier version learned. State
    is kept in `run_dir`; if an interrupted run with the same inputs left a checkpoint there, training goes on from it.
    With `config.processes` > 1, or started by torchrun, several processes share every step; the first validates and
    writes, and started by torchrun all return the same towers (`run_dir` must then be one folder for all).
    Raises DataError where there is nothing to train on, ConfigError for a device that isn't there, UnavailableError
    where one of several processes ends early.
    """
    inputs = TrainingInputs(dataset, split, features, towers, config, run_dir, tuple(positive_actions), warm)
    limit_kernel_cache()
    with processes_of(inputs, _follow) as ranks:
        run, resumed_at = _trained(inputs, ranks, validate, show=show)
    progress = run.progress
    if validate is not None:
        load_best(run_dir, run.pair, progress.signature)
    elif run.mean is not None:
        run.mean.apply()
    run.pair.eval()
    return TrainResult(
        pair=run.pair,
        metrics=progress.best_metrics,
        epochs=progress.epoch,
        best_epoch=progress.best_epoch,
        steps=progress.total_steps,
        examples=progress.examples,
        seconds=progress.seconds,
        resumed_at=resumed_at,
        curves=draw_curves(run_dir) if ranks.first else run_dir / CURVES,
        device=run.device.type,
        precision=chosen_precision(config, run.device),
    )


def _follow(inputs: TrainingInputs, ranks: Ranks) -> None:
    """What the processes other than the first do."""
    limit_kernel_cache()
    _trained(inputs, ranks, None, show=False)


def _trained(inputs: TrainingInputs, ranks: Ranks, validate: Validate | None, *, show: bool) -> tuple[Run, int]:
    """The run at its end, and the step that it was found at."""
    config = inputs.config
    if ranks.first:
        _log.info("training in %s on %s", chosen_precision(config, ranks.device), ranks.device.type)
    with cpu_threads(config, ranks.here), matrix_precision(config, ranks.device):
        run = prepare_run(inputs, ranks.device, ranks)
        resumed_at = run.progress.total_steps
        started = time.monotonic() - run.progress.seconds
        whole = config.epochs * _epoch_examples(run)
        with track("Training", whole, unit="examples", show=show and ranks.first) as tracker:
            tracker.advance(run.progress.examples)
            while not run.progress.finished:
                train_epoch(run, tracker, started)
                end_epoch(run, validate)
                run.progress.seconds = time.monotonic() - started
                run.save()
                return_memory()
    return run, resumed_at


def _epoch_examples(run: Run) -> int:
    """About how many targets an epoch has."""
    windows = cut_epoch(run, np.random.default_rng(0))
    first = windows.start if windows.fresh is None else windows.fresh
    return int((windows.stop - first).sum())
