"""What a caller may say with a request, in plain Python values, and the request that this makes.

A retriever reads the same message as a service does: what a request means is settled in one place.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, TypedDict

from retrieval.errors import RequestError
from retrieval.filters.filter import AllOf, AnyOf, Value
from retrieval.filters.text import parse_filters
from retrieval.serving.wire.filters import filter_message
from retrieval.serving.wire.user_messages import microseconds, value_message
from retrieval.v1 import candidates_pb2, filter_pb2, user_pb2

Moment = int | datetime
"""Microseconds since 1970 UTC, or a datetime (UTC where it names no zone)."""
Event = tuple[str, Moment] | tuple[str, Moment, str]
"""Item id, when, and the action where it is known."""
Filters = Mapping[str, Value | Sequence[Value]] | str | Sequence[str]
"""Fields with the value, or any of the values, that an item must have; or as `retrieval query --filter` takes them."""

_LARGEST = 2**32


class RequestOptions(TypedDict, total=False):
    """Keywords of `candidates` and `batch`, all of them optional."""

    context: Mapping[str, Any]
    """What is known now, by context column."""
    profile: Mapping[str, Any]
    """Profile values that go before the stored ones, by column."""
    history: Sequence[Event]
    """Events in place of the stored history, oldest first: (item id, when) or (item id, when, action)."""
    filter: Filters
    """Only items that pass: `{"genre": ["drama", "crime"]}`, `"price=1..5"`, `["price=1..5", "colour!=red"]`."""
    exclude: Sequence[str]
    """Items that must not come back."""
    allow_seen: bool
    """Whether items of the user's history may come back, too; as `corpus.allow_seen` declares, unless given."""
    seen_hours: float
    """Only items of the history's last so many hours are left out; as `corpus.seen_hours` declares, unless given."""
    seen_by: Sequence[str]
    """Item attributes such as a series: what shares a value with one of the newest events does not come back; as
    `corpus.seen_by` declares, unless given."""
    seen_by_events: int
    """How many of the newest events count for `seen_by`; as `corpus.seen_by_events` declares, unless given."""
    attributes: Sequence[str]
    """Item attributes that the answer shall show, as far as the index holds them."""
    at: Moment
    """The time of the request; now, unless given."""
    ef: int
    """How broadly each shard is searched; larger is slower and more exact."""
    visit_budget: int
    """Rows that each shard may compare at most; 0 sets no limit."""
    time_budget_us: int
    """Microseconds that each shard may take; 0 sets no limit."""


def request_message(user_id: str, k: int, options: RequestOptions) -> candidates_pb2.GetCandidatesRequest:
    """The request for one user. Raises RequestError that names the keyword whose value can't be sent."""
    history = options.get("history")
    try:
        return candidates_pb2.GetCandidatesRequest(
            user_id=str(user_id),
            k=_natural("k", k),
            context=_values("context", options.get("context", {})),
            profile=_values("profile", options.get("profile", {})),
            history=None if history is None else _history(history),
            filter=_filter(options.get("filter")),
            exclude_item_ids=[str(item) for item in options.get("exclude", ())],
            allow_seen=options.get("allow_seen"),
            seen_hours=options.get("seen_hours"),
            seen_by=_seen_by(options),
            attributes=[str(name) for name in options.get("attributes", ())],
            at=moment_us(options.get("at", 0)),
            ef=_natural("ef", options.get("ef", 0)),
            visit_budget=_natural("visit_budget", options.get("visit_budget", 0)),
            time_budget_us=_natural("time_budget_us", options.get("time_budget_us", 0)),
        )
    except TypeError as error:
        raise RequestError(f"a value has a type that can't be sent: {error}") from error


def _seen_by(options: RequestOptions) -> candidates_pb2.SeenBy | None:
    if "seen_by" not in options:
        if "seen_by_events" in options:
            raise RequestError("seen_by_events: name the attributes, too, in seen_by")
        return None
    names = [str(name) for name in options["seen_by"]]
    return candidates_pb2.SeenBy(attributes=names, events=_natural("seen_by_events", options.get("seen_by_events", 0)))


def moment_us(moment: Moment) -> int:
    """A moment in µs since 1970 UTC. Raises RequestError for another type."""
    if isinstance(moment, datetime):
        return microseconds(moment)
    try:
        return int(moment.__index__())
    except (AttributeError, TypeError):
        raise RequestError(f"{moment!r} is no moment; expected µs since 1970 as an integer, or a datetime") from None


def _natural(name: str, value: int) -> int:
    try:
        whole = value.__index__()
    except (AttributeError, TypeError):
        raise RequestError(f"{name}: {value!r}; expected a whole number") from None
    if not 0 <= whole < _LARGEST:
        raise RequestError(f"{name}: {whole}; expected 0 to {_LARGEST - 1:,}")
    return int(whole)


def _values(name: str, given: Mapping[str, Any]) -> dict[str, user_pb2.Value]:
    """Values by column; those that are None are left out, which means missing."""
    found = {}
    for column, value in given.items():
        if value is None:
            continue
        plain = value.tolist() if hasattr(value, "tolist") else value  # numpy's scalars and arrays
        try:
            found[str(column)] = value_message(plain)
        except RequestError as error:
            raise RequestError(f"{name}.{column}: {error}") from None
    return found


def _history(events: Sequence[Event]) -> user_pb2.History:
    made = user_pb2.History()
    for position, event in enumerate(events):
        if isinstance(event, str) or len(event) not in {2, 3}:
            raise RequestError(f"history[{position}]: {event!r}; expected (item id, when) or (item id, when, action)")
        made.item_ids.append(str(event[0]))
        made.timestamps.append(moment_us(event[1]))
        made.actions.extend(str(action) for action in event[2:])
    return made


def _filter(wanted: Filters | None) -> filter_pb2.Filter | None:
    if wanted is None:
        return None
    if isinstance(wanted, Mapping):
        return filter_message(AllOf(tuple(_any_of(field, values) for field, values in wanted.items())))
    return filter_message(parse_filters([wanted] if isinstance(wanted, str) else wanted))


def _any_of(field: str, values: Value | Sequence[Value]) -> AnyOf:
    several = tuple(values) if isinstance(values, Collection) and not isinstance(values, str) else (values,)
    if not all(isinstance(value, (str, int, float)) for value in several):
        raise RequestError(f"filter: {field}: {several!r} can't be compared; expected text, numbers or flags")
    return AnyOf(field, several)
