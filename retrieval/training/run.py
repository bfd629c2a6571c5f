"""A training run: its parts, made from its inputs or found again in a checkpoint."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from retrieval.arrays import Ints
from retrieval.data import Activity, Dataset, Histories, Split, activity_of
from retrieval.data.facts.training import item_counts, last_training_us, target_rows
from retrieval.errors import ConfigError, DataError, DivergedError
from retrieval.features import Features
from retrieval.towers.config import TowerConfig
from retrieval.towers.offline import SideInputs, item_inputs
from retrieval.towers.pair import TowerPair, build_pair, not_finite
from retrieval.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from retrieval.training.config import TrainingConfig
from retrieval.training.ema import WeightMean
from retrieval.training.journal import Journal
from retrieval.training.labels import Labels, target_actions
from retrieval.training.optimiser import make_optimiser
from retrieval.training.periods import PeriodShares
from retrieval.training.ranks import Ranks
from retrieval.training.rows_read import rows_read
from retrieval.training.sequences import SequenceReader
from retrieval.training.step import Objective, StepInputs
from retrieval.training.warm_start import WarmStart, carry_over
from retrieval.training.window_targets import WindowTargets
from retrieval.types import MINUTE_US

HOW_IT_IS_RUN = {"checkpoint_seconds", "threads", "device", "processes"}
"""Settings that don't decide what is learned."""
TARGETS = "targets.npy"
"""Times of the targets by item, in a run's folder, where popularity is that of a period."""


@dataclass(frozen=True)
class TrainingInputs:
    """What a training is made from."""

    dataset: Dataset
    split: Split
    features: Features
    towers: TowerConfig
    config: TrainingConfig
    run_dir: Path
    positive_actions: tuple[str, ...] = ()
    warm: WarmStart | None = None
    """The version whose weights it begins with; None from scratch."""


@dataclass
class Run:
    """The parts of one run, in one of its processes."""

    config: TrainingConfig
    device: torch.device
    ranks: Ranks
    split: Split
    histories: Histories
    newest: int
    """Time of the newest training event in µs."""
    window: int
    reader: SequenceReader
    objective: Objective
    pair: TowerPair
    optimiser: torch.optim.AdamW
    mean: WeightMean | None
    run_dir: Path
    progress: Progress
    journal: Journal | None
    """Only the first process keeps one."""
    losses: list[float] = field(default_factory=list)

    @property
    def trained(self) -> list[torch.nn.Parameter]:
        """The weights that are trained."""
        return [weight for weight in self.pair.parameters() if weight.requires_grad]

    def write(self, row: dict[str, object]) -> None:
        """Write a row into the journal, where there is one."""
        if self.journal is not None:
            self.journal.write(row)

    def check_weights(self) -> None:
        """Raises DivergedError where a weight is not finite any more."""
        name = not_finite(self.pair)
        if name is not None:
            raise DivergedError(
                f"training diverged in epoch {self.progress.epoch + 1}, by step {self.progress.total_steps}: {name} "
                "holds numbers that are not finite. Try a lower training.learning_rate, and look for values without "
                "measure in the features"
            )

    def save(self) -> None:
        """Write a checkpoint; the first process does it for all. Raises DivergedError as `check_weights`."""
        self.check_weights()
        if self.ranks.first:
            save_checkpoint(self.run_dir, self.pair, self.optimiser, self.progress, self.mean, objective=self.objective)


def prepare_run(inputs: TrainingInputs, device: torch.device, ranks: Ranks | None = None) -> Run:
    """Make the parts of a run, or take them up where its newest checkpoint left them.

    Raises DataError where there is nothing to train on, ArtifactError where what it shall begin with doesn't fit.
    """
    ranks = ranks or Ranks()
    config, features = inputs.config, inputs.features
    _check_time_varying(config, features)
    histories = inputs.dataset.histories
    predicted = target_actions(histories, inputs.positive_actions, config.action_weights)
    begin = rows_read(histories, inputs.split, features.spec.history, config).targets
    counts = item_counts(histories, inputs.split.train_end, actions=predicted, begin=begin)
    if np.count_nonzero(counts) < 2:
        raise DataError(
            f"training needs events of at least 2 different items, found {np.count_nonzero(counts)}; "
            "check the split and data.positive_actions"
        )
    newest = last_training_us(histories, inputs.split.train_end)
    periods = None
    if config.windows == "by_time":
        period_us = round(config.period_minutes * MINUTE_US)
        periods = PeriodShares(_targets(inputs, predicted, begin), np.flatnonzero(counts), period_us)
    given = StepInputs(
        item_inputs(inputs.dataset, features, newest).to(device),
        SideInputs(inputs.dataset, features),
        features,
        counts,
        Labels(histories, config.action_weights, config.sample_weight_column),
        periods,
    )
    pair = build_pair(inputs.towers, features, config.seed).to(device)
    optimiser = make_optimiser(pair, config)
    if inputs.warm is not None:
        carry_over(inputs.warm, pair, optimiser, features)
    mean = WeightMean(pair, config.ema) if config.ema else None
    objective = Objective(config, given, device)
    later = None
    if config.targets.method == "window":
        later = WindowTargets(histories, histories.action_mask(predicted), inputs.split.train_end, config.targets)
    signature = _signature(inputs)
    inputs.run_dir.mkdir(parents=True, exist_ok=True)
    found = load_checkpoint(inputs.run_dir, pair, optimiser, signature, mean, objective=objective)
    progress = found or Progress(signature)
    ranks.check_equal(list(pair.parameters()), progress.total_steps)
    return Run(
        config=config,
        device=device,
        ranks=ranks,
        split=inputs.split,
        histories=histories,
        newest=newest,
        window=features.spec.history.length + 1,
        reader=SequenceReader(histories, features, predicted, later),
        objective=objective,
        pair=pair,
        optimiser=optimiser,
        mean=mean,
        run_dir=inputs.run_dir,
        progress=progress,
        journal=Journal(inputs.run_dir, progress.total_steps) if ranks.first else None,
    )


def _targets(inputs: TrainingInputs, actions: tuple[str, ...], begin: Ints) -> Activity:
    """When every item was a target, in a file of the run's folder."""
    histories = inputs.dataset.histories
    inputs.run_dir.mkdir(parents=True, exist_ok=True)
    return activity_of(
        inputs.run_dir / TARGETS, histories, lambda: target_rows(histories, inputs.split.train_end, actions, begin)
    )


def _check_time_varying(config: TrainingConfig, features: Features) -> None:
    """Raises ConfigError where time-varying item features would be seen as of one moment only."""
    varying = [one.name for one in features.inputs("item") if one.time_varying]
    if varying and config.windows != "by_time":
        raise ConfigError(
            f"features.item: {', '.join(varying)} vary with time, so training must see them as of each example's: set "
            f'training.windows = "by_time" (it is "{config.windows}")'
        )


def _signature(inputs: TrainingInputs) -> str:
    """Hash of all that decides the weights; how it is run (threads, device, processes, checkpoints) doesn't."""
    digest = hashlib.sha256()
    settings = json.dumps(inputs.config.model_dump(exclude=HOW_IT_IS_RUN))
    towers = inputs.towers.model_dump_json()
    for part in (inputs.dataset.snapshot, inputs.split.name, inputs.features.fingerprint, towers, settings):
        digest.update(part.encode() + b"\0")
    digest.update(np.ascontiguousarray(inputs.split.train_end).tobytes())
    if inputs.warm is not None:
        digest.update(inputs.warm.space_id.encode())
    return digest.hexdigest()
