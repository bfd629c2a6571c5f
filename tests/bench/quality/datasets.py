"""The data sets: how each becomes a workspace, and the protocol that it is measured under.

Protocols are those of shared/data/README.md. Nothing of the data goes into the project.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from retrieval.config import FILE_NAME
from retrieval.data import Dataset
from retrieval.data.importers import IMPORTERS, ActionRule, ColumnMapping, Imported, ImportRequest
from retrieval.data.importers.suggest import Suggestion
from retrieval.errors import ConfigError
from retrieval.features.spec import FeatureSpec

Overrides = tuple[str, ...]


@dataclass(frozen=True)
class BenchData:
    """A data set and its protocol."""

    folder: str
    recipes: Mapping[str, str]
    """Track → the recipe that is trained where none is named."""
    make: Callable[[Path, Path, int | None], Imported]
    """From the data set's folder into a data folder, with so many users only."""
    protocol: Overrides
    """Settings that the protocol fixes; they win over recipes and flags."""
    inputs: Mapping[str, Overrides]
    """Track → what of the data is an input. They win over recipes, flags over them."""
    cuts: Mapping[str, Overrides] = field(default_factory=lambda: {"": ()})
    """Splits that are measured one after another, by the name that their rows bear."""
    ks: tuple[int, ...] = (10, 50, 200)
    baselines: tuple[str, ...] = ("popularity", "covisitation")
    cold_start: bool = False
    served_after_hours: float | None = None
    """Where items come and go: the index that is served is as of so many hours after the cut, for the hour after it."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """Track → what has to be said beside its figures."""
    check: Callable[[Path, Dataset], None] = lambda _folder, _dataset: None


# Other work on the machine shall make the services slow, not make requests fail; nothing here is of the index
_SERVING = """[serving]
deadline_ms = 60000
search_timeout_ms = 20000
heartbeat_s = 0.5
reconcile_s = 1.0
"""


def prepare(data: BenchData, source: Path, root: Path, users: int | None) -> None:
    """Make a workspace of the data set at `root`, unless there is one."""
    path = root / FILE_NAME
    if path.exists():
        return
    if not (source / data.folder).is_dir():
        raise ConfigError(f"{source / data.folder}: no such folder; say with --data where the data sets are")
    root.mkdir(parents=True, exist_ok=True)
    done = data.make(source / data.folder, root / "data", users)
    text = Suggestion(data=done.suggestion.data).as_toml()
    path.write_text(f'[model]\nname = "bench"\n\n{text}\n{_SERVING}', encoding="utf-8")


def check_track(track: str, features: FeatureSpec) -> None:
    """The no-time track has no input that comes from a timestamp. Raises ConfigError."""
    if track != "no-time":
        return
    kinds = {"time", "since_last", "age", "activity", "first_seen"}
    timed = [f"{one.kind} {one.name!r}" for side in (features.user, features.item, features.context) for one in side]
    found = [text for text in timed if text.partition(" ")[0] in kinds]
    if features.history.time:
        found.append("features.history.time = true")
    if found:
        raise ConfigError(f"track no-time: nothing may come from timestamps; the recipe has {', '.join(found)}")


def _ml1m(source: Path, out: Path, users: int | None) -> Imported:
    if users is not None:
        cut = out.parent / "source"
        cut.mkdir(exist_ok=True)
        for name in ("events", "users"):
            table = pq.read_table(source / f"{name}.parquet", filters=[("user_id", "<=", users)])
            pq.write_table(table, cut / f"{name}.parquet")
        pq.write_table(pq.read_table(source / "items.parquet"), cut / "items.parquet")
        source = cut
    return IMPORTERS["movielens"](ImportRequest(source=source, out=out, replace=True, show=False))


def _check_ml1m(source: Path, dataset: Dataset) -> None:
    """Histories must stand in the order of `position`, the exact one: timestamps are partly imputed."""
    histories = dataset.histories
    last = int(histories.user_ids[-1].as_py())
    table = pq.read_table(source / "events.parquet", columns=["user_id", "position", "item_id"])
    table = table.filter(pc.less_equal(table["user_id"], last)).sort_by(
        [("user_id", "ascending"), ("position", "ascending")]
    )
    found = histories.item_ids.take(pa.array(histories.items)).cast(pa.int64())
    if not found.equals(table["item_id"].combine_chunks().cast(pa.int64())):
        raise AssertionError("ml1m: the histories are not in the order of `position`")


def _beauty(source: Path, out: Path, users: int | None) -> Imported:
    """Every position of a line is an event; the position is its time, in seconds from a round number."""
    lines = (source / "Beauty.txt").read_text(encoding="utf-8").splitlines()[:users]
    rows = [np.array(line.split(), np.int64) for line in lines]
    lengths = np.array([len(row) - 1 for row in rows])
    before = np.repeat(np.cumsum(lengths) - lengths, lengths)
    place = np.arange(lengths.sum()) - before
    made = out.parent / "source"
    made.mkdir(exist_ok=True)
    events = {
        "user_id": np.repeat([row[0] for row in rows], lengths),
        "item_id": np.concatenate([row[1:] for row in rows]),
        "timestamp": 1_000_000_000 + place,
    }
    pq.write_table(pa.table(events), made / "events.parquet")
    attributes = json.loads((source / "Beauty_item2attributes.json").read_text(encoding="utf-8"))
    items = {
        "item_id": pa.array([int(item) for item in attributes], pa.int64()),
        "attributes": pa.array([[str(one) for one in of] for of in attributes.values()], pa.list_(pa.string())),
    }
    pq.write_table(pa.table(items), made / "items.parquet")
    request = ImportRequest(
        source=made / "events.parquet", out=out, items=made / "items.parquet", replace=True, show=False
    )
    return IMPORTERS["parquet"](request)


_GLOBO_CONTEXT = ("environment", "deviceGroup", "os", "country", "region", "referrer_type")


def _globo(source: Path, out: Path, users: int | None) -> Imported:
    path = source / "clicks_to_2017-10-11.parquet"
    if users is not None:
        cut = out.parent / "source.parquet"
        pq.write_table(pq.read_table(path, filters=[("user_id", "<", users)]), cut)
        path = cut
    mapping = ColumnMapping(
        item="click_article_id",
        timestamp="click_timestamp",
        context=tuple(f"click_{name}" for name in _GLOBO_CONTEXT),
    )
    return IMPORTERS["parquet"](ImportRequest(source=path, out=out, mapping=mapping, replace=True, show=False))


def _online_retail(source: Path, out: Path, users: int | None) -> Imported:
    path = source / "transactions.parquet"
    if users is not None:
        table = pq.read_table(path)
        some = pc.unique(table["CustomerID"].drop_null()).slice(0, users)
        path = out.parent / "source.parquet"
        pq.write_table(table.filter(pc.is_in(table["CustomerID"], some)), path)
    rules = tuple(map(ActionRule.parse, ("cancel: InvoiceNo ~ ^C", "cancel: Quantity < 0")))
    mapping = ColumnMapping(
        user="CustomerID",
        item="StockCode",
        timestamp="InvoiceDate",
        action_rules=rules,
        default_action="purchase",
        item_features=("Description", "UnitPrice"),
        user_features=("Country",),
    )
    return IMPORTERS["parquet"](ImportRequest(source=path, out=out, mapping=mapping, replace=True, show=False))


_GENRES = 'features.item=[{kind = "multi_categorical", name = "genres"}]'
_ATTRIBUTES = 'features.item=[{kind = "multi_categorical", name = "attributes"}]'
_NO_TIME = "features.history.time=false"
_SINCE_LAST = '{kind = "since_last", name = "since_last"}'
_REQUEST = '{kind = "time", name = "request", parts = ["hour", "weekday"]}'
_DESCRIPTION = '{kind = "text", name = "description", column = "Description"}'
_PRICE = '{kind = "numeric", name = "unit_price", column = "UnitPrice", method = "quantile"}'
_CLICKS = ", ".join(
    f'{{kind = "categorical", name = "{name.lower()}", column = "click_{name}"}}' for name in _GLOBO_CONTEXT
)

# all items that have an event, and nothing that the user had before
_ENGAGED = ("corpus.items=engaged", "corpus.allow_seen=false")
_LEAVE_ONE_OUT = ("data.split.method=leave_one_out", *_ENGAGED, "corpus.refresh_minutes=0")


def _six_hours(start: str, end: str) -> Overrides:
    return ("data.split.method=time", f"data.split.test_from={start}", f"data.split.test_until={end}")


DATASETS: dict[str, BenchData] = {
    "ml1m": BenchData(
        folder="ml1m",
        recipes={"no-time": "long-histories", "time": "long-histories"},
        make=_ml1m,
        protocol=_LEAVE_ONE_OUT,
        # what published models read, and genres
        inputs={"no-time": (_GENRES, _NO_TIME), "time": (_GENRES, f"features.context=[{_SINCE_LAST}]")},
        notes={"time": "timestamps are partly imputed (62 % exact, each user's last two always)"},
        check=_check_ml1m,
    ),
    "amazon_beauty": BenchData(
        folder="amazon_beauty",
        recipes={"no-time": "short-histories"},
        make=_beauty,
        protocol=_LEAVE_ONE_OUT,
        inputs={"no-time": (_ATTRIBUTES, _NO_TIME)},
    ),
    # Three windows late in the log, so that all have more than a week to learn from, on different days and at different
    # hours (the portal's local time is UTC-3): the evening, when few articles are new; the afternoon, the busiest; and
    # the morning, when the day's articles appear and what was true yesterday is stale.
    "globo": BenchData(
        folder="globo",
        recipes={"time": "news"},
        make=_globo,
        protocol=(*_ENGAGED, "corpus.refresh_minutes=5"),
        inputs={"time": (f"features.context=[{_CLICKS}, {_REQUEST}, {_SINCE_LAST}]",)},
        cuts={
            "evening": _six_hours("2017-10-09T22:00", "2017-10-10T04:00"),
            "afternoon": _six_hours("2017-10-10T16:00", "2017-10-10T22:00"),
            "morning": _six_hours("2017-10-11T10:00", "2017-10-11T16:00"),
        },
        ks=(10, 50, 100, 200),
        # those that stop counting at the cut, as the model stops learning there; then those that go on to each request
        baselines=(
            *("popularity", "popularity_day_at_cut", "popularity_hour_at_cut", "covisitation"),
            *("popularity_last_day", "popularity_last_hour", "popularity_last_30_minutes"),
            *("popularity_last_15_minutes", "popularity_last_10_minutes", "popularity_last_5_minutes"),
            *("live_covisitation", "live_covisitation_and_popularity"),
        ),
        cold_start=True,
        served_after_hours=3.0,
    ),
    "online_retail": BenchData(
        folder="online_retail",
        recipes={"time": "long-histories"},
        make=_online_retail,
        # people buy the same again, so what was bought before is no wrong answer
        protocol=(
            *("data.split.method=time", "data.split.valid_hours=168", "data.split.test_hours=336"),
            *("corpus.items=engaged", "corpus.refresh_minutes=1440", "corpus.allow_seen=true"),
        ),
        inputs={
            "time": (
                'features.user=[{kind = "categorical", name = "country", column = "Country"}]',
                f"features.item=[{_DESCRIPTION}, {_PRICE}]",
                f"features.context=[{_REQUEST}, {_SINCE_LAST}]",
            )
        },
        ks=(10, 50, 100, 200),
        baselines=("popularity", "recent_popularity", "covisitation", "repurchase"),
        cold_start=True,
    ),
}
"""Data sets by name."""
