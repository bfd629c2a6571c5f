from __future__ import annotations

import subprocess
import sys

import yaml

from tests.docs.pages import ROOT

CONFIG = ROOT / ".pre-commit-config.yaml"


def test_hooks_are_valid_and_fetch_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pre_commit", "validate-config", str(CONFIG)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    repositories = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["repos"]
    assert {each["repo"] for each in repositories} == {"local"}
    assert {hook["language"] for each in repositories for hook in each["hooks"]} == {"system"}
