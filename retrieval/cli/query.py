"""`retrieval query`: ask the candidate service as another service would."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from retrieval.cli.console import JsonOption, SetOption, WorkspaceOption, emit, open_workspace, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rich.console import Console

    from retrieval.workflows.workspace import Workspace


def register(app: typer.Typer) -> None:
    """Add this noun's commands to the command line."""
    app.command("query")(query)


def query(
    user: Annotated[str, typer.Argument(help="User id; one that is not known is answered from context and profile.")],
    *,
    k: Annotated[int, typer.Option("--k", "-k", help="How many candidates, 1 to 2,000.")] = 10,
    context: Annotated[
        list[str] | None, typer.Option("--context", "-c", metavar="COLUMN=VALUE", help="What is known now.")
    ] = None,
    profile: Annotated[
        list[str] | None, typer.Option("--profile", metavar="COLUMN=VALUE", help="Overrides the stored profile.")
    ] = None,
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            "-f",
            metavar="FIELD=A,B | FIELD=LOW..HIGH | FIELD!=…",
            help="Only such items; and-ed. With != no such items; one without the attribute passes.",
        ),
    ] = None,
    exclude: Annotated[list[str] | None, typer.Option("--exclude", "-x", metavar="ITEM", help="Not this item.")] = None,
    allow_seen: Annotated[
        bool | None,
        typer.Option(
            "--allow-seen/--no-allow-seen",
            help="Whether items of the user's history may come back; else as [corpus] says.",
        ),
    ] = None,
    seen_hours: Annotated[
        float | None,
        typer.Option(
            "--seen-hours",
            metavar="HOURS",
            help="Leave out what is in the history's last hours only; else as [corpus] says.",
        ),
    ] = None,
    seen_by: Annotated[
        list[str] | None,
        typer.Option(
            "--seen-by",
            metavar="ATTRIBUTE",
            help="Nothing that shares its value with the newest events; else as [corpus] says, '' for none.",
        ),
    ] = None,
    seen_by_events: Annotated[
        int,
        typer.Option(
            "--seen-by-events", min=0, help="How many of the newest events count for that; 0: as [corpus] says."
        ),
    ] = 0,
    attributes: Annotated[
        list[str] | None,
        typer.Option("--show", metavar="ATTRIBUTE", help="Show this item attribute beside them."),
    ] = None,
    visit_budget: Annotated[
        int, typer.Option("--visit-budget", min=0, help="Compare at most so many items in each shard; 0: no limit.")
    ] = 0,
    time_budget_us: Annotated[
        int, typer.Option("--time-budget-us", min=0, max=2**32 - 1, help="Search a shard so long at most; 0: no limit.")
    ] = 0,
    explain: Annotated[bool, typer.Option("--explain", help="Show version, shards and timings.")] = False,
    address: Annotated[
        str | None,
        typer.Option("--address", metavar="HOST:PORT", help="The candidate service, if not this workspace's."),
    ] = None,
    timeout: Annotated[float, typer.Option("--timeout", min=0.001, help="Seconds to wait for the answer.")] = 5.0,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
) -> None:
    """Print candidates for a user.

    In a workspace, items are shown by name, too, beside what the user did last.

    Example: `retrieval query 42 --k 20 --filter genre=drama,crime --filter price=1..5 --filter 'colour!=red' --explain`
    """
    from retrieval.workflows.fleet.discovery import find_candidate_service
    from retrieval.workflows.fleet.query import TypedQuery, ask_candidates, newest_events, request_message, with_names

    typed = TypedQuery(
        user_id=user,
        k=k,
        context=context or (),
        profile=profile or (),
        filters=filters or (),
        exclude=exclude or (),
        allow_seen=allow_seen,
        seen_hours=seen_hours,
        seen_by=None if seen_by is None else [name for name in seen_by if name],
        seen_by_events=seen_by_events,
        attributes=attributes or (),
        visit_budget=visit_budget,
        time_budget_us=time_budget_us,
    )
    request = request_message(typed)
    if address is None:
        opened = open_workspace(workspace, overrides)
        answer = ask_candidates(find_candidate_service(opened), request, timeout_s=timeout)
        result = with_names(opened, answer, newest_events(opened, user))
    else:
        result = ask_candidates(address, request, timeout_s=timeout)
        known = _workspace_if_any(workspace, overrides)
        if known is not None:  # the user store is the service's own
            result = with_names(known, result, history=[])
    emit(result, as_json, lambda console: _show(console, result, explain=explain))


def _workspace_if_any(folder: Path | None, overrides: list[str] | None) -> Workspace | None:
    from retrieval.errors import NotFoundError

    try:
        return open_workspace(folder, overrides)
    except NotFoundError:
        if folder is not None:
            raise
        return None


def _show_history(console: Console, history: Sequence[Mapping[str, Any]]) -> None:
    if not history:
        return
    from retrieval.data.facts.stats import as_moment

    named, acted = (any(event[key] for event in history) for key in ("item_name", "action"))
    rows = [
        [
            as_moment(event["timestamp"]),
            event["item_id"],
            *([event["item_name"] or ""] if named else []),
            *([event["action"]] if acted else []),
        ]
        for event in history
    ]
    columns = ["time", "item", *(["name"] if named else []), *(["action"] if acted else [])]
    console.print(table("Newest events", columns, rows))


def _show(console: Console, answer: dict[str, Any], *, explain: bool) -> None:
    from retrieval.workflows.fleet.query import attribute_texts

    by = answer["version_of_item"] or [0] * len(answer["item_ids"])
    versions = [f"{version['model']}@{version['version']}" for version in answer["versions"]]
    names = answer.get("item_names", [])
    _show_history(console, answer.get("history", ()))
    shown = attribute_texts(answer)
    rows = [
        [
            *(rank, item, *([names[rank - 1] or ""] if any(names) else [])),
            *(texts[rank - 1] for texts in shown.values()),
            *(score, versions[position]),
        ]
        for rank, (item, score, position) in enumerate(
            zip(answer["item_ids"], answer["scores"], by, strict=True), start=1
        )
    ]
    columns = ["rank", "item", *(["name"] if any(names) else []), *shown, "score", "version"]
    console.print(table(f"{len(rows)} candidates", columns, rows))
    if not answer["user_known"]:
        console.print("The user is not known: answered from context and profile.")
    for ignored in answer["ignored_columns"]:
        why = "NaN counts as missing" if ignored["reason"] == "REASON_NAN" else "no feature reads it"
        console.print(f"ignored: {ignored['column']} ({why})")
    if answer["new_items"]:
        console.print(f"new items, which training never met: {answer['new_items']} (serving.exploration)")
    if answer["truncated"]:
        console.print("truncated: a budget ended the search of a shard, better candidates may not have been looked at.")
    if not explain:
        return
    for version in answer["versions"]:
        builds = ", ".join(
            f"shard {shard}: {version['model']}-b{build}"
            for shard, build in zip(version["shards"], version["builds"], strict=True)
        )
        console.print(f"{version['model']}@{version['version']}  space {version['space_id'][:16]}…  {builds}")
    merged = answer["merged_by"].removeprefix("MERGED_BY_").lower()
    console.print(f"{answer['shards_answered']} of {answer['shards_asked']} shards answered, merged by {merged}")
    spent = answer["timings"]
    stages = [[name.removesuffix("_us"), value / 1000] for name, value in spent.items() if name.endswith("_us")]
    console.print(table("Time", ["stage", "ms"], stages))
    console.print(f"batch of {spent['batch_size']}, {spent['attempts']} attempts")
