from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retrieval.data import DataConfig, build_histories, open_dataset, open_histories
from retrieval.data.histories import sorting
from retrieval.errors import ArtifactError, DataError

DAY = 86_400
LEAVES_A_FOLDER = """
import os, sys
from pathlib import Path
from retrieval.storage.atomic import staged_folder
with staged_folder(Path(sys.argv[1]) / "out"):
    os._exit(1)
"""


def write(root: Path, name: str, **columns: object) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def as_rows(histories: object) -> list[tuple[str, str, int]]:
    users = histories.user_ids.to_pylist()
    items = histories.item_ids.to_pylist()
    return [
        (users[user], items[histories.items[row]], int(histories.timestamps[row]))
        for user in range(len(users))
        for row in range(histories.offsets[user], histories.offsets[user + 1])
    ]


@pytest.mark.parametrize("text", [False, True])
@given(
    events=st.lists(st.tuples(st.integers(0, 12), st.integers(-3, 40), st.integers(0, 5)), min_size=1, max_size=60),
    cut=st.integers(0, 60),
    bucket=st.integers(1, 20),
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_histories_equal_a_naive_sort_per_user(
    tmp_path_factory: pytest.TempPathFactory,
    text: bool,
    events: list[tuple[int, int, int]],
    cut: int,
    bucket: int,
) -> None:
    root = tmp_path_factory.mktemp("naive")
    kind = pa.string() if text else pa.int32()
    for number, part in enumerate((events[:cut], events[cut:])):
        users = pa.array([str(u) if text else u for u, _, _ in part], kind)
        items = pa.array([str(i) if text else i for _, i, _ in part], kind)
        write(root, f"data/events/{number}.parquet", user_id=users, item_id=items, timestamp=[t for _, _, t in part])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorting, "_bucket_rows", lambda *_: bucket)  # several buckets, even for so few events
        histories = build_histories(DataConfig(timestamp_unit="s"), root, root / "h", show=False)
    order = (lambda e: (str(e[0]), e[2])) if text else (lambda e: (e[0], e[2]))
    expected = [(str(u), str(i), t * 1_000_000) for u, i, t in sorted(events, key=order)]  # sorted() is stable
    assert as_rows(histories) == expected
    known = sorted({u for u, _, _ in events}, key=(str if text else int))
    assert histories.user_ids.to_pylist() == [str(u) for u in known]


def test_tables_hold_users_and_items_without_events(tmp_path: Path) -> None:
    write(tmp_path, "events.parquet", user_id=[7, 2], item_id=["b", "a"], timestamp=[10, 20])
    write(tmp_path, "users.parquet", user_id=[2, 3, 2], plan=["old", "x", "new"])
    write(tmp_path, "items.parquet", item_id=["a", "z", None], price=[1.0, 2.0, 3.0])
    config = DataConfig(events="events.parquet", users="users.parquet", items="items.parquet")
    dataset = open_dataset(config, tmp_path, show=False)
    assert dataset.histories.user_ids.to_pylist() == ["2", "3", "7"]
    assert dataset.histories.item_ids.to_pylist() == ["a", "b", "z"]
    assert dataset.users.to_pydict() == {"user_id": ["2", "3", "7"], "plan": ["new", "x", None]}
    assert dataset.items.to_pydict() == {"item_id": ["a", "b", "z"], "price": [1.0, None, 2.0]}
    assert dataset.histories.rejected == {
        "users: a later row has the same id": 1,
        "items: id is empty": 1,
    }
    assert dataset.histories.user_rows(["3", "nobody"]).tolist() == [1, -1]
    assert dataset.histories.users_of(np.array([0, 1])).tolist() == [0, 2]


def test_integer_and_text_ids_of_one_side_meet_as_text(tmp_path: Path) -> None:
    write(tmp_path, "events.parquet", user_id=[10, 9], item_id=[1, 1], timestamp=[1, 2])
    write(tmp_path, "users.parquet", user_id=["9", "x"], plan=["a", "b"])
    dataset = open_dataset(DataConfig(events="events.parquet", users="users.parquet"), tmp_path, show=False)
    assert dataset.histories.user_ids.to_pylist() == ["10", "9", "x"]
    assert dataset.users.column("plan").to_pylist() == [None, "a", "b"]


def test_context_and_actions(tmp_path: Path) -> None:
    write(
        tmp_path,
        "events.parquet",
        user_id=[1, 1, 1],
        item_id=[1, 2, 3],
        timestamp=[3, 2, 1],
        action=["save", None, "click"],
        device=pa.array(["tv", None, "phone"]).dictionary_encode(),
        count=pa.array([5, None, 7], pa.int16()),
        share=pa.array([0.5, None, 0.25], pa.float32()),
        flag=[True, False, None],
    )
    config = DataConfig(events="events.parquet", context_columns=("device", "count", "share", "flag"))
    histories = build_histories(config, tmp_path, tmp_path / "h", show=False)
    rows = np.arange(3)
    assert [histories.action_names[code] for code in histories.actions] == ["click", "unknown", "save"]
    assert histories.action_mask(["click", "save"]).tolist() == [True, True, False]
    assert histories.context["device"].take(rows).to_pylist() == ["phone", None, "tv"]
    assert histories.context["count"].take(rows).to_pylist() == [7, None, 5]
    assert histories.context["share"].take(rows).to_pylist() == [0.25, None, 0.5]
    assert histories.context["flag"].take(rows).to_pylist() == [None, "false", "true"]


def test_partition_keys_can_be_columns(tmp_path: Path) -> None:
    write(tmp_path, "data/events/device=tv/a.parquet", user_id=[1], item_id=[1], timestamp=[1])
    write(tmp_path, "data/events/device=web/a.parquet", user_id=[1], item_id=[2], timestamp=[2])
    histories = build_histories(DataConfig(context_columns=("device",)), tmp_path, tmp_path / "h", show=False)
    assert histories.context["device"].take(np.arange(2)).to_pylist() == ["tv", "web"]


def test_the_snapshot_follows_contents_and_settings(tmp_path: Path) -> None:
    write(tmp_path, "events.parquet", user_id=[1, 2], item_id=[1, 2], timestamp=[1, 2])
    config = DataConfig(events="events.parquet")
    first = open_dataset(config, tmp_path, show=False)
    built = first.histories.path.stat().st_ino
    os.utime(tmp_path / "events.parquet", (1, 1))
    again = open_dataset(config.model_copy(update={"memory_limit_mb": 256}), tmp_path, show=False)
    assert (again.snapshot, again.histories.path.stat().st_ino) == (first.snapshot, built)
    other = open_dataset(config.model_copy(update={"timestamp_unit": "ms"}), tmp_path, show=False)
    assert other.snapshot != first.snapshot
    write(tmp_path, "events.parquet", user_id=[1, 2], item_id=[1, 3], timestamp=[1, 2])
    assert open_dataset(config, tmp_path, show=False).snapshot != first.snapshot


def test_events_that_are_added_meanwhile_are_of_the_next_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "data/events/a.parquet", user_id=[1], item_id=[1], timestamp=[1])
    added = iter("bcdefgh")

    def adding(*given: object, **options: object) -> object:
        write(tmp_path, f"data/events/{next(added)}.parquet", user_id=[2], item_id=[2], timestamp=[2])
        return build_histories(*given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("retrieval.data.dataset.build_histories", adding)
    first = open_dataset(DataConfig(), tmp_path, show=False)
    assert as_rows(first.histories) == [("1", "1", 1_000_000)]
    monkeypatch.undo()
    then = open_dataset(DataConfig(), tmp_path, show=False)
    assert then.snapshot != first.snapshot
    assert then.histories.events == 2


def test_an_interrupted_build_leaves_nothing_that_looks_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "events.parquet", user_id=[1], item_id=[1], timestamp=[1])

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("retrieval.data.histories.build.write_manifest", fail)
        with pytest.raises(KeyboardInterrupt):
            open_dataset(DataConfig(events="events.parquet"), tmp_path, show=False)
    folder = tmp_path / "data" / ".histories"
    assert list(folder.iterdir()) == []
    with subprocess.Popen([sys.executable, "-c", LEAVES_A_FOLDER, folder]) as killed:
        killed.wait()
    assert len(list(folder.iterdir())) == 1
    assert open_dataset(DataConfig(events="events.parquet"), tmp_path, show=False).histories.events == 1
    assert len(list(folder.iterdir())) == 1


def test_damaged_histories_are_built_again(tmp_path: Path) -> None:
    write(tmp_path, "events.parquet", user_id=[1], item_id=[1], timestamp=[1])
    config = DataConfig(events="events.parquet")
    path = open_dataset(config, tmp_path, show=False).histories.path
    items = path / "items.npy"
    items.write_bytes(items.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match=r"items\.npy"):
        open_histories(path)
    assert open_dataset(config, tmp_path, show=False).histories.events == 1
    flipped = bytearray(items.read_bytes())
    flipped[-1] ^= 1
    items.write_bytes(flipped)
    with pytest.raises(ArtifactError, match=r"items\.npy"):
        open_histories(path, full=True)


def test_events_that_change_while_they_are_read_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "events.parquet", user_id=[1, 2], item_id=[1, 1], timestamp=[1, 2])
    original = sorting.sort_events

    def change_first(*arguments: object, **options: object) -> object:
        write(tmp_path, "events.parquet", user_id=[1, 1], item_id=[1, 1], timestamp=[1, 2])
        return original(*arguments, **options)

    monkeypatch.setattr("retrieval.data.histories.build.sort_events", change_first)
    with pytest.raises(DataError, match="changed while"):
        build_histories(DataConfig(events="events.parquet"), tmp_path, tmp_path / "h", show=False)


def test_one_event_is_enough(tmp_path: Path) -> None:
    write(tmp_path, "events.parquet", user_id=["u"], item_id=["i"], timestamp=[1.5e9])
    histories = build_histories(DataConfig(events="events.parquet"), tmp_path, tmp_path / "h", show=False)
    assert as_rows(histories) == [("u", "i", 1_500_000_000_000_000)]
    assert histories.timestamp_unit == "s"


def test_many_actions_are_not_actions(tmp_path: Path) -> None:
    write(
        tmp_path,
        "events.parquet",
        user_id=[1] * 1500,
        item_id=[1] * 1500,
        timestamp=[1] * 1500,
        session=[str(n) for n in range(1500)],
    )
    config = DataConfig(events="events.parquet", action_column="session")
    with pytest.raises(DataError, match=r"'session' has 1,500 different values"):
        build_histories(config, tmp_path, tmp_path / "h", show=False)


def test_bucket_bounds_keep_users_whole() -> None:
    offsets = np.array([0, 2, 2, 50, 51, 52, 60])
    assert sorting._bucket_bounds(offsets, 10) == [0, 2, 3, 6]
    assert sorting._bucket_bounds(np.array([0, 5]), 1) == [0, 1]
