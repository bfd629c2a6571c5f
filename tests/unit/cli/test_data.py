from __future__ import annotations

import json
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from retrieval.cli.main import build_app
from retrieval.errors import ConfigError, DataError
from retrieval.workflows.workspace import Workspace
from retrieval.workflows.workspace.template import write_template


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    write_template(tmp_path / "shop", "shop")
    return tmp_path / "shop"


def call(workspace: Path, *arguments: str) -> str:
    result = CliRunner().invoke(build_app(), ["data", *arguments, "--workspace", str(workspace)])
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_synth_then_everything_else(workspace: Path) -> None:
    sizes = ("--users", "60", "--items", "50", "--days", "3")
    assert "[data]" in call(workspace, "synth", *sizes)
    made = json.loads(call(workspace, "synth", *sizes, "--write-settings", "--json"))
    settings = Workspace.open(workspace).settings
    assert settings.data.context_columns == ("device",)
    assert settings.data.split.method == "time"
    assert [feature.name for feature in settings.features.user] == ["age", "country", "follows"]
    report = json.loads(call(workspace, "validate", "--json"))
    assert (report["rows"], report["good"], report["rejected"], report["rejects"]) == (
        made["events"],
        made["events"],
        {},
        None,
    )
    stats = json.loads(call(workspace, "stats", "--json"))
    assert stats["events"] == made["events"]
    built = json.loads(call(workspace, "histories", "--json"))
    assert built["snapshot"] == stats["snapshot"]
    assert Path(built["path"]).is_dir()
    for command in ("validate", "stats", "histories"):
        assert call(workspace, command)


def test_import_shows_what_was_refused(workspace: Path, tmp_path: Path) -> None:
    table = pa.table({"who": ["a", None, "b"], "sku": ["x", "y", "z"], "at": [1, 2, -3], "n": [1, 1, -1]})
    pq.write_table(table, tmp_path / "log.parquet")
    columns = ("--user", "who", "--item", "sku", "--timestamp", "at")
    arguments = ("import", "parquet", str(tmp_path / "log.parquet"), *columns)
    shown = call(workspace, *arguments, "--action-rule", "back: n < 0", "--default-action", "buy", "--write-settings")
    assert "user is empty" in shown
    assert "timestamp is negative" in shown
    done = json.loads(call(workspace, *arguments, "--replace", "--json"))
    assert (done["rows"], done["written"], sum(done["rejected"].values())) == (3, 1, 2)
    assert Workspace.open(workspace).settings.data.positive_actions == ("buy",)
    with pytest.raises(DataError, match=r"no column 'when' \(events\); its columns are: who, sku, at, n"):
        call(workspace, *arguments[:-1], "when", "--replace")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("import", "excel", "x"), "there are: movielens, csv, parquet"),
        (("import", "csv", "x", "--timestamp-unit", "h"), "--timestamp-unit 'h'"),
        (("import", "csv", "x", "--delimiter", "ab"), "--delimiter 'ab'"),
        (("import", "csv", "x", "--from", "soon"), "--from 'soon'"),
        (("import", "csv", "x", "--action-rule", "soon"), "--action-rule 'soon'"),
        (("synth", "--users", "0"), "users: 0"),
    ],
)
def test_wrong_flags(workspace: Path, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        call(workspace, *arguments)


def test_refused_rows_of_an_import_outlive_a_validation(workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user_id,item_id,timestamp\na,x,1700000000\n,y,1700000001\n")
    done = json.loads(call(workspace, "import", "csv", str(tmp_path / "log.csv"), "--write-settings", "--json"))
    assert done["rejected"] == {"user is empty": 1}
    report = json.loads(call(workspace, "validate", "--json"))
    assert (report["good"], report["rejects"]) == (1, None)
    assert Path(done["paths"]["rejects"]).is_file()


def test_import_heeds_settings_that_are_set_for_it(workspace: Path, tmp_path: Path) -> None:
    at = int(time.time())
    (tmp_path / "log.csv").write_text(f"user_id,item_id,timestamp\na,x,{at}\nb,y,{at + 7200}\n")
    arguments = ("import", "csv", str(tmp_path / "log.csv"), "--json")
    assert json.loads(call(workspace, *arguments))["rejected"] == {}
    again = json.loads(call(workspace, *arguments, "--replace", "--set", "data.future_hours=1.0"))
    assert again["rejected"] == {"timestamp is in the future": 1}


def test_stats_and_training_say_why_targets_cannot_be_reached(workspace: Path, tmp_path: Path) -> None:
    rows = "".join(f"u{user},{item},{170000000 + at}\n" for user in range(3) for at, item in enumerate("xyzx"))
    (tmp_path / "log.csv").write_text("user_id,item_id,timestamp\n" + rows)
    call(workspace, "import", "csv", str(tmp_path / "log.csv"), "--timestamp-unit", "s")
    shown = " ".join(call(workspace, "stats").split())
    assert "Of 3 test targets, 3 targets can't be reached: 3 because the user had engaged with the item before" in shown
    assert "set corpus.allow_seen = true" in shown
    assert json.loads(call(workspace, "stats", "--json"))["targets"]["seen_before"] == 3
    assert "can't be reached" not in call(workspace, "stats", "--set", "corpus.allow_seen=true")
