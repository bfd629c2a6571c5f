"""Hooks of mkdocs: the reference pages are generated from the code whenever the site is built."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from generate.command import command_page
from generate.errors import errors_page
from generate.settings import settings_page
from generate.strategies import strategies_page
from generate.wire import wire_page

_ROOT = Path(__file__).resolve().parents[1]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to those that lie in docs/."""
    for path, write in PAGES.items():
        files.append(File.generated(config, path, content=write()))
    return files


def settings() -> str:
    """The page of `retrieval.toml`."""
    from retrieval.workflows.workspace import Settings

    schema = Settings.model_json_schema()
    features = [each for each in schema["$defs"].values() if each["title"].endswith("Feature")]
    return settings_page(schema, {each["properties"]["kind"]["const"]: each for each in features})


def strategies() -> str:
    """The page of encoders, losses and whatever else is chosen by name."""
    return strategies_page(_ROOT / "retrieval")


def command() -> str:
    """The page of the `retrieval` command."""
    import typer

    from retrieval.cli.main import build_app

    return command_page(typer.main.get_command(build_app()))


def wire() -> str:
    """The page of the protos."""
    return wire_page(_ROOT / "protos")


def errors() -> str:
    """The page of the errors."""
    from retrieval.errors import RetrievalError

    return errors_page(RetrievalError)


PAGES: dict[str, Callable[[], str]] = {
    "reference/settings.md": settings,
    "reference/strategies.md": strategies,
    "reference/command.md": command,
    "reference/wire.md": wire,
    "reference/errors.md": errors,
}
"""Pages that are generated, by their place in docs/."""
