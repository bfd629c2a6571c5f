"""Every example of the documentation does what it says: shell and Python blocks run, TOML blocks are valid settings."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from retrieval.config import FILE_NAME, load_settings
from retrieval.workflows.workspace import Settings
from tests.docs.conftest import GetStarted
from tests.docs.pages import HOW_TO, PAGES, ROOT, Block, blocks

_PYTHON = [page for page in HOW_TO if any(not block.skip and not block.title for block in blocks(page, "python"))]
_TOML = [block for page in PAGES for block in blocks(page, "toml") if not block.skip]
_ADDRESS = "127.0.0.1:50051"


def test_the_get_started_page_runs_as_it_stands(get_started: GetStarted) -> None:
    printed = get_started.printed
    assert "shop@1 is ready" in printed
    assert "shop-b1 of shop@1 is active" in printed
    assert (get_started.folder / "shop" / FILE_NAME).is_file()


@pytest.mark.parametrize("page", _PYTHON, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_blocks_of_a_page_run_one_after_another(page: Path, request: pytest.FixtureRequest, shop: Path) -> None:
    namespace: dict[str, Any] = {"__name__": "__example__"}
    for block in blocks(page, "python"):
        if block.skip or block.title:  # files are tried where their page is
            continue
        text = block.text
        if _ADDRESS in text:
            text = text.replace(_ADDRESS, request.getfixturevalue("address"))
        # lines are numbered as in the page, so that an error names its place
        exec(compile("\n" * block.line + text, str(page), "exec"), namespace)


@pytest.mark.parametrize("block", _TOML, ids=str)
def test_toml_blocks_are_valid_settings(block: Block, tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    path.write_text(block.text, encoding="utf-8")
    assert tomllib.loads(block.text)
    load_settings(path, Settings, environment={})


def test_what_is_not_run_has_its_reason() -> None:
    skipped = [block for page in PAGES for block in blocks(page) if block.skip]
    assert all(len(block.skip.split()) >= 3 for block in skipped), skipped
