"""The training loop: epochs of batches, validations, checkpoints, and the best weights at the end.

All that is random is drawn from (seed, epoch, step), so a run that is killed and resumed ends with the same weights as
one that wasn't.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from retrieval.data import Dataset, Split
from retrieval.errors import ConfigError, DataError
from retrieval.features import Features
from retrieval.observability import Tracker, track
from retrieval.towers.config import TowerConfig
from retrieval.towers.offline import SideInputs, item_inputs
from retrieval.towers.pair import TowerPair, build_pair
from retrieval.training.checkpoint import Progress, load_best, load_checkpoint, save_best, save_checkpoint
from retrieval.training.config import TrainingConfig
from retrieval.training.ema import WeightMean
from retrieval.training.journal import Journal, draw_curves
from retrieval.training.labels import Labels, target_actions
from retrieval.training.machine import chosen_device, cpu_threads, limit_kernel_cache, matrix_precision, return_memory
from retrieval.training.optimiser import make_optimiser, rate_at, set_rate
from retrieval.training.popularity import count_items
from retrieval.training.sequences import SequenceReader, Windows, cut_windows, order_batches
from retrieval.training.step import Objective, StepInputs

Validate = Callable[[TowerPair], Mapping[str, float]]
HOW_IT_IS_RUN = {"checkpoint_seconds", "threads", "device"}
"""Settings that don't decide what is learned."""
_SMALLEST_BATCH = 64  # tokens
_ORDER, _STEP = 0, 1  # what a generator is for; part of its seed


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


@dataclass
class _Run:
    """The parts of one run."""

    config: TrainingConfig
    device: torch.device
    split: Split
    offsets: np.ndarray
    window: int
    reader: SequenceReader
    objective: Objective
    pair: TowerPair
    optimiser: torch.optim.AdamW
    mean: WeightMean | None
    run_dir: Path
    progress: Progress
    journal: Journal
    losses: list[float] = field(default_factory=list)


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
    show: bool = True,
) -> TrainResult:
    """Train both towers on the split's training events: the next item at every position of every history.

    `validate` measures the towers (in eval mode) every few epochs; the weights with the best `config.select` win. State
    is kept in `run_dir`; if an interrupted run with the same inputs left a checkpoint there, training goes on from it.
    Raises DataError where there is nothing to train on, ConfigError for a device that isn't there.
    """
    device = chosen_device(config)
    limit_kernel_cache()
    with cpu_threads(config):
        run = _prepare(
            dataset,
            split,
            features,
            towers,
            config,
            run_dir=run_dir,
            device=device,
            positive_actions=positive_actions,
        )
        resumed_at = run.progress.total_steps
        with matrix_precision(config):
            _epochs(run, validate, show)
        if validate is not None:
            load_best(run_dir, run.pair, run.progress.signature)
        elif run.mean is not None:
            run.mean.apply()
    run.pair.eval()
    progress = run.progress
    return TrainResult(
        pair=run.pair,
        metrics=progress.best_metrics,
        epochs=progress.epoch,
        best_epoch=progress.best_epoch,
        steps=progress.total_steps,
        examples=progress.examples,
        seconds=progress.seconds,
        resumed_at=resumed_at,
        curves=draw_curves(run_dir),
    )


def training_time(dataset: Dataset, split: Split) -> int:
    """Time of the newest training event in µs: what item features are seen as of."""
    histories = dataset.histories
    ends = split.train_end[split.train_end > histories.offsets[:-1]]
    return int(histories.timestamps[ends - 1].max()) if len(ends) else 0


def _prepare(
    dataset: Dataset,
    split: Split,
    features: Features,
    towers: TowerConfig,
    config: TrainingConfig,
    *,
    run_dir: Path,
    device: torch.device,
    positive_actions: Sequence[str],
) -> _Run:
    histories = dataset.histories
    wanted = target_actions(histories, positive_actions, config.action_weights)
    counts = count_items(histories, split, wanted)
    if np.count_nonzero(counts) < 2:
        raise DataError(
            f"training needs events of at least 2 different items, found {np.count_nonzero(counts)}; "
            "check the split and data.positive_actions"
        )
    inputs = StepInputs(
        item_inputs(dataset, features, training_time(dataset, split)).to(device),
        SideInputs(dataset, features),
        features,
        counts,
        Labels(histories, config.action_weights, config.sample_weight_column),
    )
    pair = build_pair(towers, features, config.seed).to(device)
    optimiser = make_optimiser(pair, config)
    signature = _signature(dataset, split, features, towers, config)
    run_dir.mkdir(parents=True, exist_ok=True)
    mean = WeightMean(pair, config.ema) if config.ema else None
    objective = Objective(config, inputs, device)
    progress = load_checkpoint(run_dir, pair, optimiser, signature, mean, objective=objective) or Progress(signature)
    return _Run(
        config=config,
        device=device,
        split=split,
        offsets=np.asarray(histories.offsets),
        window=features.spec.history.length + 1,
        reader=SequenceReader(histories, features, wanted),
        objective=objective,
        pair=pair,
        optimiser=optimiser,
        mean=mean,
        run_dir=run_dir,
        progress=progress,
        journal=Journal(run_dir, progress.total_steps),
    )


def _epochs(run: _Run, validate: Validate | None, show: bool) -> None:
    started = time.monotonic() - run.progress.seconds
    with track("Training", run.config.epochs * _epoch_examples(run), unit="examples", show=show) as tracker:
        tracker.advance(run.progress.examples)
        while not run.progress.finished:
            _epoch(run, tracker, started)
            _end_epoch(run, validate)
            run.progress.seconds = time.monotonic() - started
            save_checkpoint(run.run_dir, run.pair, run.optimiser, run.progress, run.mean, objective=run.objective)
            return_memory()


def _epoch(run: _Run, tracker: Tracker, started: float) -> None:
    progress, config = run.progress, run.config
    windows, batches = _plan(run, progress.epoch)
    saved = time.monotonic()
    run.pair.train()
    for step in range(progress.step, len(batches)):
        set_rate(run.optimiser, rate_at((progress.epoch + step / len(batches)) / config.epochs, config))
        examples, loss = _step(run, windows, batches[step], step)
        progress.step, progress.total_steps, progress.examples = (
            step + 1,
            progress.total_steps + 1,
            progress.examples + examples,
        )
        run.losses.append(loss)
        now = time.monotonic()
        rate = progress.examples / max(now - started, 1e-9)
        tracker.advance(examples, f"epoch {progress.epoch + 1}, loss {loss:.3f}, {rate:,.0f} examples/s")
        if now - saved >= config.checkpoint_seconds and step + 1 < len(batches):
            progress.seconds = now - started
            save_checkpoint(run.run_dir, run.pair, run.optimiser, progress, run.mean, objective=run.objective)
            saved = time.monotonic()


def _step(run: _Run, windows: Windows, chosen: np.ndarray, step: int) -> tuple[int, float]:
    """One optimiser step; returns its examples and loss."""
    seed = (run.config.seed, run.progress.epoch, step, _STEP)
    rng = np.random.default_rng(seed)
    batch = run.reader.read(windows, chosen)
    if not batch.examples:
        return 0, float("nan")
    with torch.random.fork_rng(devices=[] if run.device.type == "cpu" else [run.device]):
        torch.manual_seed(int(rng.integers(2**62)))
        loss = run.objective(run.pair, batch, rng)
    run.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(run.pair.parameters(), run.config.clip)
    run.optimiser.step()
    if run.mean is not None:
        run.mean.update(run.progress.total_steps + 1)
    return batch.examples, loss.item()


def _end_epoch(run: _Run, validate: Validate | None) -> None:
    progress, config = run.progress, run.config
    progress.epoch, progress.step = progress.epoch + 1, 0
    losses = [loss for loss in run.losses if not math.isnan(loss)]
    row = {"step": progress.total_steps, "epoch": progress.epoch, "examples": progress.examples}
    run.journal.write(
        {
            **row,
            "kind": "train",
            "loss": float(np.mean(losses)) if losses else None,
            "temperature": float(run.pair.log_temperature.detach().exp()),
        }
    )
    run.losses.clear()
    last = progress.epoch >= config.epochs
    if validate is not None and (last or progress.epoch % config.validate_every == 0):
        run.pair.eval()
        with nullcontext() if run.mean is None else run.mean.applied():
            with torch.no_grad():
                metrics = dict(validate(run.pair))
            run.journal.write({**row, "kind": "validation", "metrics": metrics})
            _compare(run, metrics)
    progress.finished = last or progress.stale >= config.patience


def _compare(run: _Run, metrics: dict[str, float]) -> None:
    progress, name = run.progress, run.config.select
    if name not in metrics:
        raise ConfigError(f"training.select: no metric {name!r}; the validation has {', '.join(sorted(metrics))}")
    if progress.best is not None and metrics[name] <= progress.best:
        progress.stale += 1
        return
    progress.best, progress.best_epoch, progress.best_metrics = metrics[name], progress.epoch, metrics
    progress.stale = 0
    save_best(run.run_dir, run.pair, progress)


def _plan(run: _Run, epoch: int) -> tuple[Windows, list[np.ndarray]]:
    rng = np.random.default_rng((run.config.seed, epoch, 0, _ORDER))
    windows = cut_windows(run.offsets, run.split.train_end, run.window, rng, everything=run.config.windows == "all")
    fewest = int(windows.lengths.sum()) // run.config.min_batches
    tokens = max(min(run.config.batch_tokens, fewest), _SMALLEST_BATCH)
    return windows, order_batches(windows.lengths, tokens, rng)


def _epoch_examples(run: _Run) -> int:
    """About how many targets an epoch has."""
    counts = run.split.train_end - run.offsets[:-1]
    return int(counts.sum() if run.config.windows == "all" else np.minimum(counts, run.window).sum())


def _signature(dataset: Dataset, split: Split, features: Features, towers: TowerConfig, config: TrainingConfig) -> str:
    """Hash of all that decides the weights; how it is run (threads, device, checkpoints) doesn't."""
    digest = hashlib.sha256()
    settings = config.model_dump(exclude=HOW_IT_IS_RUN)
    for part in (dataset.snapshot, split.name, features.fingerprint, towers.model_dump_json(), json.dumps(settings)):
        digest.update(part.encode() + b"\0")
    digest.update(np.ascontiguousarray(split.train_end).tobytes())
    return digest.hexdigest()
