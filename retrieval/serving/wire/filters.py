"""Filters to and from messages of the wire; what may not be asked is refused, naming the condition by its path."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from retrieval.errors import RequestError
from retrieval.filters.filter import AllOf, AnyOf, Filter, NoneOf, Range, SomeOf, Value
from retrieval.filters.values import ValueColumn
from retrieval.v1 import filter_pb2

_MAX_CONDITIONS = 64
_MAX_DEPTH = 8
_MAX_VALUES = 10_000
_TOGETHER: dict[str, Callable[[tuple[Filter, ...]], Filter]] = {"all": AllOf, "some": SomeOf, "none": NoneOf}


def filter_message(given: Filter | None) -> filter_pb2.Filter | None:
    """A filter as its message; conjunctions within a conjunction are laid flat."""
    if given is None:
        return None
    return filter_pb2.Filter(conditions=[_condition_message(part) for part in _flat(given)])


def value_conditions(given: Sequence[AnyOf]) -> list[filter_pb2.Condition]:
    """Values of attributes as conditions."""
    return [_condition_message(one) for one in given]


def read_value_conditions(messages: Sequence[filter_pb2.Condition]) -> tuple[AnyOf, ...]:
    """Values of attributes from conditions, each of which must be an any_of. Raises RequestError that names it."""
    found = []
    for i, message in enumerate(messages):
        test = _read_test(f"exclude_values[{i}]", message, message.WhichOneof("test"))
        if not isinstance(test, AnyOf):
            raise RequestError(f"exclude_values[{i}]: a range; only any_of is allowed here")
        found.append(test)
    return tuple(found)


def column_message(name: str, column: ValueColumn) -> filter_pb2.AttributeColumn:
    """An attribute's values as their message."""
    values = [value for one in column.values for value in one]
    return filter_pb2.AttributeColumn(
        name=name,
        ends=itertools.accumulate(map(len, column.values)),
        texts=[value for value in values if isinstance(value, str)],
        integers=[value for value in values if isinstance(value, int) and not isinstance(value, bool)],
        numbers=[value for value in values if isinstance(value, float)],
        flags=[value for value in values if isinstance(value, bool)],
        several=column.several,
    )


def read_columns(messages: Sequence[filter_pb2.AttributeColumn]) -> dict[str, ValueColumn]:
    """Columns by name."""
    return {message.name: _read_column(message) for message in messages}


def _read_column(message: filter_pb2.AttributeColumn) -> ValueColumn:
    values: tuple[Value, ...] = (*message.texts, *message.integers, *message.numbers, *message.flags)
    edges = [0, *message.ends]
    return ValueColumn(tuple(values[begin:end] for begin, end in itertools.pairwise(edges)), message.several)


def _flat(given: Filter) -> list[Filter]:
    if isinstance(given, AllOf):
        return [part for inner in given.filters for part in _flat(inner)]
    return [given]


def _condition_message(part: Filter) -> filter_pb2.Condition:
    if isinstance(part, Range):
        ends = filter_pb2.Range(minimum=part.minimum, maximum=part.maximum)
        return filter_pb2.Condition(field=part.field, range=ends)
    if isinstance(part, AnyOf):
        return filter_pb2.Condition(field=part.field, any_of=_values_message(part.values))
    inner = _flat(part) if isinstance(part, AllOf) else part.filters
    together = filter_pb2.Conditions(conditions=[_condition_message(one) for one in inner])
    if isinstance(part, AllOf):
        return filter_pb2.Condition(all=together)
    return filter_pb2.Condition(some=together) if isinstance(part, SomeOf) else filter_pb2.Condition(none=together)


def _values_message(values: Sequence[Value]) -> filter_pb2.AnyOf:
    """Flags and real numbers go as text, which the index reads as what the field holds."""
    whole = [value for value in values if isinstance(value, int) and not isinstance(value, bool)]
    others = [value for value in values if not isinstance(value, int) or isinstance(value, bool)]
    return filter_pb2.AnyOf(
        texts=[str(value).lower() if isinstance(value, bool) else str(value) for value in others], integers=whole
    )


def read_filter(message: filter_pb2.Filter) -> Filter | None:
    """A filter from its message; None where it holds no condition. Raises RequestError that names the condition."""
    if not message.conditions:
        return None
    parts = _Reader().read("filter", message.conditions, depth=1)
    return parts[0] if len(parts) == 1 else AllOf(parts)


class _Reader:
    """Reads one filter, counting its conditions over all levels."""

    def __init__(self) -> None:
        self._count = 0

    def read(self, path: str, messages: Sequence[filter_pb2.Condition], depth: int) -> tuple[Filter, ...]:
        self._count += len(messages)
        if self._count > _MAX_CONDITIONS:
            raise RequestError(
                f"{path}.conditions: {self._count} conditions with these; at most {_MAX_CONDITIONS} are allowed"
            )
        if depth > _MAX_DEPTH:
            raise RequestError(f"{path}.conditions: nested {depth} deep; at most {_MAX_DEPTH} are allowed")
        return tuple(self._one(f"{path}.conditions[{i}]", message, depth) for i, message in enumerate(messages))

    def _one(self, path: str, message: filter_pb2.Condition, depth: int) -> Filter:
        kind = message.WhichOneof("test")
        if kind not in _TOGETHER:
            return _read_test(path, message, kind)
        if message.field:
            raise RequestError(f"{path}: field is {message.field[:64]!r} beside {kind}; the fields stand within {kind}")
        inner = getattr(message, kind).conditions
        if not inner:
            raise RequestError(f"{path}.{kind}: no conditions; at least one is needed")
        return _TOGETHER[kind](self.read(f"{path}.{kind}", inner, depth + 1))


def _read_test(path: str, message: filter_pb2.Condition, kind: str | None) -> AnyOf | Range:
    if not message.field:
        raise RequestError(f"{path}: field is empty; name an item attribute")
    if kind == "range":
        return _read_range(path, message)
    if kind != "any_of":
        raise RequestError(f"{path}: no test; set any_of, range, all, some or none")
    allowed = message.any_of
    values: tuple[str | int, ...] = (*allowed.texts, *allowed.integers)
    if not values or len(values) > _MAX_VALUES:
        raise RequestError(f"{path}: any_of has {len(values)} values; 1 to {_MAX_VALUES:,} are allowed")
    return AnyOf(message.field, values)


def _read_range(path: str, message: filter_pb2.Condition) -> Range:
    ends = message.range
    low = ends.minimum if ends.HasField("minimum") else None
    high = ends.maximum if ends.HasField("maximum") else None
    if low is None and high is None:
        raise RequestError(f"{path}: range has neither minimum nor maximum; set at least one")
    if (low is not None and low != low) or (high is not None and high != high):  # noqa: PLR0124 - NaN is not itself
        raise RequestError(f"{path}: range has a NaN end; use a number")
    return Range(message.field, low, high)
