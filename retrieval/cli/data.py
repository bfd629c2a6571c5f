"""`retrieval data …`: import, append, check, describe and synthesise events, users and items."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from retrieval.cli.columns import (
    ActionOption,
    ActionRuleOption,
    ContextOption,
    DefaultActionOption,
    DelimiterOption,
    EncodingOption,
    ItemFeatureOption,
    ItemOption,
    ItemsOption,
    KindArgument,
    SinceOption,
    SourceArgument,
    TimestampOption,
    TimestampUnitOption,
    UntilOption,
    UserFeatureOption,
    UserOption,
    UsersOption,
    read_character,
    read_mapping,
)
from retrieval.cli.console import JsonOption, SetOption, WorkspaceOption, emit, open_workspace, table
from retrieval.cli.data_tables import pairs, show_import, show_report, show_stats, show_synth
from retrieval.config import FILE_NAME

WriteSettingsOption = Annotated[
    bool, typer.Option("--write-settings", help=f"Put the suggested settings into {FILE_NAME}.")
]


def register(app: typer.Typer) -> None:
    """Add this noun's commands to the command line."""
    group = typer.Typer(
        help="Events, users and items: import, append, check, describe, synthesise.",
        no_args_is_help=True,
        rich_markup_mode="markdown",
    )
    group.command("import")(import_)
    group.command("append")(append)
    group.command("validate")(validate)
    group.command("stats")(stats)
    group.command("synth")(synth)
    group.command("histories")(histories)
    app.add_typer(group, name="data")


def import_(
    *,
    importer: KindArgument,
    source: SourceArgument,
    user: UserOption = "user_id",
    item: ItemOption = "item_id",
    timestamp: TimestampOption = "timestamp",
    timestamp_unit: TimestampUnitOption = "auto",
    action: ActionOption = None,
    action_rule: ActionRuleOption = None,
    default_action: DefaultActionOption = None,
    context: ContextOption = None,
    item_feature: ItemFeatureOption = None,
    user_feature: UserFeatureOption = None,
    users: UsersOption = None,
    items: ItemsOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    delimiter: DelimiterOption = ",",
    encoding: EncodingOption = "utf-8",
    replace: Annotated[bool, typer.Option("--replace", help="Put the new data in the place of what is there.")] = False,
    write_settings: WriteSettingsOption = False,
    keep_features: Annotated[
        bool,
        typer.Option("--keep-features", help="With --write-settings: [data] only; features stay as declared."),
    ] = False,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read a log into the workspace's data folder; what can't be used goes to data/rejects/import.parquet.

    Examples:

    `retrieval data import movielens ml-1m/ --write-settings`

    `retrieval data import csv clicks.csv --user uid --item article --timestamp time --context device`

    `retrieval data import parquet transactions.parquet --user CustomerID --item StockCode --timestamp InvoiceDate
    --action-rule 'cancel: InvoiceNo ~ ^C' --default-action purchase --item-feature Description --user-feature Country`
    """
    from retrieval.workflows.data.importing import import_events

    opened = open_workspace(workspace, overrides)
    mapping = read_mapping(
        user=user,
        item=item,
        timestamp=timestamp,
        timestamp_unit=timestamp_unit,
        action=action,
        action_rule=action_rule,
        default_action=default_action,
        context=context,
        item_feature=item_feature,
        user_feature=user_feature,
        since=since,
        until=until,
    )
    done = import_events(
        opened,
        source,
        kind=importer,
        mapping=mapping,
        users=users,
        items=items,
        delimiter=read_character(delimiter),
        encoding=encoding,
        replace=replace,
        write_settings=write_settings,
        keep_features=keep_features,
        show=not as_json,
    )
    result = asdict(done) | {"suggestion": done.suggestion.as_toml(), "settings_written": write_settings}
    emit(result, as_json, lambda console: show_import(console, done, opened, write_settings))


def append(
    *,
    importer: KindArgument,
    source: SourceArgument,
    user: UserOption = "user_id",
    item: ItemOption = "item_id",
    timestamp: TimestampOption = "timestamp",
    timestamp_unit: TimestampUnitOption = "auto",
    action: ActionOption = None,
    action_rule: ActionRuleOption = None,
    default_action: DefaultActionOption = None,
    context: ContextOption = None,
    item_feature: ItemFeatureOption = None,
    user_feature: UserFeatureOption = None,
    users: UsersOption = None,
    items: ItemsOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    delimiter: DelimiterOption = ",",
    encoding: EncodingOption = "utf-8",
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add newer events to those that were imported, and rows to the tables of users and items.

    Takes the options of the import. Of an item or user that is there already, the given row counts; features that are
    derived from events are kept as they are. The same events again are refused. Costs what is added, and the tables.

    Example: `retrieval data append csv today.csv --user uid --item article --timestamp time --context device`
    """
    from retrieval.workflows.data.appending import append_events

    opened = open_workspace(workspace, overrides)
    mapping = read_mapping(
        user=user,
        item=item,
        timestamp=timestamp,
        timestamp_unit=timestamp_unit,
        action=action,
        action_rule=action_rule,
        default_action=default_action,
        context=context,
        item_feature=item_feature,
        user_feature=user_feature,
        since=since,
        until=until,
    )
    done = append_events(
        opened,
        source,
        kind=importer,
        mapping=mapping,
        users=users,
        items=items,
        delimiter=read_character(delimiter),
        encoding=encoding,
        show=not as_json,
    )
    emit(asdict(done), as_json, lambda console: console.print(table("Appended", ["", ""], pairs(asdict(done)))))


def validate(workspace: WorkspaceOption = None, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Check every event; what can't be used goes to data/rejects/events.parquet, with reason, file and row.

    Example: `retrieval data validate --json`
    """
    from retrieval.workflows.data.checking import check_data

    report, refused = check_data(open_workspace(workspace, overrides), show=not as_json)
    rejects = None if refused is None else str(refused)
    emit(asdict(report) | {"rejects": rejects}, as_json, lambda console: show_report(console, report, rejects))


def stats(workspace: WorkspaceOption = None, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Describe the data: events, users, items, actions, columns, and how they are spread.

    Example: `retrieval data stats --workspace shop`
    """
    from retrieval.workflows.data.checking import describe_data

    found = describe_data(open_workspace(workspace, overrides), show=not as_json)
    targets = None if found.targets is None else asdict(found.targets)
    emit(asdict(found.stats) | {"targets": targets}, as_json, lambda console: show_stats(console, found))


def synth(
    *,
    users: Annotated[int, typer.Option(help="Users on the first day.")] = 2_000,
    items: Annotated[int, typer.Option(help="Items on the first day.")] = 1_500,
    days: Annotated[int, typer.Option(help="Days to live through.")] = 14,
    first_day: Annotated[int, typer.Option("--first-day", help="Write from this day on (earlier ones are there).")] = 0,
    events_per_user_day: Annotated[float, typer.Option(help="Events a user makes on a day, on average.")] = 4.0,
    new_users_per_day: Annotated[int, typer.Option(help="Users who join each day.")] = 20,
    new_items_per_day: Annotated[int, typer.Option(help="Items that appear each day.")] = 15,
    drift: Annotated[float, typer.Option(help="Share of users who change an interest, per day.")] = 0.02,
    zipf: Annotated[float, typer.Option(help="Exponent of the items' popularity.")] = 0.8,
    start: Annotated[str, typer.Option(help="The first day.")] = "2025-06-02",
    seed: Annotated[int, typer.Option(help="The same seed makes the same world.")] = 1,
    int_ids: Annotated[bool, typer.Option("--int-ids", help="Integer ids instead of text.")] = False,
    max_events: Annotated[int | None, typer.Option(help="Stop after this many events.")] = None,
    write_settings: WriteSettingsOption = False,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a synthetic log with interests, sessions, drift, newcomers, and a context that matters.

    Examples:

    `retrieval data synth --users 10000 --items 5000 --write-settings`

    `retrieval data synth --users 10000 --items 5000 --days 21 --first-day 14` adds a week of newer events
    """
    from retrieval.simulation.synthetic import SynthConfig
    from retrieval.workflows.data.synthesis import synthesise_events

    opened = open_workspace(workspace, overrides)
    config = SynthConfig(
        users=users,
        items=items,
        days=days,
        events_per_user_day=events_per_user_day,
        new_users_per_day=new_users_per_day,
        new_items_per_day=new_items_per_day,
        drift=drift,
        zipf=zipf,
        start=start,
        seed=seed,
        int_ids=int_ids,
        max_events=max_events,
    )
    made = synthesise_events(opened, config, first_day=first_day, write_settings=write_settings, show=not as_json)
    result = asdict(made) | {"suggestion": made.suggestion.as_toml(), "settings_written": write_settings}
    emit(result, as_json, lambda console: show_synth(console, made, opened, write_settings))


def histories(workspace: WorkspaceOption = None, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Build the users' histories, or find them again if neither the data nor its settings have changed.

    Example: `retrieval data histories --set data.memory_limit_mb=512`
    """
    from retrieval.workflows.data.checking import build_workspace_histories

    done = build_workspace_histories(open_workspace(workspace, overrides), show=not as_json)
    built = done.histories
    result = {
        "snapshot": built.snapshot,
        "path": str(done.folder),
        "users": built.users,
        "items": len(built.item_ids),
        "events": built.events,
        "rows": built.rows,
        "rejected": dict(built.rejected),
        "timestamp_unit": built.timestamp_unit,
        "actions": list(built.action_names),
    }
    emit(result, as_json, lambda console: console.print(table("Histories", ["", ""], pairs(result))))
