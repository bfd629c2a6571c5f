"""The site builds without a warning and loads nothing from elsewhere; its reference names all there is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from generate.command import leaves
from retrieval.cli.main import build_app
from retrieval.errors import RetrievalError
from retrieval.features.kinds import KINDS, declaration_class
from retrieval.workflows.reference import LISTS
from retrieval.workflows.workspace import Settings
from tests.docs.pages import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"""<(?:script|img|link|iframe)[^>]*(?:src|href)=["'](?:https?:)?//[^"']+""", text)
        assert not loaded, page


def test_every_setting_is_in_the_reference(site: Path) -> None:
    text = (site / "reference" / "settings.html").read_text(encoding="utf-8")

    def check(path: str, section: Any) -> None:
        assert f"[{path}]" in text
        for name, field in section.model_fields.items():
            if isinstance(field.annotation, type) and hasattr(field.annotation, "model_fields"):
                check(f"{path}.{name}", field.annotation)
            elif path != "features":
                assert f"<code>{name}</code>" in text, f"{path}.{name}"

    for name, field in Settings.model_fields.items():
        check(name, field.annotation)


def test_every_kind_of_feature_is_in_the_reference_with_its_settings(site: Path) -> None:
    text = (site / "reference" / "settings.html").read_text(encoding="utf-8")
    for kind in KINDS.named:
        section = text.partition(f'id="feature-{kind}"')[2].partition('id="feature-')[0]
        missing = [name for name in declaration_class(kind).model_fields if f"<code>{name}</code>" not in section]
        assert missing == ["kind"], kind


def test_every_command_and_option_is_in_the_reference(site: Path) -> None:
    text = (site / "reference" / "command.html").read_text(encoding="utf-8")
    for name, command in leaves(typer.main.get_command(build_app())).items():
        assert f"<code>{name}</code>" in text
        shown = [option for each in command.params if not getattr(each, "hidden", False) for option in each.opts]
        missing = [option for option in shown if "-" in option and f"<code>{option}</code>" not in text]
        assert not missing, f"{name}: {missing}"


def test_every_strategy_is_in_the_reference(site: Path) -> None:
    text = (site / "reference" / "strategies.html").read_text(encoding="utf-8")
    for strategies in LISTS.values():
        assert f"<code>{strategies.setting}</code>" in text
        assert all(f"<code>{name}</code>" in text for name in strategies.named)


def test_every_message_and_field_is_in_the_reference(site: Path) -> None:
    from retrieval.v1 import ann_pb2, build_pb2, candidates_pb2, filter_pb2, user_pb2

    text = (site / "reference" / "wire.html").read_text(encoding="utf-8")
    for module in (ann_pb2, build_pb2, candidates_pb2, filter_pb2, user_pb2):
        for message in module.DESCRIPTOR.message_types_by_name.values():
            assert f'id="{message.name}"' in text
            assert all(f"<code>{field.name}</code>" in text for field in message.fields)
            values = [value.name for enum in message.enum_types for value in enum.values]
            assert all(f"<code>{value}</code>" in text for value in values)


def test_every_error_is_in_the_reference(site: Path) -> None:
    text = (site / "reference" / "errors.html").read_text(encoding="utf-8")
    for error in RetrievalError.__subclasses__():
        assert f"<code>{error.__name__}</code>" in text
