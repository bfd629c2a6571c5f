"""`retrieval query`: ask the candidate service as another service would."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from retrieval.cli.console import JsonOption, SetOption, WorkspaceOption, emit, open_workspace, table

if TYPE_CHECKING:
    from rich.console import Console


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
        bool, typer.Option("--allow-seen", help="Items of the user's history may come back.")
    ] = False,
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

    Example: `retrieval query 42 --k 20 --filter genre=drama,crime --filter price=1..5 --filter 'colour!=red' --explain`
    """
    from retrieval.workflows.fleet.discovery import find_candidate_service
    from retrieval.workflows.fleet.query import TypedQuery, ask_candidates, request_message

    typed = TypedQuery(
        user_id=user,
        k=k,
        context=context or (),
        profile=profile or (),
        filters=filters or (),
        exclude=exclude or (),
        allow_seen=allow_seen,
        visit_budget=visit_budget,
        time_budget_us=time_budget_us,
    )
    request = request_message(typed)
    where = address or find_candidate_service(open_workspace(workspace, overrides))
    result = ask_candidates(where, request, timeout_s=timeout)
    emit(result, as_json, lambda console: _show(console, result, explain=explain))


def _show(console: Console, answer: dict[str, Any], *, explain: bool) -> None:
    by = answer["version_of_item"] or [0] * len(answer["item_ids"])
    names = [f"{version['model']}@{version['version']}" for version in answer["versions"]]
    rows = [
        [rank, item, score, names[position]]
        for rank, (item, score, position) in enumerate(
            zip(answer["item_ids"], answer["scores"], by, strict=True), start=1
        )
    ]
    console.print(table(f"{len(rows)} candidates", ["rank", "item", "score", "version"], rows))
    if not answer["user_known"]:
        console.print("The user is not known: answered from context and profile.")
    for ignored in answer["ignored_columns"]:
        why = "NaN counts as missing" if ignored["reason"] == "REASON_NAN" else "no feature reads it"
        console.print(f"ignored: {ignored['column']} ({why})")
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
