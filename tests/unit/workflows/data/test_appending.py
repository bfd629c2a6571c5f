"""A log that grows: newer events are added to those that were imported."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from retrieval.cli.main import build_app
from retrieval.data.importers import ColumnMapping
from retrieval.errors import ConfigError, ConflictError, DataError
from retrieval.storage.locks import locked
from retrieval.workflows.data.appending import append_events
from retrieval.workflows.data.importing import import_events
from retrieval.workflows.workspace import Workspace, create_workspace

AT = 1_700_000_000
FIRST = pa.table(
    {
        "user_id": ["a", "b", "a"],
        "item_id": ["x", "y", "y"],
        "timestamp": [AT, AT + 1, AT + 2],
        "action": ["click"] * 3,
        "device": ["phone", "desk", None],
    }
)
ITEMS = pa.table({"item_id": ["x", "y"], "price": [1.0, 2.0], "colour": ["red", "blue"]})
WITH_DEVICE = ColumnMapping(context=("device",))


def more(*rows: tuple[str, str, int]) -> pa.Table:
    columns = {name: [row[n] for row in rows] for n, name in enumerate(("user_id", "item_id", "timestamp"))}
    return pa.table(columns | {"action": ["click"] * len(rows), "device": ["phone"] * len(rows)})


@pytest.fixture
def shop(tmp_path: Path) -> Workspace:
    workspace = create_workspace(tmp_path)
    import_events(workspace, FIRST, mapping=WITH_DEVICE, items=ITEMS, write_settings=True, show=False)
    return workspace.reopen()


def log(shop: Workspace) -> list[tuple[str, str]]:
    histories = shop.dataset(show=False).histories
    users = histories.user_ids.take(histories.users_of(range(histories.events))).to_pylist()
    return list(zip(users, histories.item_ids.take(pa.array(histories.items)).to_pylist(), strict=True))


def test_events_and_items_are_added(shop: Workspace) -> None:
    items = pa.table({"item_id": ["y", "z"], "price": [9.0, 3.0], "colour": ["grey", None]})
    before = shop.dataset(show=False).snapshot
    done = append_events(
        shop, more(("a", "z", AT + 9), ("c", "y", AT + 8)), mapping=WITH_DEVICE, items=items, show=False
    )
    assert (done.rows, done.events, done.new_items, done.new_users) == (2, 2, 1, 0)
    assert log(shop) == [("a", "x"), ("a", "y"), ("a", "z"), ("b", "y"), ("c", "y")]
    dataset = shop.dataset(show=False)
    assert dataset.snapshot != before
    assert dataset.items.to_pylist() == [
        {"item_id": "x", "price": 1.0, "colour": "red"},
        {"item_id": "y", "price": 9.0, "colour": "grey"},
        {"item_id": "z", "price": 3.0, "colour": None},
    ]


def test_events_of_one_moment_keep_the_order_in_which_they_came(shop: Workspace) -> None:
    for item in ("p", "q", "o"):
        append_events(shop, more(("a", item, AT + 2)), mapping=WITH_DEVICE, show=False)
    assert [item for user, item in log(shop) if user == "a"] == ["x", "y", "p", "q", "o"]


def test_the_same_events_again_are_refused(shop: Workspace) -> None:
    table = more(("a", "z", AT + 9))
    append_events(shop, table, mapping=WITH_DEVICE, show=False)
    with pytest.raises(ConflictError, match="just these events were added before"):
        append_events(shop, table, mapping=WITH_DEVICE, show=False)
    assert len(log(shop)) == 4


def test_what_does_not_fit_adds_nothing(shop: Workspace) -> None:
    before = log(shop)
    new = more(("a", "z", AT + 9))
    with pytest.raises(DataError, match="no column 'device'"):
        append_events(shop, new, show=False)
    numbers = new.set_column(4, "device", pa.array([3]))
    with pytest.raises(DataError, match="'device' is int64 in the events to be added, string"):
        append_events(shop, numbers, mapping=WITH_DEVICE, show=False)
    people = pa.table({"user_id": ["a"], "country": ["DE"]})
    with pytest.raises(ConfigError, match=r"users were given, but data\.users names no table"):
        append_events(shop, new, mapping=WITH_DEVICE, users=people, show=False)
    things = pa.table({"item_id": ["z"], "price": ["dear"]})
    with pytest.raises(DataError, match="columns of other types"):
        append_events(shop, new, mapping=WITH_DEVICE, items=things, show=False)
    assert log(shop) == before
    assert {path.name for path in (shop.root / "data").iterdir() if not path.name.startswith(".hist")} == {
        "events",
        "items.parquet",
    }


def test_refused_rows_are_put_aside(shop: Workspace) -> None:
    done = append_events(shop, more(("", "z", AT + 9), ("a", "z", AT + 9)), mapping=WITH_DEVICE, show=False)
    assert (done.events, done.rejected) == (1, {"user is empty": 1})
    assert pq.read_table(shop.root / "data" / "rejects" / "append.parquet").num_rows == 1


def test_derived_features_of_known_items_stay(tmp_path: Path) -> None:
    workspace = create_workspace(tmp_path)
    mapping = ColumnMapping(item_features=("device",))
    import_events(workspace, FIRST, mapping=mapping, write_settings=True, show=False)
    shop = workspace.reopen()
    before = pq.read_table(shop.root / "data" / "items.parquet").to_pylist()
    done = append_events(shop, more(("a", "y", AT + 9), ("a", "z", AT + 9)), mapping=mapping, show=False)
    assert done.new_items == 1
    now = {row["item_id"]: row for row in pq.read_table(shop.root / "data" / "items.parquet").to_pylist()}
    assert [now[row["item_id"]] for row in before] == before
    assert now["z"]["device"] == "phone"


def test_one_at_a_time_and_into_a_folder(shop: Workspace) -> None:
    with locked(shop.root / "data" / ".append.lock", "x"), pytest.raises(ConflictError, match="are being added"):
        append_events(shop, more(("a", "z", AT + 9)), mapping=WITH_DEVICE, show=False)
    file = Workspace.open(shop.root, ["data.events=data/events/part-00000.parquet"])
    with pytest.raises(ConfigError, match="added to a folder of files"):
        append_events(file, more(("a", "z", AT + 9)), mapping=WITH_DEVICE, show=False)


def test_the_command(shop: Workspace, tmp_path: Path) -> None:
    source = tmp_path / "today.csv"
    source.write_text(f"who,item_id,timestamp,action,device\nq,z,{AT + 9},click,phone\n")
    words = ["data", "append", "csv", str(source), "--user", "who", "--context", "device", "--json"]
    result = CliRunner().invoke(build_app(), [*words, "-w", str(shop.root)])
    assert result.exception is None, result.exception
    assert json.loads(result.stdout)["events"] == 1
    assert ("q", "z") in log(shop)
