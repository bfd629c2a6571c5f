"""Strategies of one's own, from a package outside the project: trained, measured, indexed, and served without it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from retrieval.storage import read_manifest
from retrieval.v1 import candidates_pb2 as pb
from retrieval.workflows.fleet.local_fleet import retrieval_command
from retrieval.workflows.workspace import Workspace
from tests.tiny import TINY_SETTINGS, write_tiny
from tests.whole_path import PATIENT, asked

PACKAGE = Path(__file__).resolve().parents[1] / "own_strategies"
SETTINGS = (
    TINY_SETTINGS
    + f"""\
[features.history]
length = 12
[[features.user]]
kind = "categorical"
name = "country"
[towers]
dim = 16
encoder = "tastes.encoder:Fading"
encoder_options = {{ keep = 0.8 }}
[training]
epochs = 1
validate_every = 1
min_batches = 5
threads = 1
loss = "tastes.loss:hinge"
loss_options = {{ margin = 2.0 }}
[[training.negatives.more]]
source = "tastes.negatives:Neighbours"
number = 16
options = {{ reach = 2 }}
[evaluation]
baselines = ["popularity", "tastes.baseline:catalog_order"]
[index]
threads = 1
recall_queries = 20
[serving]
{PATIENT["serving"]}
"""
)


def run(root: Path, *arguments: str, code_in: Path | None = None, code: int = 0) -> dict[str, Any]:
    """Run a command, with one's own code importable or without; it must end with `code`."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if code_in is not None:
        environment["PYTHONPATH"] = os.pathsep.join([str(code_in), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        retrieval_command(*arguments, "--json"), cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stderr[-4000:]}"
    return json.loads(done.stdout)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def code_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(PACKAGE, tmp_path_factory.mktemp("code") / "site"))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, code_in: Path) -> Path:
    """A workspace whose version was trained with one's own code, and everything after that done without."""
    root = tmp_path_factory.mktemp("own")
    write_tiny(root)
    run(root.parent, "init", str(root))
    (root / "retrieval.toml").write_text(SETTINGS)
    trained = run(root, "train", code_in=code_in)
    assert (trained["version"], trained["epochs"]) == ("demo@1", 1)
    built = run(root, "index", "build")
    assert run(root, "index", "verify", built["build"])["golden_cosine"] > 0.999
    run(root, "users", "load")
    run(root, "deploy", built["build"], "--without-hosts")
    return root


def test_a_version_says_which_code_it_was_trained_with(root: Path) -> None:
    facts = read_manifest(Workspace.open(root).store().locate("models/demo/1")).facts
    assert facts["settings"]["towers"]["encoder"] == "tastes.encoder:Fading"
    assert facts["settings"]["towers"]["encoder_options"] == {"keep": 0.8}
    assert {key: one["path"] for key, one in facts["own_code"].items()} == {
        "towers.encoder": "tastes.encoder:Fading",
        "training.loss": "tastes.loss:hinge",
        "training.negatives.more[0].source": "tastes.negatives:Neighbours",
    }
    assert all(len(one["sha256"]) == 64 for one in facts["own_code"].values())


def test_it_is_served_where_that_code_is_not_installed(root: Path) -> None:
    with asked(root) as stub:
        answer = stub.GetCandidates(pb.GetCandidatesRequest(user_id="u3", k=5), timeout=60)
    assert len(answer.item_ids) == 5
    assert [one.version for one in answer.versions] == [1]


def test_the_same_code_finds_the_version_again_and_other_code_makes_another(root: Path, code_in: Path) -> None:
    assert run(root, "train", code_in=code_in)["found"]
    changed = code_in / "tastes" / "__init__.py"
    before = changed.read_text()
    try:
        changed.write_text(before + "# a remark\n")
        trained = run(root, "train", code_in=code_in)
        assert (trained["found"], trained["version"]) == (False, "demo@2")
    finally:
        changed.write_text(before)


def test_it_is_measured_beside_a_baseline_of_ones_own(root: Path, code_in: Path) -> None:
    report = run(root, "evaluate", code_in=code_in)
    assert "tastes.baseline:catalog_order" in json.dumps(report)


def test_training_without_that_code_says_what_is_missing(root: Path) -> None:
    said = run(root, "train", code=2)["message"]
    assert 'towers.encoder = "tastes.encoder:Fading": can\'t import tastes.encoder' in said
    assert "PYTHONPATH" in said
