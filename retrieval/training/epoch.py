"""One pass over the training events: batches, optimiser steps, checkpoints.

All that is random is drawn from (seed, epoch, step), so a run that is killed and resumed ends with the same weights as
one that wasn't.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from retrieval.arrays import Ints
from retrieval.errors import DivergedError
from retrieval.observability import Tracker
from retrieval.training.optimiser import rate_at, set_rate
from retrieval.training.periods import cut_periods, order_periods
from retrieval.training.rows_read import recent_since
from retrieval.training.run import Run
from retrieval.training.sequences import Batch, Windows, cut_windows, order_batches
from retrieval.types import MINUTE_US

_SMALLEST_BATCH = 64  # tokens
_ORDER, _STEP, _TARGETS = 0, 1, 2  # what a generator is for; part of its seed


def plan_epoch(run: Run, epoch: int) -> tuple[Windows, list[list[Ints]]]:
    """The epoch's windows, and which of them each optimiser step takes, batch by batch."""
    config = run.config
    rng = np.random.default_rng((config.seed, epoch, 0, _ORDER))
    windows = cut_epoch(run, rng)
    lengths = run.reader.tokens(windows)
    fewest = int(lengths.sum()) // (config.min_batches * config.accumulate)
    tokens = max(min(config.batch_tokens, fewest), _SMALLEST_BATCH)
    periods = windows.period is not None
    batches = order_periods(windows, lengths, tokens, rng) if periods else order_batches(lengths, tokens, rng)
    return windows, [batches[at : at + config.accumulate] for at in range(0, len(batches), config.accumulate)]


def cut_epoch(run: Run, rng: np.random.Generator) -> Windows:
    """An epoch's windows over the training events, as the settings want them cut."""
    config = run.config
    if config.windows != "by_time":
        offsets = np.asarray(run.histories.offsets)
        return cut_windows(offsets, run.split.train_end, run.window, rng, everything=config.windows == "all")
    period_us = round(config.period_minutes * MINUTE_US)
    return cut_periods(
        run.histories,
        run.split.train_end,
        run.window,
        period_us,
        offset_us=int(rng.integers(period_us)),  # so that no moment of the hour is always seen at the same age
        since_us=recent_since(run.histories, run.split, config),
    )


def train_epoch(run: Run, tracker: Tracker, started: float) -> None:
    """Take the steps of this epoch that are left; `started` is when the run would have begun without interruption."""
    progress, config = run.progress, run.config
    windows, steps = plan_epoch(run, progress.epoch)
    saved = time.monotonic()
    run.pair.train()
    for step in range(progress.step, len(steps)):
        set_rate(run.optimiser, rate_at((progress.epoch + step / len(steps)) / config.epochs, config))
        examples, loss = take_step(run, windows, steps[step], step)
        progress.step, progress.total_steps = step + 1, progress.total_steps + 1
        progress.examples += examples
        run.losses.append(loss)
        now = time.monotonic()
        rate = progress.examples / max(now - started, 1e-9)
        tracker.advance(examples, f"epoch {progress.epoch + 1}, loss {loss:.3f}, {rate:,.0f} examples/s")
        if now - saved >= config.checkpoint_seconds and step + 1 < len(steps):
            progress.seconds = now - started
            run.save()
            saved = time.monotonic()


def take_step(run: Run, windows: Windows, chosen: Sequence[Ints], step: int) -> tuple[int, float]:
    """One optimiser step over some batches; returns its examples, and the mean loss over all their positions.

    Raises DivergedError where loss or gradient is not finite; the weights are then those of before the step.
    """
    drawn = (run.config.seed, run.progress.epoch, step, _TARGETS)
    read = [run.reader.read(windows, each, (*drawn, number)) for number, each in enumerate(chosen)]
    batches = [batch for batch in read if batch.examples]
    if not batches:
        return 0, float("nan")
    weights = [run.objective.weight(batch) for batch in batches] if len(batches) > 1 else [1.0]
    whole = sum(weights) or 1.0
    run.optimiser.zero_grad(set_to_none=True)
    total = torch.zeros((), device=run.device)
    for number, (batch, weight) in enumerate(zip(batches, weights, strict=True)):
        loss = _loss(run, batch, (run.config.seed, run.progress.epoch, step, _STEP, number)) * (weight / whole)
        if loss.requires_grad:  # a process may have no position of a small batch
            loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    total = run.ranks.sum_gradients(run.trained, total)
    norm = torch.nn.utils.clip_grad_norm_(run.pair.parameters(), run.config.clip)
    mean_loss, gradient = torch.stack([total, norm.to(total)]).tolist()
    if not (math.isfinite(mean_loss) and math.isfinite(gradient)):
        raise DivergedError(
            f"training diverged in epoch {run.progress.epoch + 1}, step {step + 1}: loss {mean_loss}, gradient norm "
            f"{gradient}. Try a lower training.learning_rate, and look for values without measure in the features"
        )
    run.optimiser.step()
    if run.mean is not None:
        run.mean.update(run.progress.total_steps + 1)
    return sum(batch.examples for batch in batches), mean_loss


def _loss(run: Run, batch: Batch, seed: tuple[int, ...]) -> Tensor:
    """This process's share of a batch's mean loss."""
    rng = np.random.default_rng(seed)
    ranks = run.ranks
    with torch.random.fork_rng(devices=[] if run.device.type == "cpu" else [run.device]):
        torch.manual_seed(int(rng.integers(2**62)))
        if ranks.count == 1:
            return run.objective(run.pair, batch, rng)
        return run.objective(run.pair, batch.part(ranks.number, ranks.count), rng, whole=batch)
