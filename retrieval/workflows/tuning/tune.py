"""`retrieval tune`: a search over settings, judged on validation.

Each trial trains as `retrieval train` does, exports nothing, and never looks at the test targets. The study is a SQLite
file of Optuna's in the workspace, addressed by its inputs: asked for again, finished trials are found, an interrupted
one goes on from its checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import Trial
from pydantic import ValidationError

from retrieval.data import Dataset, Split, make_split, open_dataset
from retrieval.errors import ConfigError, DataError, RetrievalError
from retrieval.features import Features
from retrieval.storage.locks import locked
from retrieval.strategies import is_import_path, source_hash
from retrieval.training.journal import METRICS, read_journal
from retrieval.training.rows_read import fit_read
from retrieval.workflows.training.address import version_inputs_hash
from retrieval.workflows.training.train import Training
from retrieval.workflows.tuning.search_space import Base, Tried, check_tries, points_of
from retrieval.workflows.tuning.study import Outcome, Sampler, Study, open_study
from retrieval.workflows.workspace import Settings, Workspace

TUNING = "tune"
"""Folder of a workspace in which studies are kept."""


@dataclass(frozen=True, slots=True)
class TunePlan:
    """What to search, and how."""

    tried: tuple[Tried, ...]
    trials: int | None = None
    """At most so many different trials, earlier calls' included; None: all of a grid, otherwise 20."""
    sampler: Sampler = "tpe"
    seeds: int = 1
    """Runs per trial, with the seeds that follow `training.seed`; their mean counts."""
    epochs: int | None = None
    """Epochs of every run; None: as `training.epochs` says."""
    prune: bool = True
    """Stop a trial whose best validation so far is below the median of the earlier trials' at the same point."""


@dataclass(frozen=True)
class TuneOutcome:
    """All trials of a study, best first: finished ones, then those that were stopped early, then failed ones."""

    study: Path
    metric: str
    trials: tuple[Outcome, ...]
    found: int
    """Trials that earlier calls had finished."""
    interrupted: bool
    base: Base
    """The workspace's settings, without what was tried."""
    about: str
    """Data, sampler and budget, in one line."""

    @property
    def best(self) -> Outcome | None:
        """The trial with the highest metric; None where none has finished."""
        return self.trials[0] if self.trials and self.trials[0].state == "done" else None


def tune(
    workspace: Workspace,
    plan: TunePlan,
    *,
    fresh: bool = False,
    show: bool = True,
    say: Callable[[str], None] = lambda _: None,
) -> TuneOutcome:
    """Search; `say` is told of every trial. Ctrl-C ends the search and keeps what has finished.

    `fresh` forgets earlier trials of the same inputs. Raises ConfigError for keys and values that the settings don't
    allow, before anything is trained; DataError without validation targets; ConflictError while the same search runs.
    """
    base, tried = _checked(workspace, plan)
    start = base.settings({} if plan.epochs is None else {"training.epochs": plan.epochs})
    dataset = open_dataset(start.data, workspace.root, show=show)
    split = make_split(start.data, dataset.histories)
    if not len(split.valid):
        raise DataError(f"tune compares trials on validation targets, and the split {split.name!r} has none")
    folder = workspace.root / TUNING / workspace.model / _address(start, plan, tried, dataset, split)[:16]
    with (
        _held(folder, fresh=fresh),
        open_study(folder, plan.sampler, tried, start.training.seed, prune=plan.prune) as study,
    ):
        search = _Search(base, plan, dataset=dataset, split=split, folder=folder, study=study, show=show, say=say)
        found = study.outcomes()
        interrupted = search.run(_wanted(plan, tried))
        trials = study.outcomes()
    histories = dataset.histories
    about = (
        f"{len(trials)} trials ({plan.sampler}), {plan.seeds} seed(s) and {start.training.epochs} epochs each, on "
        f"{histories.users:,} users, {len(histories.item_ids):,} items, {len(histories.items):,} events"
    )
    return TuneOutcome(folder, start.training.select, trials, len(found), interrupted, base, about)


def _checked(workspace: Workspace, plan: TunePlan) -> tuple[Base, tuple[Tried, ...]]:
    if plan.epochs is not None and any(one.key == "training.epochs" for one in plan.tried):
        raise ConfigError("--epochs and --try training.epochs: give one of them")
    base = Base.of(workspace.settings, workspace.root / "retrieval.toml")
    return base, check_tries(base, plan.tried)


def _wanted(plan: TunePlan, tried: tuple[Tried, ...]) -> int:
    points = points_of(tried)
    asked = plan.trials or (points if plan.sampler == "grid" and points is not None else 20)
    return asked if points is None else min(asked, points)


def _address(start: Settings, plan: TunePlan, tried: tuple[Tried, ...], dataset: Dataset, split: Split) -> str:
    settled = {
        "inputs": version_inputs_hash(start, dataset, split),
        "evaluation": start.evaluation.model_dump(mode="json"),
        "tried": [repr(one) for one in tried],
        "tried_code": [source_hash(path) for one in tried for path in one.ends if is_import_path(path)],
        "plan": [plan.sampler, plan.seeds, plan.prune],
    }
    return hashlib.sha256(json.dumps(settled, sort_keys=True).encode()).hexdigest()


@contextmanager
def _held(folder: Path, *, fresh: bool) -> Iterator[None]:
    """Hold the study, emptied where it shall be `fresh`.

    Two searches of it at once would take each other's running trials for interrupted ones.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_name(f"{folder.name}.lock"), f"{folder}: the same search is running"):
        if fresh:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(exist_ok=True)
        yield


class _Search:
    """The trials of one call."""

    def __init__(
        self,
        base: Base,
        plan: TunePlan,
        *,
        dataset: Dataset,
        split: Split,
        folder: Path,
        study: Study,
        show: bool,
        say: Callable[[str], None],
    ) -> None:
        self._base, self._plan, self._dataset, self._split = base, plan, dataset, split
        self._folder, self._study, self._show, self._say = folder, study, show, say
        self._fitted: tuple[tuple[str, str, float], Features] | None = None

    def run(self, wanted: int) -> bool:
        """Trials until there are `wanted` of them; True where Ctrl-C ended it before."""
        while len(self._study.outcomes()) < wanted:
            asked = self._study.next()
            if asked is None:
                self._say("no combination that has not been tried was found; the search ends")
                return False
            trial, values = asked
            number = len(self._study.outcomes()) + 1
            shown = ", ".join(f"{key}={value}" for key, value in values.items())
            self._say(f"trial {number} of {wanted}: {shown}")
            try:
                outcome = self._trial(trial, values)
            except KeyboardInterrupt:
                return True
            self._study.finish(trial, outcome)
            self._say(f"trial {number} of {wanted}: {_told(outcome)}")
        return False

    def _trial(self, trial: Trial, values: Mapping[str, Any]) -> Outcome:
        """Train with these values. A trial that fails is recorded, unless nothing has worked yet."""
        started = time.monotonic()
        run = _Run(trial, self._folder / "runs" / hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16])
        try:
            over = dict(values) | ({} if self._plan.epochs is None else {"training.epochs": self._plan.epochs})
            outcome = self._seeds(over, run, values)
        except optuna.TrialPruned:
            outcome = run.outcome(values, "pruned", [max(run.seen)], time.monotonic() - started)
        except (RetrievalError, ValidationError, RuntimeError) as error:
            if not any(one.state == "done" for one in self._study.outcomes()):
                raise
            outcome = run.outcome(values, "failed", [], time.monotonic() - started, note=str(error).strip())
        shutil.rmtree(run.folder, ignore_errors=True)
        return outcome

    def _seeds(self, over: Mapping[str, Any], run: _Run, values: Mapping[str, Any]) -> Outcome:
        settings = self._base.settings(over)
        metric, seconds, found = settings.training.select, 0.0, []
        for number in range(self._plan.seeds):
            seeded = self._base.settings({**over, "training.seed": settings.training.seed + number})
            made = Training(seeded, self._dataset, self._split, self._features(seeded))
            run.begin(number, metric, prune=self._plan.prune and number == 0)
            result = made.train(run.run_dir, show=self._show, watch=run.watch)
            found.append(float(result.metrics[metric]))
            seconds += result.seconds
            run.end(result.epochs, result.examples)
        if not np.isfinite(found).all():
            return run.outcome(values, "failed", [], seconds, note=f"{metric} is not a number: the run diverged")
        return run.outcome(values, "done", found, seconds)

    def _features(self, settings: Settings) -> Features:
        """Fitted once for all trials that declare the same, and read the same of the log."""
        training = settings.training
        declared = (settings.features.model_dump_json(), training.windows, training.recent_days)
        if self._fitted is None or self._fitted[0] != declared:
            self._fitted = declared, fit_read(settings.features, self._dataset, self._split, training)
        return self._fitted[1]


class _Run:
    """Where one trial stands: its runs' folders, and what validations have said."""

    def __init__(self, trial: Trial, folder: Path) -> None:
        self._trial, self.folder = trial, folder
        self.run_dir = folder
        self.seen: list[float] = []
        self._metric, self._prune = "", False
        self._epochs = self._examples = 0

    def begin(self, number: int, metric: str, *, prune: bool) -> None:
        self.run_dir, self._metric, self._prune = self.folder / f"seed-{number}", metric, prune

    def end(self, epochs: int, examples: int) -> None:
        self._epochs, self._examples = epochs, self._examples + examples

    def watch(self, metrics: Mapping[str, float]) -> None:
        """After a validation: tell the study, and stop where it says so. The first seed's runs decide."""
        if not self._prune or self._metric not in metrics:
            return
        value = float(metrics[self._metric])
        self.seen.append(value)
        # counted in the journal, so that a run that was resumed goes on counting where it stopped
        rows = read_journal(self.run_dir / METRICS)
        self._trial.report(value, sum(row["kind"] == "validation" for row in rows) + 1)
        if self._trial.should_prune():
            self.end(rows[-1]["epoch"] if rows else 0, rows[-1]["examples"] if rows else 0)
            raise optuna.TrialPruned

    def outcome(
        self, values: Mapping[str, Any], state: str, found: list[float], seconds: float, note: str = ""
    ) -> Outcome:
        return Outcome(
            number=self._trial.number,
            values=dict(values),
            state=state,
            metric=float(np.mean(found)) if found else None,
            deviation=float(np.std(found, ddof=1)) if len(found) > 1 else None,
            epochs=self._epochs,
            seconds=round(seconds, 2),
            examples_per_s=round(self._examples / seconds, 1) if seconds else 0.0,
            note=note,
        )


def _told(outcome: Outcome) -> str:
    if outcome.metric is None:
        return f"failed: {outcome.note}"
    early = f", stopped after epoch {outcome.epochs}" if outcome.state == "pruned" else ""
    return f"{outcome.metric:.4f} in {outcome.seconds:.0f} s{early}"
