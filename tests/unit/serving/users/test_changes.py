"""Which users have changed between two snapshots of the data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrieval.data import Dataset, open_dataset
from retrieval.serving.users.changes import changed_users
from retrieval.serving.users.loading import user_records
from tests.tiny import START_US, TINY_CONFIG, write_tiny


@pytest.fixture
def before(tmp_path: Path) -> Dataset:
    write_tiny(tmp_path)
    return open_dataset(TINY_CONFIG, tmp_path, show=False)


def change(root: Path, name: str, change: Any) -> None:
    path = root / "data" / f"{name}.parquet"
    pq.write_table(change(pq.read_table(path)), path)


def changed(before: Dataset, root: Path) -> set[str]:
    now = open_dataset(TINY_CONFIG, root, show=False)
    rows = changed_users(now, before)
    assert np.array_equal(rows, np.unique(rows))
    found = {now.histories.user_ids[int(row)].as_py() for row in rows}
    records = {user: record.SerializeToString(deterministic=True) for user, record in user_records(now)}
    old = {user: record.SerializeToString(deterministic=True) for user, record in user_records(before)}
    assert found == {user for user in records if records[user] != old.get(user)}
    some = dict(user_records(now, rows))
    assert {user: record.SerializeToString(deterministic=True) for user, record in some.items()} == {
        user: records[user] for user in found
    }
    return found


def event(table: pa.Table, **values: Any) -> pa.Table:
    row = pa.table({name: [value] for name, value in values.items()}).select(table.column_names).cast(table.schema)
    return pa.concat_tables([table, row])


def test_users_with_new_events_and_new_users(before: Dataset, tmp_path: Path) -> None:
    def more(table: pa.Table) -> pa.Table:
        for user in ("u3", "newcomer"):
            # an item whose id sorts before all others: the codes of all items move
            row = {"user_id": user, "item_id": "a-new-one", "timestamp": START_US, "action": "buy", "device": "phone"}
            table = event(table, **row)
        return table

    change(tmp_path, "events", more)
    assert changed(before, tmp_path) == {"u3", "newcomer"}


def test_the_order_of_the_events_changes_nobody(before: Dataset, tmp_path: Path) -> None:
    change(tmp_path, "items", lambda table: table.slice(0, 30))
    change(tmp_path, "users", lambda table: table.take(pa.array(np.arange(table.num_rows)[::-1])))
    assert changed(before, tmp_path) == set()


@pytest.mark.parametrize("column", ["item_id", "timestamp", "action"])
def test_an_event_that_is_another_now(before: Dataset, tmp_path: Path, column: str) -> None:
    values = {"item_id": "i39x", "timestamp": START_US + 7, "action": "hide"}

    def other(table: pa.Table) -> pa.Table:
        found = table[column].to_pylist()
        row = table["user_id"].to_pylist().index("u5")
        found[row] = values[column]
        return table.set_column(table.column_names.index(column), column, pa.array(found))

    change(tmp_path, "events", other)
    assert changed(before, tmp_path) == {"u5"}


def test_profiles(before: Dataset, tmp_path: Path) -> None:
    def other(table: pa.Table) -> pa.Table:
        countries = table["country"].to_pylist()
        countries[7], countries[8] = "XX", None
        return table.set_column(table.column_names.index("country"), "country", pa.array(countries))

    change(tmp_path, "users", other)
    assert changed(before, tmp_path) == {"u7", "u8"}


def test_a_new_column_of_profiles_changes_everybody(before: Dataset, tmp_path: Path) -> None:
    change(tmp_path, "users", lambda table: table.append_column("lists", pa.array([[1]] * table.num_rows)))
    now = open_dataset(TINY_CONFIG, tmp_path, show=False)
    assert len(changed_users(now, before)) == now.histories.users
    assert len(changed_users(now, now)) == 0
