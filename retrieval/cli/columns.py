"""Options that say what a log's columns mean, for the commands that read one, and the moments that bound it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retrieval.cli.times import read_moment
from retrieval.errors import ConfigError

if TYPE_CHECKING:
    from retrieval.data.importers import ColumnMapping

KindArgument = Annotated[str, typer.Argument(metavar="KIND", help="What to read: movielens, csv, parquet.")]
SourceArgument = Annotated[Path, typer.Argument(help="The file or folder to read.")]
UserOption = Annotated[str, typer.Option("--user", help="Column with the user's id.")]
ItemOption = Annotated[str, typer.Option("--item", help="Column with the item's id.")]
TimestampOption = Annotated[str, typer.Option("--timestamp", help="Column with the time.")]
TimestampUnitOption = Annotated[
    str, typer.Option("--timestamp-unit", help="Unit of plain numbers: auto, s, ms, us or ns.")
]
ActionOption = Annotated[
    str | None, typer.Option("--action", help="Column with what the user did; 'action' if there is one.")
]
ActionRuleOption = Annotated[
    list[str] | None,
    typer.Option(
        "--action-rule",
        metavar="RULE",
        help="'ACTION: COLUMN SIGN VALUE' names the action of rows for which it holds, with one of ~ (regular "
        "expression) = != < <= > >=. The first rule that holds counts.",
    ),
]
DefaultActionOption = Annotated[str | None, typer.Option("--default-action", help="Action of rows that no rule names.")]
ContextOption = Annotated[
    list[str] | None, typer.Option("--context", help="Column with what is known at request time; repeatable.")
]
ItemFeatureOption = Annotated[
    list[str] | None,
    typer.Option(
        "--item-feature",
        help="Column of the events that describes the item: its most frequent text, or its median; repeatable.",
    ),
]
UserFeatureOption = Annotated[
    list[str] | None, typer.Option("--user-feature", help="The same for the user; repeatable.")
]
UsersOption = Annotated[Path | None, typer.Option("--users", help="Table of users, Parquet or CSV.")]
ItemsOption = Annotated[Path | None, typer.Option("--items", help="Table of items, Parquet or CSV.")]
SinceOption = Annotated[str | None, typer.Option("--from", help="Only events from this moment on (ISO, UTC).")]
UntilOption = Annotated[str | None, typer.Option("--until", help="Only events before this moment.")]
DelimiterOption = Annotated[str, typer.Option("--delimiter", help="csv: what separates fields; \\t is a tab.")]
EncodingOption = Annotated[str, typer.Option("--encoding", help="csv: the file's encoding.")]


def read_mapping(
    *,
    user: str,
    item: str,
    timestamp: str,
    timestamp_unit: str,
    action: str | None,
    action_rule: Sequence[str] | None,
    default_action: str | None,
    context: Sequence[str] | None,
    item_feature: Sequence[str] | None,
    user_feature: Sequence[str] | None,
    since: str | None,
    until: str | None,
) -> ColumnMapping:
    """What the options say. Raises ConfigError that names the flag."""
    from retrieval.data.importers import ActionRule, ColumnMapping

    if timestamp_unit not in {"auto", "s", "ms", "us", "ns"}:
        raise ConfigError(f"--timestamp-unit {timestamp_unit!r}: expected auto, s, ms, us or ns")
    return ColumnMapping(
        user=user,
        item=item,
        timestamp=timestamp,
        timestamp_unit=timestamp_unit,
        action=action,
        action_rules=tuple(ActionRule.parse(rule) for rule in action_rule or ()),
        default_action=default_action,
        context=tuple(context or ()),
        item_features=tuple(item_feature or ()),
        user_features=tuple(user_feature or ()),
        from_us=read_moment("--from", since),
        until_us=read_moment("--until", until),
    )


def read_character(text: str) -> str:
    """The delimiter. Raises ConfigError."""
    found = {"\\t": "\t", "tab": "\t"}.get(text, text)
    if len(found) != 1:
        raise ConfigError(f"--delimiter {text!r}: expected one character, or \\t")
    return found
