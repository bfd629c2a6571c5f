from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrieval.data import DataConfig, open_dataset
from retrieval.data.facts.stats import describe
from retrieval.errors import ConfigError
from retrieval.simulation.synthetic import SynthConfig, write_synthetic

SMALL = SynthConfig(users=300, items=200, days=5, seed=3)


def read(folder: Path) -> dict[str, pa.Table]:
    return {path.name: pq.read_table(path) for path in sorted(folder.glob("*.parquet"))}


def test_the_same_seed_makes_the_same_world_and_more_days_continue_it(tmp_path: Path) -> None:
    short = write_synthetic(SMALL, tmp_path / "a", show=False)
    write_synthetic(SMALL, tmp_path / "b", show=False)
    first = read(tmp_path / "a" / "events")
    assert first == read(tmp_path / "b" / "events")
    assert short.events == sum(table.num_rows for table in first.values())
    before = pq.read_table(tmp_path / "a" / "items.parquet")
    longer = SynthConfig(users=300, items=200, days=7, seed=3)
    added = write_synthetic(longer, tmp_path / "a", first_day=5, show=False)
    both = read(tmp_path / "a" / "events")
    assert len(both) == 7
    assert {name: both[name] for name in first} == first
    assert added.events == sum(both[name].num_rows for name in both.keys() - first.keys())
    write_synthetic(longer, tmp_path / "c", show=False)
    assert read(tmp_path / "c" / "events") == both
    after = pq.read_table(tmp_path / "a" / "items.parquet")
    assert after.slice(0, before.num_rows) == before
    assert after.num_rows == before.num_rows + 2 * longer.new_items_per_day
    other = write_synthetic(SynthConfig(users=300, items=200, days=5, seed=4), tmp_path / "d", show=False)
    assert read(other.events_path) != first


def test_the_world_is_as_described(tmp_path: Path) -> None:
    made = write_synthetic(SynthConfig(users=500, items=400, days=8), tmp_path / "data", show=False)
    config = DataConfig(users="data/users.parquet", items="data/items.parquet", context_columns=("device",))
    dataset = open_dataset(config, tmp_path, show=False)
    found = describe(dataset)
    histories = dataset.histories
    assert found.events == made.events
    assert not found.rejected
    assert found.repeats < 0.02
    assert set(found.actions) == {"click", "save", "view"}
    assert 2.0 < found.events / 8 / 500 < 6.0
    published = dataset.items.column("published").cast(pa.int64()).to_numpy()
    assert (histories.timestamps >= published[histories.items]).all()  # nothing is seen before it is there
    fresh = published > histories.first_us
    assert np.isin(np.flatnonzero(fresh), histories.items).mean() > 0.8
    # popularity is uneven, and the next item of a visit depends on the one before
    per_item = np.sort(np.bincount(histories.items, minlength=len(histories.item_ids)))[::-1]
    assert per_item[: len(per_item) // 10].sum() > 0.25 * per_item.sum()
    categories = np.asarray(dataset.items.column("category").combine_chunks().dictionary_encode().indices)
    same_user = np.diff(histories.users_of(np.arange(histories.events))) == 0
    soon = np.diff(histories.timestamps) < 600e6
    now, then = categories[histories.items[1:]], categories[histories.items[:-1]]
    assert (now == then)[same_user & soon].mean() > 2 * (now == then)[same_user & ~soon].mean() > 0.15
    # the context matters: an item's format goes with the device
    device = histories.context["device"].take(np.arange(histories.events)).to_numpy(zero_copy_only=False)
    formats = dataset.items.column("format").to_numpy()[histories.items]
    assert (formats[device == "tv"] == "film").mean() > 0.5 > (formats[device == "phone"] == "film").mean()


def test_the_size_can_be_limited_and_ids_can_be_integers(tmp_path: Path) -> None:
    made = write_synthetic(
        SynthConfig(users=300, items=100, days=9, max_events=1234, int_ids=True), tmp_path, show=False
    )
    table = pa.concat_tables(read(tmp_path / "events").values())
    assert made.events == table.num_rows == 1234
    assert table.schema.field("user_id").type == pa.int64()


def test_without_newcomers(tmp_path: Path) -> None:
    config = SynthConfig(users=50, items=30, days=3, new_users_per_day=0, new_items_per_day=0)
    made = write_synthetic(config, tmp_path, show=False)
    assert (made.users, made.items, made.days) == (50, 30, 3)


@pytest.mark.parametrize("wrong", [{"users": 0}, {"days": -1}, {"drift": 2.0}, {"start": "soon"}, {"seed": -1}])
def test_sizes_that_can_not_be(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        SynthConfig(**wrong)
