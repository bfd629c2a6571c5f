"""Changing and reading the rows of retraining: runs of the chain, its steps, what gates measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, insert, select, update

from retrieval.errors import ConflictError, NotFoundError
from retrieval.registry.change import Change, as_row, as_values, lock_model
from retrieval.registry.rows import GateRow, RetrainRow, StepRow, utc_now
from retrieval.registry.tables import GATES, RETRAIN_RUNS, RETRAIN_STEPS


def start_run(change: Change, model: str, as_of_us: int, *, forced: str, note: str) -> RetrainRow:
    """Begin a run; one that was left running is marked as interrupted."""
    lock_model(change, model)
    left = update(RETRAIN_RUNS).where(RETRAIN_RUNS.c.model == model, RETRAIN_RUNS.c.state == "running")
    change.connection.execute(left.values(state="interrupted", finished_at=utc_now()))
    values = {
        "model": model,
        "as_of_us": as_of_us,
        "state": "running",
        "who": change.who,
        "started_at": utc_now(),
        "finished_at": None,
        "version": None,
        "build": None,
        "forced": forced,
        "note": note,
    }
    number = change.connection.execute(insert(RETRAIN_RUNS).values(values).returning(RETRAIN_RUNS.c.id)).scalar_one()
    change.record(
        "retrain.start", model, {"run": number, "as_of_us": as_of_us, **({"forced": forced} if forced else {})}
    )
    return get_run(change.connection, number)


def finish_run(
    change: Change, number: int, state: str, *, version: int | None, build: int | None, note: str
) -> RetrainRow:
    """End a running run. Raises ConflictError if it had ended before."""
    found = get_run(change.connection, number)
    lock_model(change, found.model)
    if get_run(change.connection, number).state != "running":
        raise ConflictError(f"retraining {number} of {found.model} has ended already: another took its place")
    ended = update(RETRAIN_RUNS).where(RETRAIN_RUNS.c.id == number)
    change.connection.execute(ended.values(state=state, finished_at=utc_now(), version=version, build=build, note=note))
    change.record(f"retrain.{state}", found.model, {"run": number, "version": version, "build": build, "note": note})
    return get_run(change.connection, number)


def get_run(connection: Connection, number: int) -> RetrainRow:
    """One run. Raises NotFoundError."""
    found = connection.execute(select(RETRAIN_RUNS).where(RETRAIN_RUNS.c.id == number)).one_or_none()
    if found is None:
        raise NotFoundError(f"retraining {number}: not in the registry; `retrieval retrain list` shows what there is")
    return as_row(RetrainRow, found)


def runs(connection: Connection, model: str, limit: int | None) -> list[RetrainRow]:
    """Runs, newest first."""
    query = select(RETRAIN_RUNS).where(RETRAIN_RUNS.c.model == model).order_by(RETRAIN_RUNS.c.id.desc()).limit(limit)
    return [as_row(RetrainRow, found) for found in connection.execute(query)]


def begin_step(change: Change, run: RetrainRow, step: str, address: str, inputs: Mapping[str, Any]) -> StepRow:
    """Note that a step is being done. Raises ConflictError where another run has taken this one's place."""
    lock_model(change, run.model)
    _still_running(change.connection, run)
    before = find_step(change.connection, run.model, step, address)
    row = StepRow(
        model=run.model,
        step=step,
        address=address,
        state="running",
        inputs=inputs,
        output={},
        run=run.id,
        attempts=1 if before is None else before.attempts + 1,
        started_at=utc_now(),
        finished_at=None,
        note="",
    )
    _put_step(change, row, there=before is not None)
    return row


def finish_step(change: Change, row: StepRow, run: RetrainRow, results: Sequence[GateRow] = ()) -> StepRow:
    """Record how a step ended, and what its gates measured. Raises ConflictError as `begin_step`."""
    lock_model(change, row.model)
    _still_running(change.connection, run)
    _put_step(change, row, there=True)
    for result in results:
        values = {name: value for name, value in as_values(result).items() if name != "id"}
        change.connection.execute(insert(GATES).values(values))
    return row


def find_step(connection: Connection, model: str, step: str, address: str) -> StepRow | None:
    """The step of just these inputs, or None."""
    found = connection.execute(_step_at(select(RETRAIN_STEPS), model, step, address)).one_or_none()
    return None if found is None else as_row(StepRow, found)


def steps(connection: Connection, model: str, step: str | None) -> list[StepRow]:
    """Steps (of one name, or all), newest first."""
    query = select(RETRAIN_STEPS).where(RETRAIN_STEPS.c.model == model)
    if step is not None:
        query = query.where(RETRAIN_STEPS.c.step == step)
    return [
        as_row(StepRow, found)
        for found in connection.execute(query.order_by(RETRAIN_STEPS.c.started_at.desc(), RETRAIN_STEPS.c.run.desc()))
    ]


def gates(
    connection: Connection, model: str, *, run: int | None = None, version: int | None = None, build: int | None = None
) -> list[GateRow]:
    """What gates measured, oldest first; of one run, version or build where it is given."""
    query = select(GATES).where(GATES.c.model == model)
    for column, value in ((GATES.c.run, run), (GATES.c.version, version), (GATES.c.build, build)):
        if value is not None:
            query = query.where(column == value)
    return [as_row(GateRow, found) for found in connection.execute(query.order_by(GATES.c.id))]


def refusals(connection: Connection, model: str, *, version: int, build: int | None) -> list[GateRow]:
    """Gates that refused a version, or this build of it, last, and whose refusal nobody passed over."""
    rows = [row for row in gates(connection, model, version=version) if row.build in {None, build}]
    newest = {row.gate: row for row in rows}
    return [row for row in newest.values() if row.outcome == "refused" and not row.forced]


def force(change: Change, rows: Sequence[GateRow], reason: str) -> None:
    """Pass over refusals, for a reason that stands in the audit trail."""
    for row in rows:
        change.connection.execute(update(GATES).where(GATES.c.id == row.id).values(forced=reason))
        change.record("gate.force", _subject(row), {"gate": row.gate, "reason": reason, "said": row.sentence})


def _subject(row: GateRow) -> str:
    if row.build is not None:
        return f"{row.model}-b{row.build}"
    return row.model if row.version is None else f"{row.model}@{row.version}"


def _still_running(connection: Connection, run: RetrainRow) -> None:
    now = get_run(connection, run.id)
    if now.state != "running":
        raise ConflictError(f"retraining {run.id} of {run.model} is {now.state}: another took its place")


def _put_step(change: Change, row: StepRow, *, there: bool) -> None:
    values = as_values(row)
    if there:
        change.connection.execute(_step_at(update(RETRAIN_STEPS), row.model, row.step, row.address).values(values))
    else:
        change.connection.execute(insert(RETRAIN_STEPS).values(values))


def _step_at(statement: Any, model: str, step: str, address: str) -> Any:
    table = RETRAIN_STEPS.c
    return statement.where(table.model == model, table.step == step, table.address == address)
