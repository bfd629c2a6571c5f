"""The last steps of every import: users and items tables, and the settings that fit what was written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from retrieval.data.importers.request import ImportRequest
from retrieval.data.importers.suggest import Suggestion, suggest_feature, suggest_features
from retrieval.data.importers.writing import REJECTS, EventWriter, Imported, write_table
from retrieval.data.reading.profiles import Profiles

_SAMPLE_ROWS = 1 << 18
_REQUEST_TIME: tuple[Mapping[str, Any], ...] = (
    {"kind": "time", "name": "request", "parts": ("hour", "weekday")},
    {"kind": "since_last", "name": "since_last"},
)


def finish(
    request: ImportRequest, writer: EventWriter, users: Profiles | None = None, items: Profiles | None = None
) -> Imported:
    """Write users.parquet and items.parquet (given, or derived from the events), and suggest settings."""
    result = writer.result
    result.paths["events"] = str(request.out / "events")
    if result.rejected:
        result.paths["rejects"] = str(request.out / REJECTS)
    features: dict[str, tuple[Mapping[str, Any], ...]] = {}
    data: dict[str, Any] = {"events": f"{request.out.name}/events"}
    for side, feature_side, given in (("users", "user", users), ("items", "item", items)):
        derived = writer.derived(side)
        table, id_column = (given.table, given.id_column) if given is not None else (derived, f"{feature_side}_id")
        if given is not None:
            table = given.table.set_column(given.table.column_names.index(id_column), id_column, given.ids)
            result.rejected_profiles |= given.rejected
        if table is None:
            (request.out / f"{side}.parquet").unlink(missing_ok=True)  # of the data that was replaced
            continue
        path = write_table(request.out, side, table, id_column)
        result.paths[side] = str(path)
        data[side] = f"{request.out.name}/{path.name}"
        features[feature_side] = suggest_features(table.slice(0, _SAMPLE_ROWS), id_column, feature_side)
    if request.mapping.context:
        data["context_columns"] = request.mapping.context
    if request.mapping.action_rules and request.mapping.default_action:
        data["positive_actions"] = (request.mapping.default_action,)  # rules name what is out of the ordinary
    features["context"] = (*_context_features(request), *_REQUEST_TIME)
    result.suggestion = Suggestion(data=data, features=features)
    return result


def _context_features(request: ImportRequest) -> tuple[Mapping[str, Any], ...]:
    sample = _sample(request.out / "events", request.mapping.context)
    found = [suggest_feature(name, sample.column(name), "context") for name in request.mapping.context]
    return tuple(one for one in found if one is not None)


def _sample(events: Path, columns: tuple[str, ...]) -> pa.Table:
    with pq.ParquetFile(sorted(events.iterdir())[0]) as file:
        return pa.Table.from_batches([next(file.iter_batches(batch_size=_SAMPLE_ROWS, columns=list(columns)))])
