"""The registry's part about retraining: runs of the chain, steps by the hash of their inputs, what gates measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from retrieval.registry import retraining_rows
from retrieval.registry.change import Change
from retrieval.registry.database import Database
from retrieval.registry.rows import GateRow, RetrainRow, RetrainState, StepRow
from retrieval.types import BuildId, ModelVersion


class Retraining:
    """Reached as `registry.retraining`; every method is one transaction and raises UnavailableError as those there."""

    def __init__(self, database: Database, who: str) -> None:
        self._database, self._who = database, who

    def start(self, model: str, as_of_us: int, *, forced: str = "", note: str = "") -> RetrainRow:
        """Begin a run of the retraining chain; one that was left running is interrupted by it."""
        with self._change() as change:
            return retraining_rows.start_run(change, model, as_of_us, forced=forced, note=note)

    def finish(
        self, number: int, state: RetrainState, *, version: int | None = None, build: int | None = None, note: str = ""
    ) -> RetrainRow:
        """End a run. Raises ConflictError if another has taken its place, NotFoundError."""
        with self._change() as change:
            return retraining_rows.finish_run(change, number, state, version=version, build=build, note=note)

    def runs(self, model: str, *, limit: int | None = None) -> list[RetrainRow]:
        """Runs of the retraining chain, newest first."""
        with self._database.read() as connection:
            return retraining_rows.runs(connection, model, limit)

    def get_run(self, number: int) -> RetrainRow:
        """One run. Raises NotFoundError."""
        with self._database.read() as connection:
            return retraining_rows.get_run(connection, number)

    def begin_step(self, run: RetrainRow, step: str, address: str, inputs: Mapping[str, Any]) -> StepRow:
        """Note that a run does a step. Raises ConflictError if another has taken the run's place."""
        with self._change() as change:
            return retraining_rows.begin_step(change, run, step, address, inputs)

    def finish_step(self, row: StepRow, run: RetrainRow, results: Sequence[GateRow] = ()) -> StepRow:
        """Record how a step ended, with what its gates measured. Raises ConflictError as `begin_step`."""
        with self._change() as change:
            return retraining_rows.finish_step(change, row, run, results)

    def find_step(self, model: str, step: str, address: str) -> StepRow | None:
        """The step of just these inputs, or None."""
        with self._database.read() as connection:
            return retraining_rows.find_step(connection, model, step, address)

    def steps(self, model: str, step: str | None = None) -> list[StepRow]:
        """Steps of one name (None: all), newest first."""
        with self._database.read() as connection:
            return retraining_rows.steps(connection, model, step)

    def gates(
        self, model: str, *, run: int | None = None, version: int | None = None, build: int | None = None
    ) -> list[GateRow]:
        """What gates measured, oldest first; of one run, version or build where it is given."""
        with self._database.read() as connection:
            return retraining_rows.gates(connection, model, run=run, version=version, build=build)

    def refusals(self, version: ModelVersion, build: BuildId | None = None) -> list[GateRow]:
        """Gates that refused a version, or this build of it, last, and whose refusal nobody passed over."""
        with self._database.read() as connection:
            number = None if build is None else build.number
            return retraining_rows.refusals(connection, version.model, version=version.version, build=number)

    def force(self, rows: Sequence[GateRow], reason: str) -> None:
        """Pass over refusals, for a reason that stands in the audit trail."""
        with self._change() as change:
            retraining_rows.force(change, rows, reason)

    @contextmanager
    def _change(self) -> Iterator[Change]:
        with self._database.write() as connection:
            yield Change(connection, self._who)
