"""Writing a page to its file: a reader finds the old report or the new one whole, never a part of one."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from retrieval.errors import ConfigError
from retrieval.evaluation.reports.html import html_text
from retrieval.evaluation.reports.markdown import markdown_text
from retrieval.evaluation.reports.page import Figure, Page
from retrieval.storage.atomic import write_bytes, write_text

_HTML, _MARKDOWN = (".html", ".htm"), (".md", ".markdown")
_OWN_PICTURE = re.compile(r"[a-z-]+-[0-9a-f]{12}\.png")


def check_report_path(path: Path) -> None:
    """Raises ConfigError where no report can be written to `path`: says why, and what to name instead."""
    if path.suffix.lower() not in (*_HTML, *_MARKDOWN):
        raise ConfigError(f"--report {path}: expected a name that ends in .html or .md, found {path.suffix!r}")
    if not path.parent.is_dir():
        raise ConfigError(f"--report {path}: there is no folder {path.parent}; make it first")
    if path.is_dir():
        raise ConfigError(f"--report {path}: this is a folder; name a file in it")
    folder = pictures_folder(path)
    if path.suffix.lower() in _MARKDOWN and folder.exists() and not folder.is_dir():
        raise ConfigError(f"--report {path}: its pictures go into the folder {folder}, which is a file; move it away")
    if not os.access(path.parent, os.W_OK):
        raise ConfigError(f"--report {path}: the folder {path.parent} can't be written to")


def pictures_folder(path: Path) -> Path:
    """Where the pictures of a Markdown report lie: report_files beside report.md."""
    return path.with_name(f"{path.stem}_files")


def write_page(page: Page, path: Path) -> None:
    """Write HTML with everything in it, or Markdown with its pictures beside it, in place of what was there.

    Raises ConfigError where `path` won't do.
    """
    check_report_path(path)
    if path.suffix.lower() in _HTML:
        write_text(path, html_text(page))
        return
    # pictures are named by what they show, so that the old text keeps its own until the new one is there
    folder = pictures_folder(path)
    folder.mkdir(exist_ok=True)
    figures = [block for section in page.sections for block in section.blocks if isinstance(block, Figure)]
    names = {figure.name: f"{figure.name}-{hashlib.sha256(figure.png).hexdigest()[:12]}.png" for figure in figures}
    for figure in figures:
        write_bytes(folder / names[figure.name], figure.png)
    links = {name: f"{folder.name}/{file}" for name, file in names.items()}
    write_text(path, markdown_text(page, links))
    for old in folder.iterdir():
        if old.name not in names.values() and _OWN_PICTURE.fullmatch(old.name):
            old.unlink()
