from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

import retrieval
from tests.tiny import write_tiny

SMALL = {
    "towers.dim": 16,
    "towers.blocks": 1,
    "towers.heads": 2,
    "training.epochs": 2,
    "training.threads": 1,
    "training.device": "cpu",
    "index.shards": 2,
    "index.threads": 1,
    "index.min_recall": 0.0,
    "data.split.method": "leave_one_out",
}


def tables(kind: str, folder: Path) -> dict[str, Any]:
    """Events, users and items of the tiny world, as `kind` of table."""
    write_tiny(folder / "log")
    paths = {name: folder / "log" / "data" / f"{name}.parquet" for name in ("events", "users", "items")}
    if kind == "paths":
        return {name: str(path) for name, path in paths.items()}
    turn = {
        "pandas": lambda frame: frame,
        "polars": pl.from_pandas,
        "polars lazy": lambda frame: pl.from_pandas(frame).lazy(),
        "duckdb": duckdb.from_df,
    }[kind]
    return {name: turn(pq.read_table(path).to_pandas()) for name, path in paths.items()}


def item_table(shop: retrieval.Workspace) -> pd.DataFrame:
    return pq.read_table(shop.path / "data" / "items.parquet").to_pandas()


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> retrieval.Workspace:
    """A workspace with a version and a build of two shards."""
    root = tmp_path_factory.mktemp("api")
    made = retrieval.Workspace.create(
        root / "shop", **tables("pandas", root), context=["device"], model="shop", settings=SMALL, show=False
    )
    made.train(show=False)
    made.build_index(show=False)
    return made
