"""Asking a candidate service, with context, profile and filters as a person types them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from retrieval.errors import ConfigError, RetrievalError
from retrieval.filters.text import parse_filters, split_pair
from retrieval.workflows.fleet.users import find_user
from retrieval.workflows.item_names import read_item_names
from retrieval.workflows.workspace.workspace import Workspace

if TYPE_CHECKING:
    from retrieval.v1 import candidates_pb2

_LARGEST = 2**32


@dataclass(frozen=True, kw_only=True)
class TypedQuery:
    """A question as it is typed: COLUMN=VALUE for context and profile, FIELD=… or FIELD!=… for filters."""

    user_id: str
    k: int = 10
    context: Sequence[str] = ()
    profile: Sequence[str] = ()
    filters: Sequence[str] = ()
    exclude: Sequence[str] = ()
    allow_seen: bool | None = None
    seen_hours: float | None = None
    seen_by: Sequence[str] | None = None
    seen_by_events: int = 0
    attributes: Sequence[str] = ()
    visit_budget: int = 0
    time_budget_us: int = 0


def ask_candidates(
    address: str, request: candidates_pb2.GetCandidatesRequest, *, timeout_s: float = 5.0
) -> dict[str, Any]:
    """The answer of the candidate service at `address`, as plain values under the names of the proto.

    Raises RequestError, UnavailableError, DeadlineError and whatever else the service refuses with.
    """
    from google.protobuf.json_format import MessageToDict

    from retrieval.serving.wire.candidate_client import candidate_service

    with candidate_service(address) as stub:
        answer = stub.GetCandidates(request, timeout=timeout_s)
    result: dict[str, Any] = MessageToDict(
        answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    for version in result["versions"]:  # JSON of protobuf writes 64-bit integers as text
        version["version"] = int(version["version"])
        version["as_of"] = int(version["as_of"])
        version["builds"] = [int(build) for build in version["builds"]]
    return result


def with_names(workspace: Workspace, answer: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """An answer and a history for people: `item_names` beside the answer's `item_ids`, None where an item has none, and
    `history` with the `item_name` of each event. Raises ConfigError.
    """
    names = read_item_names(workspace, [*answer["item_ids"], *(event["item_id"] for event in history)])
    return {
        **answer,
        "item_names": [names.get(item) for item in answer["item_ids"]],
        "history": [{**event, "item_name": names.get(event["item_id"])} for event in history],
    }


def attribute_texts(answer: Mapping[str, Any]) -> dict[str, list[str]]:
    """The attributes in an answer as text, by name, one a candidate."""
    found = {}
    for column in answer.get("attributes", ()):
        values = [*column["texts"], *column["integers"], *column["numbers"], *column["flags"]]
        edges = itertools.pairwise((0, *column["ends"]))
        found[column["name"]] = [", ".join(map(str, values[begin:end])) for begin, end in edges]
    return found


def newest_events(workspace: Workspace, user_id: str, most: int = 5) -> list[dict[str, Any]]:
    """A user's newest events in the workspace's user store, the newest first: item_id, timestamp in µs, action."""
    try:
        found = find_user(workspace, user_id).history
    except RetrievalError:  # nobody, or no store here: the service has its own
        return []
    actions = found.actions or [""] * len(found.item_ids)
    newest = list(zip(found.item_ids, found.timestamps, actions, strict=True))[-most:]
    return [{"item_id": item, "timestamp": time, "action": action} for item, time, action in reversed(newest)]


def request_message(query: TypedQuery) -> candidates_pb2.GetCandidatesRequest:
    """The request that a typed question stands for. Raises ConfigError naming what can't be read."""
    from retrieval.serving.wire.filters import filter_message
    from retrieval.v1 import candidates_pb2

    if not 0 <= query.k < _LARGEST:
        raise ConfigError(f"--k {query.k}: 1 to 2,000 are allowed")
    return candidates_pb2.GetCandidatesRequest(
        user_id=query.user_id,
        k=query.k,
        context=parse_values("--context", query.context),
        profile=parse_values("--profile", query.profile),
        filter=filter_message(parse_filters(query.filters)),
        exclude_item_ids=query.exclude,
        allow_seen=query.allow_seen,
        seen_hours=query.seen_hours,
        seen_by=_seen_by(query),
        attributes=query.attributes,
        visit_budget=query.visit_budget,
        time_budget_us=query.time_budget_us,
    )


def _seen_by(query: TypedQuery) -> candidates_pb2.SeenBy | None:
    from retrieval.v1 import candidates_pb2

    if query.seen_by is None:
        if query.seen_by_events:
            raise ConfigError("--seen-by-events: name the attribute, too, with --seen-by")
        return None
    return candidates_pb2.SeenBy(attributes=query.seen_by, events=query.seen_by_events)


def parse_values(flag: str, given: Sequence[str]) -> Mapping[str, Any]:
    """COLUMN=VALUE pairs as wire values: whole numbers, numbers, else text; several separated by commas.

    Raises ConfigError that names the `flag`.
    """
    from retrieval.serving.wire.user_messages import value_message

    found = {}
    for name, text in (split_pair(flag, one) for one in given):
        parts = [_number_or_text(part) for part in text.split(",")]
        found[name] = value_message(parts[0] if len(parts) == 1 else parts)
    return found


def _number_or_text(text: str) -> str | int | float:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
