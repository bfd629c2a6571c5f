"""A report of a small workspace holds what was measured, whatever the items are called."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from typer.testing import CliRunner

from retrieval.cli.main import build_app
from retrieval.data import Dataset
from retrieval.errors import ConfigError, DataError, NotFoundError
from retrieval.evaluation.reports import make_page
from retrieval.storage import ArtifactStore, write_manifest
from retrieval.storage.keys import version_key
from retrieval.towers.artifact import VERSION_KIND
from retrieval.types import ModelVersion
from retrieval.workflows.evaluation.evaluate import EvaluationSetup, evaluate_version
from retrieval.workflows.evaluation.protocol_facts import warnings_about
from retrieval.workflows.evaluation.provenance import Provenance, check_same_data, provenance_of
from retrieval.workflows.evaluation.report import examine_version
from retrieval.workflows.workspace import Workspace
from tests.tiny import TINY_SETTINGS, make_workspace, tiny_version, write_tiny

SETTINGS = (
    TINY_SETTINGS
    + """\
[evaluation]
ks = [1, 5]
block_mb = 1
"""
)
HOSTILE = "<script>alert(1)</script> $x_"
SECTIONS = (
    "In short",
    "What was measured",
    "Metrics",
    "Comparisons",
    "Slices",
    "Exposure and popularity",
    "Calibration",
    "Lists",
    "Neighbours",
    "Ranks",
)
ONE, TWO = ModelVersion("demo", 1), ModelVersion("demo", 2)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Dataset]:
    root = tmp_path_factory.mktemp("workspace")
    write_tiny(root)
    path = root / "data" / "items.parquet"
    items = pq.read_table(path)
    titles = pa.array([f"{HOSTILE} {place}" for place in range(items.num_rows)])
    pq.write_table(items.set_column(items.column_names.index("title"), "title", titles), path)
    workspace = make_workspace(root, SETTINGS)
    dataset = workspace.dataset(show=False)
    for version in (ONE, TWO):
        tiny_version(workspace.store(), version, dataset, seed=version.version)
    return workspace, dataset


def command(workspace: Workspace, *arguments: str) -> Result:
    return CliRunner().invoke(build_app(), ["evaluate", *arguments, "--workspace", str(workspace.root)])


def test_html_holds_every_section_and_no_markup_of_the_data(made: Any, tmp_path: Path) -> None:
    workspace, _ = made
    path = tmp_path / "report.html"
    path.write_text("old")
    shown = command(workspace, "2", "--against", "1", "--report", str(path), "--slice", "user.country", "--json")
    assert shown.exit_code == 0, shown.output
    text = path.read_text()
    for title in SECTIONS:
        assert f">{title}</h2>" in text
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; $x_ 1" in text
    assert text.count("data:image/png;base64,") == 6
    body = json.loads(shown.stdout)
    assert body["report"] == str(path)
    low, high = body["intervals"]["demo@2"]["hr@5"]
    assert low < body["model"]["metrics"]["hr@5"] < high
    baselines = {"popularity", "recent_popularity", "covisitation", "live_covisitation_and_popularity"}
    assert set(body["intervals"]) == {"demo@2", "demo@1", *baselines}
    assert body["against"]["name"] == "demo@1"
    assert body["comparisons"][0]["other"] == "demo@1"
    assert all("intervals" in row for row in body["slices"])
    assert body["calibration"]["temperature_source"].endswith("validation targets.")


def test_markdown_links_pictures_that_are_there(made: Any, tmp_path: Path) -> None:
    workspace, _ = made
    path = tmp_path / "report.md"
    shown = command(workspace, "1", "--report", str(path), "--neighbours-of", "i3", "--split", "valid")
    assert shown.exit_code == 0, shown.output
    assert f"report: {path}" in shown.output.replace("\n", "")
    text = path.read_text()
    for title in SECTIONS:
        assert f"## {title}\n" in text
    links = [part.split(")")[0] for part in text.split("](")[1:]]
    assert len(links) == 6
    assert all((tmp_path / link).read_bytes().startswith(b"\x89PNG") for link in links)
    assert "asked for" in text
    assert "most popular |" not in text
    assert "These are validation targets" in text


def test_figures_are_those_of_the_plain_evaluation(made: Any) -> None:
    workspace, _ = made
    plain = evaluate_version(workspace, TWO, show=False).to_dict()
    found = examine_version(workspace, TWO, against=ONE, other_data=True, whole=False, show=False)
    same = found.report.to_dict()
    assert {**plain, "seconds": 0} == {**same, "seconds": 0}
    other = evaluate_version(workspace, ONE, show=False)
    assert found.scores[1].metrics == other.metrics
    first = found.comparisons[0]
    assert (first.model, first.other) == ("demo@2", "demo@1")
    expected = plain["model"]["metrics"]["mrr"] - other.metrics["mrr"]
    assert first.differences["mrr"].value == pytest.approx(expected)
    hits = {one["name"]: one["metrics"]["hr@1"] for one in plain["baselines"]}
    assert hits[found.comparisons[1].other] == max(hits.values())


def test_a_comparison_needs_no_report(made: Any) -> None:
    workspace, _ = made
    shown = command(workspace, "2", "--against", "demo@1")
    assert shown.exit_code == 0, shown.output
    assert "demo@2 and demo@1" in shown.output or "than demo@1" in shown.output


def test_what_can_not_be_compared_is_refused(made: Any) -> None:
    workspace, _ = made
    with pytest.raises(ConfigError, match="that is the version that is measured"):
        examine_version(workspace, ONE, against=ONE, show=False)
    with pytest.raises(NotFoundError):
        examine_version(workspace, ONE, against=ModelVersion("demo", 9), show=False)
    with pytest.raises(ConfigError, match="--neighbours-of i99, x: the catalog has no such item"):
        examine_version(workspace, ONE, neighbours_of=["i1", "i99", "x"], show=False)


def test_versions_of_other_data_are_refused() -> None:
    facts = {"data_snapshot": "a", "split": "leave_one_out"}
    ours = Provenance(TWO, "", facts, None)
    check_same_data(ours, Provenance(ONE, "", facts, None))
    with pytest.raises(DataError, match=r"demo@1: trained on data snapshot b, demo@2 on a.*--other-data"):
        check_same_data(ours, Provenance(ONE, "", {**facts, "data_snapshot": "b"}, None))
    with pytest.raises(DataError, match="split time"):
        check_same_data(ours, Provenance(ONE, "", {**facts, "split": "time"}, None))
    with pytest.raises(DataError, match="not recorded"):
        check_same_data(ours, Provenance(ONE, "", {}, None))


def test_the_learned_temperature_is_that_of_the_weights_kept(tmp_path: Path) -> None:
    store = ArtifactStore.create(str(tmp_path / "store"), cache=tmp_path / "cache")

    def recorded(version: ModelVersion, loss: str) -> float | None:
        staged = store.staging()
        staged.mkdir(parents=True, exist_ok=True)
        rows = [{"kind": "train", "epoch": epoch, "step": epoch, "temperature": 0.1 / epoch} for epoch in (1, 2, 3)]
        rows.append({"kind": "validation", "epoch": 2, "step": 2})
        (staged / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        facts = {"settings": {"training": {"loss": loss}}, "training": {"best_epoch": 2}}
        write_manifest(staged, VERSION_KIND, facts)
        store.publish(staged, version_key(version))
        return provenance_of(store, version).temperature

    assert recorded(ONE, "sampled_softmax") == 0.05
    assert recorded(TWO, "gbce") is None


def test_what_can_not_be_calibrated_is_said(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace, _ = made

    def fails(*arguments: Any) -> float:
        raise DataError("no target can be reached")

    monkeypatch.setattr("retrieval.workflows.evaluation.report.fit_temperature", fails)
    page = make_page(examine_version(workspace, ONE, show=False))
    (section,) = (each for each in page.sections if each.title == "Calibration")
    assert "none could be fitted" in section.blocks[0].text


def test_what_figures_do_not_say_is_warned_of(made: Any) -> None:
    workspace, dataset = made
    setup = EvaluationSetup.open(workspace, show=False)
    report = evaluate_version(workspace, ONE, show=False)

    def told(seed: int, rate: float = 0.1, snapshot: str = dataset.snapshot) -> str:
        settings = {"training": {"seed": 1, "learning_rate": 0.1}}
        ours = Provenance(TWO, "", {"settings": settings, "data_snapshot": dataset.snapshot}, None)
        other = {"training": {"seed": seed, "learning_rate": rate}}
        theirs = Provenance(ONE, "", {"settings": other, "data_snapshot": snapshot}, None)
        return " ".join(warnings_about(setup, ours, theirs, report))

    assert "demo@2 and demo@1 differ in nothing but the seed" in told(2)
    assert "seed" not in told(2, rate=0.2) + told(1)
    assert "50% of the targets can't be reached" in told(1)
    assert "demo@1 was trained on data snapshot other" in told(1, snapshot="other")
    assert "snapshot" not in told(1)


def test_wrong_flags_are_found_before_anything_is_measured(made: Any, tmp_path: Path) -> None:
    workspace, _ = made
    for arguments, message in (
        (("--report", str(tmp_path / "x.pdf")), "ends in .html or .md"),
        (("--report", str(tmp_path / "none" / "x.md")), "there is no folder"),
        (("--neighbours-of", "i1"), "add --report"),
        (("--other-data",), "add --against"),
    ):
        result = command(workspace, "1", *arguments)
        assert isinstance(result.exception, ConfigError)
        assert message in str(result.exception)


def test_a_plain_evaluation_imports_neither_plots_nor_templates() -> None:
    code = (
        "import sys; import retrieval.cli.evaluate, retrieval.workflows.evaluation.evaluate; "
        "sys.exit(bool({'matplotlib', 'jinja2'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
