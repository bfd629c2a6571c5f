"""A study: the trials of a search in a SQLite file, and what to try next.

Optuna draws and remembers; here is decided what counts as tried. Values are kept as JSON text where they are chosen
from a list, so that any value of a setting can be tried.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, Trial, TrialState

from retrieval.workflows.tuning.search_space import Choices, Tried, combinations, points_of, short

Sampler = Literal["random", "grid", "tpe"]
_NAME = "tune"
_OUTCOME = "outcome"
_DRAWS = 200  # drawn in a row without anything new: the space is as good as covered
_STATES = {"done": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
_ORDER = {name: place for place, name in enumerate(_STATES)}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a trial ended."""

    number: int
    values: Mapping[str, Any]
    state: str
    """"done", "pruned" (stopped at a validation) or "failed"."""
    metric: float | None
    """Mean over the seeds of the best validation; of a pruned trial the best until then."""
    deviation: float | None
    """Standard deviation over the seeds, where there are several."""
    epochs: int
    seconds: float
    examples_per_s: float
    note: str = ""


class Study:
    """Trials that were, and the one to come."""

    def __init__(self, study: optuna.Study, tried: Sequence[Tried], *, grid: bool) -> None:
        self._study = study
        self._tried = {one.key: one for one in tried}
        self._distributions = {one.key: _distribution(one) for one in tried}
        self._points = tuple(combinations(tried)) if grid and points_of(tried) is not None else ()
        self._resume()

    def outcomes(self) -> tuple[Outcome, ...]:
        """Every different trial that has ended, best first."""
        found = [Outcome(**trial.user_attrs[_OUTCOME]) for trial in self._ended()]
        return tuple(sorted(found, key=lambda one: (_ORDER[one.state], -(one.metric or 0.0), one.number)))

    def next(self) -> tuple[Trial, dict[str, Any]] | None:
        """A trial whose values have not been tried; None where none was found."""
        known = {_address(one.values): one for one in self.outcomes()}
        self._enqueue_next(known)
        for _ in range(_DRAWS):
            trial = self._study.ask(self._distributions)
            values = self._values(trial.params)
            before = known.get(_address(values))
            if before is None:
                return trial, values
            self._tell(trial, before)  # drawn again: what came of it is known
        return None

    def finish(self, trial: Trial, outcome: Outcome) -> None:
        """Write down how a trial ended."""
        trial.set_user_attr(_OUTCOME, asdict(replace(outcome, values=dict(outcome.values))))
        self._tell(trial, outcome)

    def _tell(self, trial: Trial, outcome: Outcome) -> None:
        value = outcome.metric if outcome.state == "done" else None
        self._study.tell(trial, value, state=_STATES[outcome.state])

    def _ended(self) -> list[FrozenTrial]:
        ended = self._study.get_trials(deepcopy=False, states=tuple(_STATES.values()))
        return [trial for trial in ended if _OUTCOME in trial.user_attrs]

    def _resume(self) -> None:
        """Trials that were running when the search was interrupted come first, from their checkpoints."""
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self._study.tell(trial.number, state=TrialState.FAIL)
            if trial.params.keys() == self._distributions.keys():
                self._study.enqueue_trial(trial.params)

    def _enqueue_next(self, known: Mapping[str, Outcome]) -> None:
        """The grid's next point, unless an interrupted trial waits."""
        if self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            return
        point = next((point for point in self._points if _address(point) not in known), None)
        if point is not None:
            self._study.enqueue_trial({key: json.dumps(value) for key, value in point.items()})

    def _values(self, params: Mapping[str, Any]) -> dict[str, Any]:
        values = {}
        for key, one in self._tried.items():
            if key not in params:
                continue
            drawn = params[key]
            if isinstance(one, Choices):
                values[key] = json.loads(drawn)
            else:
                values[key] = drawn if one.whole else short(drawn, one.low, one.high)
        return values


@contextmanager
def open_study(folder: Path, sampler: Sampler, tried: Sequence[Tried], seed: int, *, prune: bool) -> Iterator[Study]:
    """The study in `folder`, made where it isn't there; its file is closed with the block."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.RDBStorage(f"sqlite:///{folder.resolve() / 'study.db'}")
    try:
        study = optuna.create_study(storage=storage, study_name=_NAME, direction="maximize", load_if_exists=True)
        # a generator that is seeded alike each time would draw the same trials again after an interruption
        study.sampler = _sampler(sampler, (seed * 1_000_003 + len(study.get_trials(deepcopy=False))) % 2**31)
        study.pruner = optuna.pruners.MedianPruner(n_startup_trials=4) if prune else optuna.pruners.NopPruner()
        yield Study(study, tried, grid=sampler == "grid")
    finally:
        storage.remove_session()
        storage.engine.dispose()
        optuna.logging.set_verbosity(before)


def _sampler(name: Sampler, seed: int) -> BaseSampler:
    return TPESampler(seed=seed, n_startup_trials=8) if name == "tpe" else RandomSampler(seed=seed)


def _distribution(one: Tried) -> BaseDistribution:
    if isinstance(one, Choices):
        return CategoricalDistribution([json.dumps(value) for value in one.values])
    if one.whole:
        return IntDistribution(int(one.low), int(one.high), log=one.log)
    return FloatDistribution(one.low, one.high, log=one.log)


def _address(values: Mapping[str, Any]) -> str:
    return json.dumps(dict(sorted(values.items())))
