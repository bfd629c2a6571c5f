"""Pages as HTML and Markdown: all text is escaped, files are replaced whole."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest

from retrieval.errors import ConfigError
from retrieval.evaluation.reports import check_report_path, write_page
from retrieval.evaluation.reports.html import html_text
from retrieval.evaluation.reports.markdown import markdown_text
from retrieval.evaluation.reports.page import Figure, Page, Section, Table, Text

HOSTILE = '<script>alert("x")</script>'
PNG = b"\x89PNG made up"


def page(text: str = HOSTILE, png: bytes = PNG) -> Page:
    table = Table((text, "n"), ((text, "1"), ((text, text), "2")))
    return Page(text, (Section(text, (Text(text, "finding"), table, Figure("plot", png, f'"{text}', text))),))


def test_html_escapes_all_text() -> None:
    made = html_text(page())
    assert "<script" not in made
    assert made.count("&lt;script&gt;") >= 9
    assert 'alt="&#34;&lt;script' in made


def test_html_is_one_file_that_fetches_nothing() -> None:
    made = html_text(page("plain"))
    assert base64.b64encode(PNG).decode() in made
    assert re.findall(r'(?:src|href)="(?!data:image/png;base64,|#)', made) == []
    assert "http://" not in made
    assert "https://" not in made
    assert "default-src 'none'" in made


def test_markdown_escapes_all_text() -> None:
    made = markdown_text(page("a|b\n# <script> *c* [d](e) `f` $g$ ![h](i)"), {"plot": "r_files/plot.png"})
    assert "<script" not in made
    assert re.findall(r"(?<!\\)\]\(([^)]*)", made) == ["r_files/plot.png"]
    for line in made.splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 3
    assert re.findall(r"^#+ ", made, re.M) == ["# ", "## "]
    assert re.search(r"(?<!\\)`", made) is None


def test_markdown_pictures_lie_beside_it_and_old_ones_go(tmp_path: Path) -> None:
    path, folder = tmp_path / "report.md", tmp_path / "report_files"
    write_page(page("one"), path)
    (folder / "mine.png").write_bytes(b"kept")
    first = next(folder.glob("plot-*.png"))
    write_page(page("two", b"another"), path)
    linked = re.findall(r"\]\((report_files/[^)]+)\)", path.read_text())
    assert [(tmp_path / link).read_bytes() for link in linked] == [b"another"]
    assert not first.exists()
    assert (folder / "mine.png").read_bytes() == b"kept"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["report.md", "report_files"]


def test_an_old_report_stays_where_the_new_one_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    write_page(page("old"), path)

    def fails(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("retrieval.evaluation.reports.writing.os.fsync", fails)
    with pytest.raises(OSError, match="disk full"):
        write_page(page("new"), path)
    assert "<h1>old</h1>" in path.read_text()
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]
    monkeypatch.undo()
    write_page(page("new"), path)
    assert "<h1>new</h1>" in path.read_text()


def test_paths_that_will_not_do_are_named(tmp_path: Path) -> None:
    for name, message in (
        ("report.pdf", r"ends in \.html or \.md, found '\.pdf'"),
        ("report", "found ''"),
        ("away/report.html", "there is no folder .*away; make it first"),
        ("taken.html", "this is a folder"),
        ("blocked.md", "blocked_files, which is a file"),
    ):
        (tmp_path / "taken.html").mkdir(exist_ok=True)
        (tmp_path / "blocked_files").touch()
        with pytest.raises(ConfigError, match=message):
            check_report_path(tmp_path / name)
    check_report_path(tmp_path / "fine.HTML")
