"""What the documentation names is there: commands and their options, modules that are run, files, make targets."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from generate.command import leaves
from retrieval.cli.main import build_app
from tests.docs.pages import PAGES, ROOT, blocks, inline_code

_COMMANDS = leaves(typer.main.get_command(build_app()))
_FILE = re.compile(r"(?:retrieval|tests|protos|deploy|docs|notebooks)/[\w./-]*\w/?")
_ROOMS = {path.parent.name for path in (ROOT / "retrieval").glob("*/__init__.py")} - {"v1"}
_IN_ROOM = re.compile(rf"(?:{'|'.join(sorted(_ROOMS))})/[\w./-]*\w/?")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_their_options_exist(page: Path) -> None:
    for line in _lines(page):
        if line.startswith("retrieval "):
            words = shlex.split(line, comments=True)
            name, command = _command(words)
            known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
            used = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
            assert not [option for option in used if option not in known], f"{name}: {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_modules_that_are_run_exist(page: Path) -> None:
    for line in _lines(page):
        for module in re.findall(r"python -m (tests[\w.]*)", line):
            assert importlib.util.find_spec(module), line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_are_named_exist(page: Path) -> None:
    for text in inline_code(page):
        if _FILE.fullmatch(text):
            assert (ROOT / text).exists(), text
        elif _IN_ROOM.fullmatch(text) and not text.startswith("data/rejects"):  # that one lies in a workspace
            assert any(ROOT.glob(f"retrieval/{text.rstrip('/')}*")) or (ROOT / text).exists(), text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))
    for line in _lines(page):
        found = re.match(r"make ([a-z-]+)", line)
        assert found is None or found[1] in targets, line


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_every_room_is_in_the_table_of_the_code() -> None:
    table = re.findall(
        r"(?m)^\| `(\w+)/` \|", (ROOT / "docs" / "explanation" / "the-code.md").read_text(encoding="utf-8")
    )
    assert sorted(table) == sorted(_ROOMS)


def _lines(page: Path) -> Iterator[str]:
    """Shell lines of the page, continued ones joined, and what stands in backquotes."""
    for block in blocks(page, "sh"):
        yield from block.text.replace("\\\n", " ").splitlines()
    yield from inline_code(page)


def _command(words: list[str]) -> tuple[str, Any]:
    for length in (3, 2):
        name = " ".join(words[:length])
        if name in _COMMANDS:
            return name, _COMMANDS[name]
    found = [name for name in _COMMANDS if name.startswith(f"{' '.join(words[:2])} ")]
    assert found, f"no such command: {' '.join(words)}"
    return found[0], _COMMANDS[found[0]]
