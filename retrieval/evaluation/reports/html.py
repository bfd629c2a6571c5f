"""A page as one HTML file that needs nothing else: styles and pictures are in it, and it fetches nothing."""

from __future__ import annotations

import base64
import re
from pathlib import Path

from retrieval.evaluation.reports.page import Page

_TEMPLATE = "page.html.j2"


def html_text(page: Page) -> str:
    """The page as HTML. All of its text is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"data_uri": _data_uri, "anchor": _anchor, "kind": lambda block: type(block).__name__}
    return environment.get_template(_TEMPLATE).render(page=page)


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
