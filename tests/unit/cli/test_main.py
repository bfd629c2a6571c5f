"""The command as a whole: its version, its help, what it loads."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import retrieval
from retrieval.cli.commands import COMMANDS, load_command
from retrieval.workflows.workspace import create_workspace

HEAVY = {
    "alembic",
    "grpc",
    "google.protobuf",
    "hnswlib",
    "jinja2",
    "lmdb",
    "matplotlib",
    "numpy",
    "onnxruntime",
    "optuna",
    "pandas",
    "psutil",
    "pyarrow",
    "scipy",
    "torch",
}
"""Libraries that no command which only reads settings and registry needs."""
LIST_MODULES = """
import json, sys
from retrieval.cli.main import main
sys.argv = ["retrieval", *sys.argv[1:]]
try:
    main()
finally:
    sys.stderr.write(json.dumps(sorted(sys.modules)))
"""


def loaded_by(*arguments: str | Path) -> set[str]:
    """The modules that a command has loaded when it ends."""
    ran = subprocess.run(
        [sys.executable, "-c", LIST_MODULES, *map(str, arguments)], capture_output=True, text=True, check=True
    )
    return set(json.loads(ran.stderr))


def test_it_says_its_version(run: Callable[..., Any]) -> None:
    ran = run("--version")
    assert (ran.code, ran.out, ran.err) == (0, f"retrieval {retrieval.__version__}\n", "")


def test_a_command_that_is_missing_is_asked_for(run: Callable[..., Any]) -> None:
    assert "--version" in run().out


def test_the_help_names_every_command_and_loads_none() -> None:
    loaded = loaded_by("--help")
    assert sorted((HEAVY | {"sqlalchemy", "pydantic"}) & loaded) == []
    assert {name for name in loaded if name.startswith("retrieval")} == {
        "retrieval",
        "retrieval.cli",
        "retrieval.cli.commands",
        "retrieval.cli.main",
        "retrieval.errors",
    }
    # 329 with typer 0.29 and rich 15: the command line's own libraries and nothing beside them
    assert len(loaded) <= 380


def test_the_version_loads_neither_commands_nor_what_draws_help() -> None:
    loaded = loaded_by("--version")
    assert "rich" not in loaded
    assert len(loaded) <= 200


@pytest.mark.parametrize("command", [("status",), ("list", "builds"), ("list", "deployments")])
def test_questions_to_the_registry_load_nothing_that_learns_or_serves(tmp_path: Path, command: tuple[str, ...]) -> None:
    create_workspace(tmp_path)
    loaded = loaded_by(*command, "--workspace", tmp_path)
    others = {"sqlalchemy.orm", "sqlalchemy.dialects.postgresql", "tomlkit"}
    assert sorted((HEAVY | others) & loaded) == []


@pytest.mark.parametrize("name", COMMANDS)
def test_what_the_help_says_of_a_command_is_what_the_command_says(name: str) -> None:
    command = load_command(name)
    assert COMMANDS[name].summary == command.get_short_help_str(limit=1_000)


def test_every_command_of_a_module_is_listed() -> None:
    import importlib

    import typer

    for module in {entry.module for entry in COMMANDS.values()}:
        app = typer.Typer()
        app.callback()(lambda: None)
        importlib.import_module(f"retrieval.cli.{module}").register(app)
        names = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
        assert names == {name for name, entry in COMMANDS.items() if entry.module == module}


def test_a_command_that_is_none_is_refused_with_the_nearest(run: Callable[..., Any]) -> None:
    ran = run("stats")
    assert ran.code == 2
    assert "status" in ran.err


def test_rolling_back_loads_no_search_core_and_no_grpc_before_there_is_something_to_do(tmp_path: Path) -> None:
    create_workspace(tmp_path)
    code = LIST_MODULES.replace("finally:", "except SystemExit:\n    pass\nfinally:")
    arguments = ("rollback", "--yes", "--workspace", str(tmp_path))
    ran = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    message, _, modules = ran.stderr.partition("[")
    assert "no build was active" in message
    loaded = set(json.loads(f"[{modules}"))
    assert sorted({"grpc", "torch", "retrieval.index._native", "onnxruntime", "alembic", "optuna"} & loaded) == []
