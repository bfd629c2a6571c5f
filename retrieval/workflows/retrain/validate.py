"""Step `validate`: the gate about what the settings name, which must be there, and be of a type that can be read.

Rows are checked one by one while histories are built; this finds a renamed column before that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from retrieval.data.reading.sources import open_source, schema_of
from retrieval.data.reading.validation import open_events
from retrieval.errors import DataError
from retrieval.features.declaration import SIDES
from retrieval.features.spec import FeatureSpec
from retrieval.rollout.gates.facts import SchemaFacts
from retrieval.rollout.gates.judging import judge_all
from retrieval.workflows.retrain.step import Made, Outputs, Step, Surroundings, Values
from retrieval.workflows.workspace import Settings


def declared_columns(features: FeatureSpec) -> dict[str, list[str]]:
    """Columns of the data that declared features read, by side."""
    return {
        side: sorted({one.source for one in getattr(features, side) if one.stored and one.source}) for side in SIDES
    }


def _inputs(_: Surroundings, outputs: Outputs) -> Values:
    return {"snapshot": outputs["events"]["snapshot"]}


def _run(around: Surroundings, _: Outputs) -> Made:
    settings = around.workspace.settings
    tables: dict[str, list[str]] = {}
    found: dict[str, object] = {}
    faults = list(_faults(around, tables, found))
    verdicts = judge_all("schema", SchemaFacts(faults=tuple(faults)), settings.gates)
    if not faults:
        around.say(f"validate: {found['rows']:,} rows of events, every column that is needed is there")
    return Made(
        output={**found, **tables, "verdicts": [asdict(one) for one in verdicts]},
        verdicts=tuple(verdicts),
    )


def _faults(around: Surroundings, tables: dict[str, list[str]], found: dict[str, object]) -> Iterator[str]:
    """What is wrong with files and columns, a sentence each; what they hold is put into `tables` and `found`."""
    settings, root = around.workspace.settings, around.workspace.root
    try:
        layout = open_events(settings.data, root)
        found |= {"rows": layout.source.rows, "timestamp_unit": layout.unit}
        found["events"] = {name: str(kind) for name, kind in layout.source.types.items()}
    except DataError as error:
        yield str(error)
    for side, what in (("user", "users"), ("item", "items")):
        try:
            tables[side] = _table(around, what)
        except DataError as error:
            yield str(error)
    tables["context"] = list(settings.data.context_columns)
    yield from _undeclared(settings, tables)


def _table(around: Surroundings, what: str) -> list[str]:
    data = around.workspace.settings.data
    place, column = (data.users, data.user_column) if what == "users" else (data.items, data.item_column)
    if not place:
        return []
    path = around.workspace.root / place
    open_source(path, what, required=[column])
    return list(schema_of(path, what).names)


def _undeclared(settings: Settings, tables: dict[str, list[str]]) -> Iterator[str]:
    """Features whose column isn't there, of tables that could be opened. The implied ids are no columns of these."""
    data = settings.data
    ids = {"user": data.user_column, "item": data.item_column}
    for side, names in declared_columns(settings.features).items():
        if side not in tables:
            continue
        there = {*tables[side], "user_id", "item_id", ids.get(side, "")}
        missing = [name for name in names if name not in there]
        if missing:
            yield (
                f"features.{side} read {', '.join(map(repr, missing))}, and the {_where(side, settings)} have no such "
                f"column; they have: {', '.join(sorted(tables[side])) or 'none'}. Was it renamed?"
            )


def _where(side: str, settings: Settings) -> str:
    data = settings.data
    named = {"user": f"users ({data.users})", "item": f"items ({data.items})"}
    return named.get(side, "context columns of the events (data.context_columns)")


STEP = Step(
    name="validate",
    about="The gate about files and columns: whether those that the settings name are there, and can be read",
    after=("events",),
    settings=("data", "features", "gates"),
    code=("data/reading", "features", "rollout/gates"),
    inputs=_inputs,
    run=_run,
)
