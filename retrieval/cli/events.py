"""`retrieval events`: recording what users do while services run."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from retrieval.cli.console import JsonOption, SetOption, WorkspaceOption, emit, open_workspace


def register(app: typer.Typer) -> None:
    """Add this noun's commands to the command line."""
    noun = typer.Typer(help="Record what users do while services run.", no_args_is_help=True)
    noun.callback()(lambda: None)  # a group, even of one command
    noun.command("follow")(follow)
    app.add_typer(noun, name="events")


def follow(
    file: Annotated[Path, typer.Argument(help="JSON lines: one object a line, with the columns of the events.")],
    *,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="HOST:PORT",
            help="The event service to send to; that of the workspace's local fleet if not given, else this process "
            "records by itself.",
        ),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Stop at the end of the file.")] = False,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
) -> None:
    """Record the lines of a file as they are written, until SIGTERM or Ctrl-C; the next run goes on where this stopped.

    Rotated files are read to their end. Lines that are no events go to data/rejects/recorded.jsonl. Needs
    events.enabled.

    Example: `retrieval events follow /var/log/shop/clicks.jsonl`
    """
    from retrieval.observability import set_up_logs
    from retrieval.workflows.events.follow import follow_file, stopped_by_signals

    opened = open_workspace(workspace, overrides)
    set_up_logs()
    with stopped_by_signals() as stop:
        done = follow_file(opened, file, to=to, once=once, stop=stop, said=_say)
    rejected = "".join(f"\n{count:,} rejected: {reason}" for reason, count in done.rejected.items())
    emit(
        asdict(done),
        as_json,
        lambda console: console.print(
            f"{done.lines:,} lines: {done.recorded:,} events recorded, {done.duplicates:,} were before{rejected}"
        ),
    )


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
