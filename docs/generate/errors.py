"""The errors page: the one tree of errors with gRPC status and exit status, from `retrieval.errors`."""

from __future__ import annotations

from collections.abc import Iterator

from generate.text import code, table

HEAD = """\
# Errors

Every error that is raised on purpose is a `RetrievalError`. Over gRPC it becomes the status below with its message;
a command that meets it prints the message and ends with the exit status below (0: done; 130: interrupted).
"""


def errors_page(root: type[Exception]) -> str:
    """The page for `root` and every class below it."""
    rows = [
        [code(error.__name__), code(parent), code(getattr(error, "grpc_status", "")), _exit(error), _first(error)]
        for error, parent in _tree(root, "Exception")
    ]
    return "\n".join([HEAD, *table(["error", "is a", "gRPC status", "exit status", "when"], rows)]) + "\n"


def _tree(error: type[Exception], parent: str) -> Iterator[tuple[type[Exception], str]]:
    yield error, parent
    for child in error.__subclasses__():
        if child.__module__ == error.__module__:
            yield from _tree(child, error.__name__)


def _exit(error: type[Exception]) -> str:
    return str(getattr(error, "exit_code", ""))


def _first(error: type[Exception]) -> str:
    return (error.__doc__ or "").strip().partition("\n\n")[0]
