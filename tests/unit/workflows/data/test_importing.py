"""Events come into a workspace from files and from memory, and are described there."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrieval.data.importers import ColumnMapping
from retrieval.errors import ConfigError
from retrieval.simulation.synthetic import SynthConfig
from retrieval.workflows.data.checking import build_workspace_histories, check_data, describe_data
from retrieval.workflows.data.importing import import_events
from retrieval.workflows.data.synthesis import synthesise_events
from retrieval.workflows.workspace import create_workspace, open_workspace

AT = 1_700_000_000
EVENTS = pa.table({"user_id": ["a", "b", ""], "item_id": ["x", "y", "z"], "timestamp": [AT, AT + 1, AT + 2]})
USERS = pa.table({"user_id": ["a", "b"], "country": ["DE", "FR"]})


def test_tables_in_memory_are_a_workspace_ready_to_train(tmp_path: Path) -> None:
    workspace = create_workspace(tmp_path)
    done = import_events(workspace, EVENTS, users=USERS, write_settings=True, show=False)
    assert (done.rows, done.written, done.rejected) == (3, 2, {"user is empty": 1})
    workspace = workspace.reopen()
    assert workspace.settings.data.users == "data/users.parquet"
    assert [feature.name for feature in workspace.settings.features.user] == ["country"]
    assert describe_data(workspace, show=False).stats.events == 2
    report, rejects = check_data(workspace, show=False)
    assert (report.good, rejects) == (2, None)
    built = build_workspace_histories(workspace, show=False)
    assert (built.histories.users, built.folder.is_dir()) == (2, True)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_the_suffix_of_a_file_says_how_it_is_read(tmp_path: Path, suffix: str) -> None:
    source = tmp_path / f"log.{suffix}"
    if suffix == "csv":
        source.write_text("who,item_id,timestamp\na,x,1700000000\n")
    else:
        pq.write_table(EVENTS.rename_columns(["who", "item_id", "timestamp"]).slice(0, 1), source)
    workspace = create_workspace(tmp_path / "shop")
    done = import_events(workspace, source, mapping=ColumnMapping(user="who"), users=USERS, show=False)
    assert (done.written, done.users) == (1, 1)


def test_a_workspace_says_what_is_refused(tmp_path: Path) -> None:
    create_workspace(tmp_path)
    strict = open_workspace(tmp_path, ["data.future_hours=0.0"])
    late = EVENTS.set_column(2, "timestamp", pa.array([AT, 9_000_000_000, AT]))
    assert import_events(strict, late, show=False).rejected == {"user is empty": 1, "timestamp is in the future": 1}


def test_wrong_kinds_are_named(tmp_path: Path) -> None:
    workspace = create_workspace(tmp_path)
    with pytest.raises(ConfigError, match="there are: movielens, csv, parquet"):
        import_events(workspace, tmp_path / "x", kind="excel", show=False)
    with pytest.raises(ConfigError, match="given as Table"):
        import_events(workspace, EVENTS, kind="csv", show=False)


def test_a_simulated_world_is_a_workspace_ready_to_train(tmp_path: Path) -> None:
    workspace = create_workspace(tmp_path)
    made = synthesise_events(workspace, SynthConfig(users=30, items=20, days=2), write_settings=True, show=False)
    assert describe_data(workspace.reopen(), show=False).stats.events == made.events


def test_targets_that_no_model_can_reach_are_counted_and_explained(tmp_path: Path) -> None:
    again = {"user_id": list("aaaabbb"), "item_id": list("xyzxxyz"), "timestamp": [AT + n for n in range(7)]}
    workspace = create_workspace(tmp_path)
    import_events(workspace, pa.table(again), show=False)
    targets = describe_data(workspace, show=False).targets
    assert targets is not None
    assert (targets.split, targets.test, targets.seen_before) == ("leave_one_out", 2, 1)
    assert "corpus.allow_seen = true" in targets.note
    kept = describe_data(open_workspace(tmp_path, ["corpus.allow_seen=true"]), show=False).targets
    assert kept is not None
    assert (kept.seen_before, kept.note) == (1, "")
    windows = ["data.split.method=time", "data.split.valid_hours=9999.0"]
    assert describe_data(open_workspace(tmp_path, windows), show=False).targets is None
