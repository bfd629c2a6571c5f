"""The commands by name: a command's module is imported when it is called or its own help is shown, not before.

`retrieval --help` needs names and one line each, and these stand here.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


@dataclass(frozen=True, slots=True)
class Entry:
    """The module of `retrieval.cli` that registers a command, and the command's help in one line."""

    module: str
    summary: str


COMMANDS: Mapping[str, Entry] = {
    "demo": Entry(
        "demo",
        "Run the whole path on synthetic logs: train, index, serve, retrain, roll out, roll back, check every answer.",
    ),
    "init": Entry(
        "workspace",
        "Make a workspace: write a commented retrieval.toml with every setting and its default, or that of a recipe.",
    ),
    "upgrade": Entry(
        "workspace",
        "Migrate the registry to this program's schema; make it, and the stores, where the settings name new ones.",
    ),
    "recipes": Entry(
        "recipes",
        "List the recipes: settings measured on known data, for `retrieval init --recipe` and "
        "`retrieval train --recipe`.",
    ),
    "data": Entry("data", "Events, users and items: import, append, check, describe, synthesise."),
    "train": Entry(
        "train", "Train both towers, measure them on the full corpus, and register them as the model's next version."
    ),
    "tune": Entry(
        "tune",
        "Search for better settings: train with many, compare them on validation, show a table and the lines to paste.",
    ),
    "evaluate": Entry(
        "evaluate",
        "Measure a model version on the full corpus, exactly: hit rate, NDCG, MRR, coverage, popularity bias.",
    ),
    "index": Entry("index", "Build, refresh and check index builds."),
    "users": Entry("users", "The user store: histories and profiles at serving time."),
    "events": Entry("events", "Record what users do while services run."),
    "takedowns": Entry("takedowns", "Items that are never answered, whatever an index holds."),
    "serve": Entry("serve", "Serve candidates over gRPC."),
    "query": Entry("query", "Print candidates for a user."),
    "deploy": Entry("rollout", "Bring an index build to the ANN hosts, one after another, while they go on answering."),
    "rollback": Entry(
        "rollout",
        "Go back to the build that was active before, or to another one; a deployment that is running is ended.",
    ),
    "gc": Entry("rollout", "Delete versions and builds that nothing needs."),
    "retrain": Entry("retrain", "Retrain by itself: new events, gates, a new version, its index, roll-out."),
    "jobs": Entry("jobs", "Scheduled jobs: how far they are, their logs; cancel, retry."),
    "status": Entry(
        "status", "Show the active build, a deployment that is running, and what each host serves and holds."
    ),
    "lineage": Entry(
        "lineage",
        "Show where a version or a build comes from: log, settings, code, seed, parents, gates, builds, deployments.",
    ),
    "list": Entry("registry", "List versions, builds, hosts, deployments or the audit trail."),
    "show": Entry("registry", "Show one version, build, host or deployment."),
}
"""In the order of the work, as the help shows them."""


def load_command(name: str) -> TyperCommand | TyperGroup:
    """The command itself, its module imported. Raises KeyError."""
    app = typer.Typer(rich_markup_mode="markdown", pretty_exceptions_enable=False)
    app.callback()(lambda: None)  # a group even where the module has one command
    importlib.import_module(f"retrieval.cli.{COMMANDS[name].module}").register(app)
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    found = group.commands[name]
    assert isinstance(found, (TyperCommand, TyperGroup))
    return found


class LazyGroup(TyperGroup):
    """The root of the command line: knows its commands' names and summaries, and loads the one that is called."""

    def __init__(self, **given: Any) -> None:
        summaries = {name: TyperCommand(name, help=entry.summary) for name, entry in COMMANDS.items()}
        super().__init__(**{**given, "commands": summaries})
        self._listing = TyperGroup(**{**given, "commands": summaries})

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """The command itself; None where there is none of the name."""
        return load_command(cmd_name) if cmd_name in COMMANDS else None

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help from the summaries."""
        self._listing.format_help(ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Complete names from the summaries."""
        return self._listing.shell_complete(ctx, incomplete)
