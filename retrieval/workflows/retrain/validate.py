"""Step `validate`: what the settings name must be there, and be of a type that can be read.

Rows are checked one by one while histories are built; this finds a renamed column before that.
"""

from __future__ import annotations

from retrieval.data.reading.sources import open_source, schema_of
from retrieval.data.reading.validation import open_events
from retrieval.errors import DataError
from retrieval.features.declaration import SIDES
from retrieval.features.spec import FeatureSpec
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
    settings, root = around.workspace.settings, around.workspace.root
    layout = open_events(settings.data, root)
    tables = {"user": _table(around, "users"), "item": _table(around, "items")}
    tables["context"] = list(settings.data.context_columns)
    _check_declared(settings, tables)
    around.say(f"validate: {layout.source.rows:,} rows of events, every column that is needed is there")
    kinds = {name: str(kind) for name, kind in layout.source.types.items()}
    return Made(output={"rows": layout.source.rows, "timestamp_unit": layout.unit, "events": kinds, **tables})


def _table(around: Surroundings, what: str) -> list[str]:
    data = around.workspace.settings.data
    place, column = (data.users, data.user_column) if what == "users" else (data.items, data.item_column)
    if not place:
        return []
    path = around.workspace.root / place
    open_source(path, what, required=[column])
    return list(schema_of(path, what).names)


def _check_declared(settings: Settings, tables: dict[str, list[str]]) -> None:
    """Raises DataError for a feature whose column isn't there. The implied ids are no columns of these tables."""
    data = settings.data
    ids = {"user": data.user_column, "item": data.item_column}
    for side, names in declared_columns(settings.features).items():
        there = {*tables[side], "user_id", "item_id", ids.get(side, "")}
        missing = [name for name in names if name not in there]
        if missing:
            raise DataError(
                f"features.{side} read {', '.join(map(repr, missing))}, and the {_where(side, settings)} have no such "
                f"column; they have: {', '.join(sorted(tables[side])) or 'none'}. Was it renamed?"
            )


def _where(side: str, settings: Settings) -> str:
    data = settings.data
    named = {"user": f"users ({data.users})", "item": f"items ({data.items})"}
    return named.get(side, "context columns of the events (data.context_columns)")


STEP = Step(
    name="validate",
    about="Whether files and columns that the settings name are there, of types that can be read",
    after=("events",),
    settings=("data", "features"),
    code=("data/reading", "features"),
    inputs=_inputs,
    run=_run,
)
