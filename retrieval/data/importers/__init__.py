"""Importers: logs of known and of any layout become canonical Parquet in a workspace. One file each, named here."""

from __future__ import annotations

from collections.abc import Callable

from retrieval.data.importers.actions import ActionRule
from retrieval.data.importers.arrow import import_arrow
from retrieval.data.importers.csv import import_csv
from retrieval.data.importers.movielens import import_movielens
from retrieval.data.importers.parquet import import_parquet
from retrieval.data.importers.request import ColumnMapping, ImportRequest
from retrieval.data.importers.writing import Imported
from retrieval.data.reading.arrow_streams import ArrowStream

Importer = Callable[[ImportRequest], Imported]

IMPORTERS: dict[str, Importer] = {
    "movielens": import_movielens,
    "csv": import_csv,
    "parquet": import_parquet,
}
"""What `retrieval data import NAME` can read."""

__all__ = ["IMPORTERS", "ActionRule", "ArrowStream", "ColumnMapping", "ImportRequest", "Imported", "import_arrow"]
