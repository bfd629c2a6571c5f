"""`retrieval query`: ask the candidate service as another service would."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.console import Console

from retrieval.cli.console import JsonOption, SetOption, WorkspaceOption, emit, open_workspace, table
from retrieval.errors import ConfigError
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
    from google.protobuf.json_format import MessageToDict

    from retrieval.serving.wire.candidate_client import candidate_service
    from retrieval.v1 import candidates_pb2

    request = candidates_pb2.GetCandidatesRequest(
        user_id=user,
        k=_natural("--k", k),
        context=_values("--context", context),
        profile=_values("--profile", profile),
        filter=_filter(filters),
        exclude_item_ids=exclude or [],
        allow_seen=allow_seen,
        visit_budget=visit_budget,
        time_budget_us=time_budget_us,
    )
    where = address or find_address(open_workspace(workspace, overrides))
    with candidate_service(where) as stub:
        answer = stub.GetCandidates(request, timeout=timeout)
    result = MessageToDict(answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    for version in result["versions"]:  # JSON of protobuf writes 64-bit integers as text
        version["version"] = int(version["version"])
        version["builds"] = [int(build) for build in version["builds"]]
    emit(result, as_json, lambda console: _show(console, result, explain=explain))


def find_address(here: Workspace) -> str:
    """The workspace's candidate service: of its local fleet, one in the registry, or at the settings' port."""
    from retrieval.errors import RetrievalError
    from retrieval.serving.local_fleet.fleet_file import read_fleet

    fleet = read_fleet(here.root / "run")
    if fleet is not None and fleet.candidates:
        return fleet.candidates
    try:
        registry = here.registry()
        alive = registry.hosts(here.model, role="candidates", alive_within_s=here.settings.registry.alive_s)
        registry.close()
    except RetrievalError:
        alive = []
    return alive[0].address if alive else f"127.0.0.1:{here.settings.serving.candidates_port}"


def _natural(name: str, value: int) -> int:
    if not 0 <= value < 2**32:
        raise ConfigError(f"{name} {value}: 1 to 2,000 are allowed")
    return value


def _pairs(flag: str, given: Sequence[str] | None) -> list[tuple[str, str]]:
    pairs = []
    for text in given or ():
        name, separator, value = text.partition("=")
        if not separator or name in {"", "!"} or not value:
            raise ConfigError(f"{flag} {text!r}: expected COLUMN=VALUE")
        pairs.append((name, value))
    return pairs


def _values(flag: str, given: Sequence[str] | None) -> dict[str, Any]:
    """Values as they read: whole numbers, numbers, else text; several separated by commas."""
    from retrieval.serving.wire.user_messages import value_message

    found = {}
    for name, text in _pairs(flag, given):
        parts = [_typed(part) for part in text.split(",")]
        found[name] = value_message(parts[0] if len(parts) == 1 else parts)
    return found


def _typed(text: str) -> str | int | float:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _filter(given: Sequence[str] | None) -> Any:
    from retrieval.v1 import filter_pb2

    conditions = [_condition(field, text) for field, text in _pairs("--filter", given)]
    return filter_pb2.Filter(conditions=conditions) if conditions else None


def _condition(field: str, text: str) -> Any:
    """One condition; a field that ends with ! stands before a negation, FIELD!=…."""
    from retrieval.v1 import filter_pb2

    if field.endswith("!"):
        inner = _condition(field.removesuffix("!"), text)
        return filter_pb2.Condition(none=filter_pb2.Conditions(conditions=[inner]))
    low, dots, high = text.partition("..")
    if dots:
        ends = filter_pb2.Range(minimum=_end(field, low), maximum=_end(field, high))
        return filter_pb2.Condition(field=field, range=ends)
    return filter_pb2.Condition(field=field, any_of=filter_pb2.AnyOf(texts=text.split(",")))


def _end(field: str, text: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        expected = "LOW..HIGH, LOW.. or ..HIGH"
        raise ConfigError(f"--filter {field}: {text!r} is not a number; expected {expected}") from None


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
