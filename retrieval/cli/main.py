"""The `retrieval` command: its nouns and verbs, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import json
import os
import sys

import typer

from retrieval import __version__
from retrieval.cli.commands import LazyGroup
from retrieval.errors import RetrievalError

INTERRUPTED = 130


def build_app() -> typer.Typer:
    """The whole command line; the modules of its commands are imported when they are called."""
    app = typer.Typer(
        name="retrieval",
        cls=LazyGroup,
        help="Embedding-based retrieval: train two towers, build index shards, serve candidates, roll back.",
        no_args_is_help=True,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
    )
    app.callback()(_root)
    return app


def main() -> None:
    """Run the command line; a RetrievalError becomes its message on stderr (JSON with --json) and its exit code."""
    # Idle compute threads sleep: spinning ones starve whatever else runs on the machine (seen: training 3 × slower
    # beside one busy process). Read by OpenMP when torch is loaded, so it is set before any command runs.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        build_app()()
    except RetrievalError as error:
        _report(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(INTERRUPTED)


def _report(error: RetrievalError) -> None:
    if "--json" in sys.argv:
        sys.stdout.write(json.dumps({"error": type(error).__name__, "message": str(error)}) + "\n")
    sys.stderr.write(f"error: {error}\n")


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"retrieval {__version__}\n")
        raise typer.Exit


def _root(
    # printed by the option's own callback: this one runs only where a command follows
    version: bool = typer.Option(
        False, "--version", help="Print the version and stop.", is_eager=True, callback=_print_version
    ),
) -> None:
    pass


if __name__ == "__main__":
    main()
