"""Slices of the real data beside the checkout, through importer, histories and split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from retrieval.data import DataConfig, Dataset, open_dataset
from retrieval.data.config import parse_moment
from retrieval.data.importers import IMPORTERS, ActionRule, ColumnMapping, ImportRequest
from retrieval.data.importers.suggest import Suggestion


def opened(suggestion: Suggestion, root: Path) -> Dataset:
    return open_dataset(DataConfig.model_validate(dict(suggestion.data)), root, show=False)


def test_ml1m(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "ml1m"
    events = pq.read_table(source / "events.parquet", filters=[("user_id", "<=", 200)])
    (tmp_path / "slice").mkdir()
    shuffled = events.take(np.random.default_rng(0).permutation(events.num_rows))
    in_order = shuffled.sort_by([("position", "ascending")])  # users mixed, each user's order kept
    pq.write_table(in_order, tmp_path / "slice" / "events.parquet")
    for name in ("users", "items"):
        pq.write_table(pq.read_table(source / f"{name}.parquet"), tmp_path / "slice" / f"{name}.parquet")
    request = ImportRequest(source=tmp_path / "slice", out=tmp_path / "data", show=False)
    done = IMPORTERS["movielens"](request)
    assert (done.rows, done.rejected) == (events.num_rows, {})
    dataset = opened(done.suggestion, tmp_path)
    histories = dataset.histories
    assert (histories.users, len(histories.item_ids)) == (6040, 3883)
    expected = events.sort_by([("user_id", "ascending"), ("position", "ascending")])
    ids = pc.cast(histories.item_ids.take(pa.array(histories.items)), pa.int32())
    assert ids.equals(expected.column("item_id").combine_chunks())
    toy_story = dataset.items.slice(int(histories.item_rows(["1"])[0]), 1).to_pylist()[0]
    assert (toy_story["title"], toy_story["year"]) == ("Toy Story (1995)", 1995)
    assert "Animation" in toy_story["genres"]


def test_online_retail(shared_data: Path, tmp_path: Path) -> None:
    table = pq.read_table(shared_data / "online_retail" / "transactions.parquet").slice(0, 60_000)
    pq.write_table(table, tmp_path / "slice.parquet")
    mapping = ColumnMapping(
        user="CustomerID",
        item="StockCode",
        timestamp="InvoiceDate",
        action_rules=(ActionRule.parse("cancel: InvoiceNo ~ ^C"), ActionRule.parse("cancel: Quantity < 0")),
        default_action="purchase",
        item_features=("Description", "UnitPrice"),
        user_features=("Country",),
    )
    request = ImportRequest(source=tmp_path / "slice.parquet", out=tmp_path / "data", mapping=mapping, show=False)
    done = IMPORTERS["parquet"](request)
    nobody = table.column("CustomerID").null_count
    assert done.rejected == {"user is empty": nobody}
    assert done.written == table.num_rows - nobody
    known = table.filter(pc.is_valid(table.column("CustomerID")))
    cancelled = pc.or_(pc.starts_with(known.column("InvoiceNo"), "C"), pc.less(known.column("Quantity"), 0))
    assert done.actions["cancel"] == pc.sum(cancelled).as_py() > 0
    rejects = pq.read_table(tmp_path / "data/rejects/import.parquet")
    assert table.column("CustomerID").take(rejects.column("row")).null_count == nobody
    dataset = opened(done.suggestion, tmp_path)
    assert dataset.items.column("Description").null_count == 0
    lantern = dataset.items.slice(int(dataset.histories.item_rows(["85123A"])[0]), 1).to_pylist()[0]
    assert lantern["Description"] == "WHITE HANGING HEART T-LIGHT HOLDER"
    assert 2 < lantern["UnitPrice"] < 4
    assert dataset.users.column("Country").null_count == 0


def test_a_few_hours_of_globo(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "globo" / "clicks_to_2017-10-11.parquet"
    mapping = ColumnMapping(
        user="user_id",
        item="click_article_id",
        timestamp="click_timestamp",
        context=("click_deviceGroup", "click_os", "click_region"),
        from_us=parse_moment("2017-10-10T12:00:00"),
        until_us=parse_moment("2017-10-10T15:00:00"),
    )
    done = IMPORTERS["parquet"](ImportRequest(source=source, out=tmp_path / "data", mapping=mapping, show=False))
    assert done.timestamp_unit == "ms"
    assert done.written > 10_000
    assert done.rows == done.written + done.outside
    dataset = opened(done.suggestion, tmp_path)
    histories = dataset.histories
    assert mapping.from_us <= histories.first_us
    assert histories.last_us < mapping.until_us
    regions = histories.context["click_region"].take(np.arange(histories.events))
    assert regions.null_count == 0
    assert len(regions.unique()) > 10
