"""Raw events as a stream of record batches, from files or from memory, written as canonical Parquet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from retrieval.data.importers.finishing import finish
from retrieval.data.importers.request import ColumnMapping, ImportRequest
from retrieval.data.importers.writing import REJECTS, EventWriter, Imported, check_free, layout_for
from retrieval.data.reading.profiles import Profiles
from retrieval.data.reading.rejects import RejectsWriter
from retrieval.data.reading.schema import IdKind
from retrieval.data.reading.sources import Batch
from retrieval.observability import track

Refuse = Callable[[pa.RecordBatch], None]
"""Puts rows aside, in the form of the rejects dataset, that an importer refuses by itself."""


@dataclass(frozen=True)
class EventStream:
    """Raw events, batch by batch."""

    name: Path
    """What messages call it: a file, a folder, or a word for what lies in memory."""
    types: Mapping[str, pa.DataType]
    """Of the columns that every batch has."""
    unit: str
    """Of timestamps that are plain numbers: s, ms, us or ns."""
    batches: Callable[[Refuse], Iterator[Batch]]
    rows: int | None = None
    """None where it isn't known before the end."""


def write_stream(
    request: ImportRequest,
    stream: EventStream,
    mapping: ColumnMapping,
    kinds: tuple[IdKind, IdKind],
    profiles: tuple[Profiles | None, Profiles | None],
) -> Imported:
    """Check and write every batch, then the tables of users and items; `kinds` are those of their ids.

    Raises DataError, and ConflictError over data that is there, unless `request.replace`.
    """
    check_free(request.out, replace=request.replace)
    layout = layout_for(request, stream.name, stream.types, mapping, kinds=kinds, unit=stream.unit)
    writer = EventWriter(layout, mapping, request.out)
    with (
        track("Importing", stream.rows, unit="rows", show=request.show) as tracker,
        RejectsWriter(request.out / REJECTS) as rejects,
    ):
        batches = stream.batches(lambda rows: writer.refuse(rows, rejects))
        writer.write(batches, rejects, tracker)
    return finish(request, writer, *profiles)
