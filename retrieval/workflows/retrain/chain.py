"""The retraining chain: its steps in order, each done once for the same inputs, whatever happens in between.

A step that was recorded as done is found, not done again. What a step makes is in place before it is recorded, and what
makes it (a training, an index build, a deployment) finds its own unfinished work: a chain may be killed anywhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from retrieval.data.config import iso_moment
from retrieval.errors import GateError, RetrievalError
from retrieval.registry import GateRow, Registry, RetrainRow, StepRow, utc_now
from retrieval.rollout.gates.judging import refusal
from retrieval.storage.locks import locked
from retrieval.workflows.retrain import (
    check_build,
    check_data,
    check_model,
    check_serving,
    collect,
    evaluate,
    events,
    export,
    histories,
    index,
    publish,
    roll_out,
    shadow,
    train,
    validate,
    verify,
)
from retrieval.workflows.retrain.step import Addressed, Made, Say, Step, Surroundings, Values, addressed
from retrieval.workflows.workspace import Workspace
from retrieval.workflows.workspace.workspace import RUN

STEPS: tuple[Step, ...] = (
    events.STEP,
    validate.STEP,
    histories.STEP,
    check_data.STEP,
    train.STEP,
    evaluate.STEP,
    check_model.STEP,
    export.STEP,
    index.STEP,
    verify.STEP,
    check_build.STEP,
    shadow.STEP,
    check_serving.STEP,
    publish.STEP,
    roll_out.STEP,
    collect.STEP,
)
_GATES = {one.STEP.name for one in (check_data, check_model, check_build, shadow, check_serving)}
_OF_HOSTS = {roll_out.STEP.name, collect.STEP.name}


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """What became of one step; `found` where nothing was done, because it had been before."""

    name: str
    found: bool
    seconds: float
    output: Values


@dataclass(frozen=True, slots=True)
class RetrainOutcome:
    """A run that ended well, or was asked to stop between two steps."""

    run: RetrainRow
    steps: tuple[StepOutcome, ...]


def chosen_steps(workspace: Workspace) -> list[Step]:
    """The steps that the settings ask for."""
    config = workspace.settings.retrain
    without = (set() if config.gates else _GATES) | (set() if config.deploy else _OF_HOSTS)
    return [step for step in STEPS if step.name not in without]


def run_retrain(
    workspace: Workspace,
    *,
    as_of_us: int | None = None,
    force: str = "",
    stop: Callable[[], bool] = lambda: False,
    begins: Callable[[str, int, int], None] = lambda _name, _number, _count: None,
    say: Say = lambda _: None,
    show: bool = False,
) -> RetrainOutcome:
    """Bring the model from the events before `as_of_us` (µs; None: now, or the moment of a run that was interrupted)
    to a version that is served.

    `stop` is asked between steps, and ends the run there; `begins` is told as each step begins: name, number, of how
    many. With `force`, a reason, what gates refuse goes on. Raises GateError where a gate refuses (recorded, and said
    by `retrieval lineage`), ConflictError where a chain runs in this workspace, and what its steps raise.
    """
    folder = workspace.root / RUN
    folder.mkdir(parents=True, exist_ok=True)
    with (
        locked(folder / "retrain.lock", f"{workspace.model} is being retrained"),
        closing(workspace.registry()) as registry,
    ):
        moment = moment_of(registry, workspace.model, as_of_us)
        run = registry.retraining.start(workspace.model, moment, forced=force)
        around = surroundings(workspace, registry, moment, say=say, show=show)
        chain = _Chain(around, run, force)
        with chain.recorded():
            done = chain.go(stop, begins)
    return RetrainOutcome(done, tuple(chain.done))


def moment_of(registry: Registry, model: str, as_of_us: int | None) -> int:
    """The moment of a run: as given, else that of the newest run where it was cut short, else now."""
    if as_of_us is not None:
        return as_of_us
    newest = registry.retraining.runs(model, limit=1)
    if newest and newest[0].state in {"running", "interrupted", "stopped"}:
        return newest[0].as_of_us
    return time.time_ns() // 1000


def surroundings(
    workspace: Workspace, registry: Registry, as_of_us: int, *, say: Say = lambda _: None, show: bool = False
) -> Surroundings:
    """Where steps run: the workspace with the log as it was before the moment. Raises ConfigError."""
    overrides = (*workspace.overrides, f"data.until={iso_moment(as_of_us)}")
    opened = Workspace.open(workspace.root, overrides, recipe=workspace.recipe)
    return Surroundings(
        workspace=opened, registry=registry, store=opened.store(), as_of_us=as_of_us, show=show, say=say
    )


class _Chain:
    """One run: what its steps made so far."""

    def __init__(self, around: Surroundings, run: RetrainRow, force: str) -> None:
        self._around, self._run, self._force = around, run, force
        self._records = around.registry.retraining
        self.outputs: dict[str, Values] = {}
        self.done: list[StepOutcome] = []

    def go(self, stop: Callable[[], bool], begins: Callable[[str, int, int], None]) -> RetrainRow:
        """All steps; returns the row of the run at its end."""
        steps = chosen_steps(self._around.workspace)
        for number, step in enumerate(steps, 1):
            if stop():
                return self._finish("stopped", f"before {step.name}")
            begins(step.name, number, len(steps))
            started = time.monotonic()
            output, found = self._step(step)
            self.outputs[step.name] = output
            self.done.append(StepOutcome(step.name, found, time.monotonic() - started, output))
        return self._finish("done", self._summary())

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Record how the run ended where it raises; a process that is killed leaves it running."""
        try:
            yield
        except GateError as error:
            self._finish("refused", str(error))
            raise
        except Exception as error:
            self._finish("failed", f"{type(error).__name__}: {error}")
            raise
        except BaseException as error:
            self._finish("stopped", type(error).__name__)
            raise

    def _step(self, step: Step) -> tuple[Values, bool]:
        inputs = addressed(step, self._around, self.outputs)
        known = self._records.find_step(self._run.model, step.name, inputs.address)
        if known is not None and known.state == "refused":
            self._refused(step, known)
            return known.output, True
        if known is not None and known.state == "done" and step.holds(self._around, known.output):
            return known.output, True
        row, made = self._made(step, inputs)
        if made.refused:
            self._refused(step, row)
        return row.output, False

    def _made(self, step: Step, inputs: Addressed) -> tuple[StepRow, Made]:
        row = self._records.begin_step(self._run, step.name, inputs.address, inputs.inputs)
        try:
            made = step.run(self._around, self.outputs)
        except GateError as error:
            self._records.finish_step(replace(row, state="refused", finished_at=utc_now(), note=str(error)), self._run)
            raise
        except RetrievalError as error:
            self._records.finish_step(replace(row, state="failed", finished_at=utc_now(), note=str(error)), self._run)
            raise
        ended = replace(
            row,
            state="refused" if made.refused else "done",
            output=made.output,
            finished_at=utc_now(),
            note=refusal(made.verdicts),
        )
        return self._records.finish_step(ended, self._run, self._gate_rows(made)), made

    def _gate_rows(self, made: Made) -> list[GateRow]:
        return [
            GateRow(
                id=0,
                model=self._run.model,
                run=self._run.id,
                version=made.version,
                build=made.build,
                gate=one.gate,
                outcome=one.outcome,
                measured=one.measured,
                threshold=one.threshold,
                sentence=one.sentence,
                forced="",
                at=utc_now(),
            )
            for one in made.verdicts
        ]

    def _refused(self, step: Step, row: StepRow) -> None:
        """Raise GateError, or pass over the refusals for the reason that was given."""
        if not row.output:  # a refusal of the step itself, such as an index whose recall is too low: there is nothing
            raise GateError(row.note)
        asked = {one["gate"] for one in row.output["verdicts"] if one["outcome"] == "refused"}
        rows = [one for one in self._records.gates(self._run.model, run=row.run) if one.gate in asked]
        open_ones = [one for one in rows if one.outcome == "refused" and not one.forced]
        if not open_ones:  # passed over by an earlier run
            return
        if not self._force:
            raise GateError(f"{step.name} refused, what is live stays. {row.note}")
        self._records.force(open_ones, self._force)
        self._around.say(f"{step.name}: refused, and passed over because: {self._force}. {row.note}")

    def _numbers(self) -> Mapping[str, Any]:
        version = self.outputs.get("train", {}).get("version")
        return {"version": version, "build": self.outputs.get("index", {}).get("build")}

    def _finish(self, state: Any, note: str) -> RetrainRow:
        return self._records.finish(self._run.id, state, note=note, **self._numbers())

    def _summary(self) -> str:
        worked = [one.name for one in self.done if not one.found]
        return f"did {', '.join(worked)}" if worked else "nothing to do: all of it had been done"
