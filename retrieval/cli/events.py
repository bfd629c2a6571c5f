"""`retrieval events`: recording what users do while services run."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retrieval.cli.console import JsonOption, SetOption, WorkspaceOption, emit, open_workspace

if TYPE_CHECKING:
    from retrieval.workflows.events.follow import Followed

ToOption = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="HOST:PORT",
        help="The event service to send to; that of the workspace's local fleet if not given, else this process "
        "records by itself.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add this noun's commands to the command line."""
    noun = typer.Typer(help="Record what users do while services run.", no_args_is_help=True)
    noun.command("follow")(follow)
    noun.command("kafka")(kafka)
    app.add_typer(noun, name="events")


def follow(
    file: Annotated[Path, typer.Argument(help="JSON lines: one object a line, with the columns of the events.")],
    *,
    to: ToOption = None,
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
    _show(done, as_json)


def kafka(
    topic: Annotated[str, typer.Argument(help="Topic; the values of its messages are JSON lines.")],
    *,
    servers: Annotated[str, typer.Option("--servers", metavar="HOST:PORT,…", help="Brokers to ask first.")],
    group: Annotated[str, typer.Option("--group", help="Consumer group, which keeps how far was read.")] = "retrieval",
    options: Annotated[
        Path | None,
        typer.Option(
            "--options", metavar="FILE", help="Options of librdkafka, as name=value lines: how to log in, certificates."
        ),
    ] = None,
    to: ToOption = None,
    once: Annotated[bool, typer.Option("--once", help="Stop at the end of the topic.")] = False,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
) -> None:
    """Record the messages of a Kafka topic, until SIGTERM or Ctrl-C; the next run goes on where this one stopped.

    Needs events.enabled, and the extra: `pip install "retrieval[kafka]"`.

    Example: `retrieval events kafka clicks --servers broker:9092`
    """
    from retrieval.observability import set_up_logs
    from retrieval.workflows.events.follow import record_lines, stopped_by_signals
    from retrieval.workflows.events.kafka import kafka_lines, read_options

    opened = open_workspace(workspace, overrides)
    set_up_logs()
    given = {} if options is None else read_options(options)
    with stopped_by_signals() as stop, kafka_lines(topic, servers=servers, group=group, options=given) as lines:
        done = record_lines(opened, lines, to=to, once=once, every_s=0.0, stop=stop, said=_say)
    _show(done, as_json)


def _show(done: Followed, as_json: bool) -> None:
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
