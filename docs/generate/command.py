"""The command page: every command of `retrieval` with its arguments, options and help, from typer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

from generate.text import code, sentence, table

_TYPES = {int: "INTEGER", float: "NUMBER", str: "TEXT", Path: "PATH"}
HEAD = """\
# Command line

Each command says what it does with `--help`, prints one JSON object with `--json` where it has that option, and ends
with an [exit status](errors.md) that says what kind of thing went wrong. Commands look for the workspace in the current
folder and above it, or take `--workspace`.
"""


def command_page(root: Any) -> str:
    """The page for a click group (`typer.main.get_command(app)`)."""
    context = root.make_context("retrieval", [], resilient_parsing=True)
    return "\n".join([HEAD, *_commands(root, context, ("retrieval",))]) + "\n"


def leaves(root: Any) -> dict[str, Any]:
    """Every command that people call, by its words, e.g. `retrieval index build`."""
    context = root.make_context("retrieval", [], resilient_parsing=True)
    return {words: command for words, command in _walk(root, context, ("retrieval",)) if not command.hidden}


def _walk(group: Any, context: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if hasattr(command, "list_commands"):
            yield from _walk(command, context, (*path, name))
        else:
            yield " ".join((*path, name)), command


def _commands(group: Any, context: Any, path: tuple[str, ...]) -> Iterator[str]:
    for words, command in _walk(group, context, path):
        if command.hidden:
            continue
        yield f"## `{words}` {{ #{words.removeprefix('retrieval ').replace(' ', '-')} }}"
        yield ""
        yield _help(command.help or "")
        yield ""
        yield f"```text\n{_usage(words, command)}\n```"
        yield ""
        shown = [each for each in command.params if not getattr(each, "hidden", False)]
        if shown:
            yield from table(["", "default", "meaning"], [_parameter(each) for each in shown])
            yield ""


def _usage(words: str, command: Any) -> str:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = ["[OPTIONS]"] if len(arguments) < len(command.params) else []
    return " ".join([words, *options, *map(_name, arguments)])


def _parameter(parameter: Any) -> list[str]:
    if parameter.param_type_name == "argument":
        return [code(_name(parameter)), "", sentence(parameter.help or "")]
    flags = ", ".join(map(code, [*parameter.opts, *parameter.secondary_opts]))
    value = "" if parameter.is_flag else f" {code(parameter.metavar or _type(parameter))}"
    return [flags + value, _default(parameter), sentence(parameter.help or "")]


def _name(argument: Any) -> str:
    return argument.metavar or str(argument.name).upper()


def _type(parameter: Any) -> str:
    """What a value looks like: the choices of an enum, else the name of the type."""
    annotation = parameter.type_descriptor.annotation
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "|".join(str(choice.value) for choice in annotation)
    return _TYPES.get(annotation, "TEXT")


def _default(parameter: Any) -> str:
    default = parameter.default
    if default is None or default is False or callable(default) or default == ():
        return ""
    if parameter.is_flag:
        return "on"
    return code(str(getattr(default, "value", default)))


def _help(text: str) -> str:
    """A command's help as Markdown: examples that stand bare become code."""
    return re.sub(r"(?m)Example: (?!`)(retrieval [^\n]*)$", r"Example: `\1`", text.strip())
