"""Hooks of mkdocs: the reference pages are generated from the code whenever the site is built."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from generate.command import command_page
from generate.errors import errors_page
from generate.gates import gates_page
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
    from retrieval.features.kinds import KINDS
    from retrieval.workflows.workspace import Settings

    kinds = {name: KINDS.load(name).model_json_schema() for name in KINDS.named}
    return settings_page(Settings.model_json_schema(), kinds)


def strategies() -> str:
    """The page of encoders, losses and whatever else is chosen by name."""
    from retrieval.workflows.reference import LISTS, describe_strategies

    return strategies_page(LISTS, describe_strategies())


def gates() -> str:
    """The page of the gates of retraining."""
    from retrieval.rollout.gates import GATES

    return gates_page(GATES)


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
    "reference/gates.md": gates,
    "reference/command.md": command,
    "reference/wire.md": wire,
    "reference/errors.md": errors,
}
"""Pages that are generated, by their place in docs/."""
