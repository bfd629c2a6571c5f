from __future__ import annotations

import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrieval.data.config import DataConfig
from retrieval.data.importers import IMPORTERS, ActionRule, ColumnMapping, Imported, ImportRequest
from retrieval.errors import ConfigError, ConflictError, DataError


def run(kind: str, source: Path, out: Path, *, columns: ColumnMapping | None = None, **options: object) -> Imported:
    request = ImportRequest(source=source, out=out, mapping=columns or ColumnMapping(), show=False, **options)
    done = IMPORTERS[kind](request)
    assert done.rows == done.written + done.outside + sum(done.rejected.values())
    assert pq.read_table(out / "events").num_rows == done.written
    rejects = out / "rejects" / "import.parquet"
    assert (pq.read_metadata(rejects).num_rows if rejects.exists() else 0) == sum(done.rejected.values())
    return done


def test_movielens_100k(tmp_path: Path) -> None:
    source = tmp_path / "ml-100k"
    source.mkdir()
    (source / "u.data").write_text("196\t2\t3\t881250949\n186\t1\t3\t891717742\n22\tx\t1\t878887116\n")
    (source / "u.genre").write_text("unknown|0\nAction|1\nComedy|2\n\n")
    (source / "u.item").write_bytes(
        "1|Misérables, Les (1995)|01-Jan-1995||http://x|0|1|1\n2|unknown||||1|0|0\n".encode("latin-1")
    )
    (source / "u.user").write_text("196|49|M|writer|55105\n186|39|F|executive|00000\n")
    done = run("movielens", source, tmp_path / "data")
    assert done.rejected == {"item is not an id": 1}
    items = pq.read_table(tmp_path / "data/items.parquet").to_pylist()
    assert items[0] == {"item_id": 1, "title": "Misérables, Les (1995)", "genres": ["Action", "Comedy"], "year": 1995}
    assert items[1] == {"item_id": 2, "title": "unknown", "genres": [], "year": None}
    users = pq.read_table(tmp_path / "data/users.parquet").to_pylist()
    assert users[0] == {"user_id": 196, "age": 49, "gender": "M", "occupation": "writer", "zip": "55105"}
    events = pq.read_table(tmp_path / "data/events").to_pylist()
    assert events[0]["timestamp"].isoformat() == "1997-12-04T15:55:49+00:00"


def test_movielens_1m(tmp_path: Path) -> None:
    (tmp_path / "ratings.dat").write_text("1::1193::5::978300760\n2::661::3::978302109\n")
    (tmp_path / "movies.dat").write_bytes(
        "661::Café: A Story (2000)::Drama|Comedy\n1193::B (1)::Drama\n".encode("latin-1")
    )
    (tmp_path / "users.dat").write_text("1::F::1::10::48067\n")
    done = run("movielens", tmp_path, tmp_path / "data")
    assert (done.written, done.users, done.items) == (2, 2, 2)
    items = pq.read_table(tmp_path / "data/items.parquet").to_pylist()
    assert items[0] == {"item_id": 661, "title": "Café: A Story (2000)", "genres": ["Drama", "Comedy"], "year": 2000}
    assert pq.read_table(tmp_path / "data/users.parquet").to_pylist()[0]["gender"] == "F"
    (tmp_path / "movies.dat").write_text("661::A (2000)\n")
    with pytest.raises(DataError, match=r"movies\.dat:1: expected 3 fields"):
        run("movielens", tmp_path, tmp_path / "other")


def test_movielens_20m(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,2,3.5,1112486027\n1,29,3.5,1112484676\n")
    (tmp_path / "movies.csv").write_text(
        'movieId,title,genres\n2,"Jumanji, ""the"" film (1995)",Adventure|Children\n29,Ünlisted,(no genres listed)\n',
        encoding="utf-8",
    )
    done = run("movielens", tmp_path, tmp_path / "data")
    assert done.written == 2
    items = pq.read_table(tmp_path / "data/items.parquet").to_pylist()
    assert items[0]["title"] == 'Jumanji, "the" film (1995)'
    assert items[1]["genres"] == []


def test_movielens_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").touch()
    with pytest.raises(DataError, match=r"expected a folder with one of: u\.data, .*found: readme\.txt"):
        run("movielens", tmp_path, tmp_path / "data")


def test_csv(tmp_path: Path) -> None:
    source = tmp_path / "log.csv"
    source.write_text(
        "when;who;what;device;price;did\n"
        "2024-01-01T00:00:00;a;x;tv;1.5;view\n"
        "2024-01-01T00:00:01;a;y;;2;view\n"
        "2024-01-01T00:00:02;;y;tv;2;view\n"
        "2024-01-01T00:00:03;b;y;tv;cheap;save\n"
        "2024-01-01T00:00:04;b\n"
        "whenever;b;y;tv;3;save\n"
        "2024-01-01T00:00:05;007;NA;tv;;save\n"
    )
    columns = ColumnMapping(
        user="who", item="what", timestamp="when", action="did", context=("device",), item_features=("price",)
    )
    with pytest.raises(DataError, match="no column 'who'"):
        run("csv", source, tmp_path / "data", columns=columns)
    # a bad value within the first block makes a column text; numbers are refused only in a column of numbers
    done = run("csv", source, tmp_path / "data", columns=columns, delimiter=";")
    assert done.written == 4
    assert {reason.split(":")[0] for reason in done.rejected} == {
        "user is empty",
        "line has 2 fields, expected 6",
        "timestamp can't be read",
    }
    events = pq.read_table(tmp_path / "data/events").to_pylist()
    assert [e["user_id"] for e in events] == ["a", "a", "b", "007"]
    assert [e["item_id"] for e in events] == ["x", "y", "y", "NA"]
    assert [e["device"] for e in events] == ["tv", None, "tv", "tv"]
    assert done.actions == {"save": 2, "view": 2}


def test_csv_numbers_that_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.data.importers.csv._BLOCK_BYTES", 200)
    lines = [f"u{n},i{n % 3},{1_700_000_000 + n},{n}" for n in range(40)]
    lines[30] = "u30,i0,1700000030,cheap"
    lines[33] = "u33,,1700000030,1"
    source = tmp_path / "log.csv"
    source.write_text("user_id,item_id,timestamp,price\n" + "\n".join(lines) + "\n")
    done = run("csv", source, tmp_path / "data", columns=ColumnMapping(item_features=("price",), context=("price",)))
    assert done.rejected == {"price is not a number": 1, "item is empty": 1}
    rejects = pq.read_table(tmp_path / "data/rejects/import.parquet").to_pylist()
    assert sorted(r["row"] for r in rejects) == [30, 33]
    assert pq.read_table(tmp_path / "data/events").schema.field("price").type == pa.float64()
    prices = {r["item_id"]: r["price"] for r in pq.read_table(tmp_path / "data/items.parquet").to_pylist()}
    assert prices["i1"] == sorted(n for n in range(40) if n % 3 == 1)[6]


def test_csv_that_can_not_be_read(tmp_path: Path) -> None:
    source = tmp_path / "log.csv"
    source.touch()
    with pytest.raises(DataError, match="the file is empty"):
        run("csv", source, tmp_path / "data")
    source.write_text("user_id,item_id,timestamp\n")
    with pytest.raises(DataError, match="holds 0 events"):
        run("csv", source, tmp_path / "data")
    source.write_bytes("user_id,item_id,timestamp\nJosé,x,1\n".encode("latin-1"))
    with pytest.raises(DataError, match="is it another encoding"):
        run("csv", source, tmp_path / "data")
    done = run("csv", source, tmp_path / "data", encoding="latin-1", replace=True)
    assert pq.read_table(done.paths["events"]).column("user_id").to_pylist() == ["José"]
    with pytest.raises(DataError, match="can't be read"):
        run("csv", tmp_path / "nothing.csv", tmp_path / "data", replace=True)


def shop(path: Path) -> Path:
    table = pa.table(
        {
            "invoice": ["1", "1", "C2", "3", "4", None],
            "who": ["a", "a", "a", None, "b", "b"],
            "sku": [5, 6, 5, 5, 5, 5],
            "at": pa.array([1, 2, 3, 4, 10**6, 6], pa.timestamp("s")),
            "amount": [1, 2, -1, 1, 1, -7],
            "label": ["lamp ", "cup", "LAMP", "lamp", "lamp", ""],
            "price": [1.0, 2.0, 3.0, 9.0, 9.0, None],
        }
    )
    pq.write_table(table, path)
    return path


SHOP = ColumnMapping(
    user="who",
    item="sku",
    timestamp="at",
    action_rules=(ActionRule.parse("cancel: invoice ~ ^C"), ActionRule.parse("loss: amount <= -7")),
    default_action="purchase",
    context=("amount",),
    item_features=("label", "price"),
    user_features=("label",),
    until_us=10**12,
)


def test_parquet_with_rules_features_and_a_time_range(tmp_path: Path) -> None:
    done = run("parquet", shop(tmp_path / "shop.parquet"), tmp_path / "data", columns=SHOP)
    assert (done.rows, done.written, done.outside) == (6, 4, 1)
    assert done.rejected == {"user is empty": 1}
    assert done.actions == {"cancel": 1, "loss": 1, "purchase": 2}
    items = pq.read_table(tmp_path / "data/items.parquet").to_pylist()
    assert items == [
        {"item_id": 5, "label": "LAMP", "price": 1.0},  # one LAMP, one lamp: the first in order; lower median
        {"item_id": 6, "label": "cup", "price": 2.0},
    ]
    users = pq.read_table(tmp_path / "data/users.parquet").to_pylist()
    assert users == [{"user_id": "a", "label": "LAMP"}, {"user_id": "b", "label": None}]
    text = done.suggestion.as_toml()
    assert 'context_columns = ["amount"]' in text
    assert 'positive_actions = ["purchase"]' in text


def test_what_is_there_is_only_replaced_on_demand(tmp_path: Path) -> None:
    source = shop(tmp_path / "shop.parquet")
    run("parquet", source, tmp_path / "data", columns=SHOP)
    with pytest.raises(ConflictError, match="--replace"):
        run("parquet", source, tmp_path / "data", columns=SHOP)
    columns = ColumnMapping(user="who", item="sku", timestamp="at")
    done = run("parquet", source, tmp_path / "data", columns=columns, replace=True)
    assert done.written == 5
    assert not (tmp_path / "data/items.parquet").exists()
    nothing = ColumnMapping(user="who", item="sku", timestamp="at", from_us=10**15)
    with pytest.raises(DataError, match="none of its 6 rows"):
        run("parquet", source, tmp_path / "data", columns=nothing, replace=True)
    assert pq.read_table(tmp_path / "data/events").num_rows == 5  # what is there stays until its successor is complete


def test_tables_of_users_and_items(tmp_path: Path) -> None:
    source = shop(tmp_path / "shop.parquet")
    (tmp_path / "people.csv").write_text("who,city\na,Oslo\nb,Rome\n")
    pq.write_table(pa.table({"item_id": ["5", "6"], "kind": ["x", "y"]}), tmp_path / "things.parquet")
    columns = ColumnMapping(user="who", item="sku", timestamp="at")
    paths = {"users": tmp_path / "people.csv", "items": tmp_path / "things.parquet"}
    run("parquet", source, tmp_path / "data", columns=columns, **paths)
    assert pq.read_table(tmp_path / "data/users.parquet").to_pydict() == {
        "user_id": ["a", "b"],
        "city": ["Oslo", "Rome"],
    }
    assert pq.read_table(tmp_path / "data/events").schema.field("item_id").type == pa.large_string()
    with pytest.raises(ConfigError, match="--item-feature and --items"):
        run("parquet", source, tmp_path / "data", columns=SHOP, items=paths["items"], replace=True)
    with pytest.raises(DataError, match="no column 'sku' or 'item_id'"):
        run("parquet", source, tmp_path / "data", columns=columns, items=tmp_path / "people.csv", replace=True)


def test_an_import_that_yields_nothing_leaves_nothing(tmp_path: Path) -> None:
    columns = ColumnMapping(user="who", item="sku", timestamp="at", from_us=10**15)
    with pytest.raises(DataError, match=r"none of its 6 rows .*5 outside the time range"):
        run("parquet", shop(tmp_path / "shop.parquet"), tmp_path / "data", columns=columns)
    assert not (tmp_path / "data/events").exists()


@pytest.mark.parametrize("text", ["cancel", "cancel: x", "cancel: x ~ [", "cancel: x < many", ": x = 1"])
def test_rules_that_can_not_be_read(text: str) -> None:
    with pytest.raises(ConfigError, match="--action-rule"):
        ActionRule.parse(text)


def test_rules() -> None:
    numbers = pa.array([1, None, 3])
    assert ActionRule.parse("a: x >= 3").matches(numbers).tolist() == [False, False, True]
    assert ActionRule.parse("a: x != 3").matches(numbers).tolist() == [True, False, False]
    assert ActionRule.parse("a : some column = b c ").matches(pa.array(["b c", "b"])).tolist() == [True, False]
    with pytest.raises(DataError, match="column 'x'"):
        ActionRule.parse("a: x < 3").matches(pa.array(["many"]))


@pytest.mark.parametrize(("kind", "hours", "refused"), [("csv", 1.0, 1), ("csv", 9.0, 0), ("parquet", 1.0, 1)])
def test_the_settings_say_which_times_are_implausible(tmp_path: Path, kind: str, hours: float, refused: int) -> None:
    at = int(time.time())
    source = tmp_path / f"log.{kind}"
    rows = {"user_id": ["a", "b"], "item_id": ["x", "y"], "timestamp": [at, at + 7200]}
    if kind == "csv":
        source.write_text("user_id,item_id,timestamp\n" + f"a,x,{at}\nb,y,{at + 7200}\n")
    else:
        pq.write_table(pa.table(rows), source)
    done = run(kind, source, tmp_path / "data", settings=DataConfig(future_hours=hours))
    assert sum(done.rejected.values()) == refused


def test_the_settings_say_how_much_memory_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "log.parquet"
    pq.write_table(pa.table({"user_id": ["a"], "item_id": ["x"], "timestamp": [1]}), source)
    limits: list[int] = []
    monkeypatch.setattr(
        "retrieval.data.importers.parquet.batch_rows", lambda memory_limit_mb: limits.append(memory_limit_mb) or 8
    )
    run("parquet", source, tmp_path / "data", settings=DataConfig(memory_limit_mb=256))
    assert limits == [256]
