"""What is known of a user, to and from messages of the wire: histories, and values by column."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from retrieval.errors import RequestError
from retrieval.towers.user_input import EMPTY_HISTORY, History
from retrieval.v1 import user_pb2

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_values(message: Mapping[str, user_pb2.Value]) -> dict[str, Any]:
    """Profile or context values by column, as Python values; unset ones are left out, which means missing."""
    if not message:
        return {}
    found = {}
    for column, value in message.items():
        kind = value.WhichOneof("kind")
        if kind is None:
            continue
        content = getattr(value, kind)
        if kind in {"texts", "numbers"}:
            content = list(content.values)
        elif kind == "moment":
            content = _moment(column, content)
        found[column] = content
    return found


def _moment(column: str, microseconds: int) -> datetime:
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        raise RequestError(f"{column}: moment {microseconds} is not in the years 1 to 9999") from None


def value_message(value: object) -> user_pb2.Value:
    """A Python value (text, integer, number, flag, moment, list of texts or numbers) as its message.

    Raises RequestError on another type.
    """
    if isinstance(value, (list, tuple)):
        parts = [part for part in value if part is not None]
        if all(isinstance(part, (int, float)) for part in parts):
            return user_pb2.Value(numbers=user_pb2.Numbers(values=parts))
        return user_pb2.Value(texts=user_pb2.Texts(values=[str(part) for part in parts]))
    if isinstance(value, bool):
        return user_pb2.Value(flag=value)
    if isinstance(value, str):
        return user_pb2.Value(text=value)
    if isinstance(value, (int, float)):
        whole = isinstance(value, int) and -(2**63) <= value < 2**63
        return user_pb2.Value(integer=int(value)) if whole else user_pb2.Value(number=value)
    if isinstance(value, date):
        return user_pb2.Value(moment=microseconds(value))
    raise RequestError(f"a value of type {type(value).__name__} can't be sent; use text, a number, a flag or a list")


def microseconds(value: date) -> int:
    """Since 1970 UTC: of a datetime, or of the beginning of a day; UTC where no zone is given."""
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    return ((value if value.tzinfo else value.replace(tzinfo=UTC)) - _EPOCH) // timedelta(microseconds=1)


def history_message(history: History) -> user_pb2.History:
    """A history as its message."""
    return user_pb2.History(item_ids=history.item_ids, actions=history.actions, timestamps=history.timestamps.tolist())


def read_history(message: user_pb2.History) -> History:
    """A history from a message that was checked."""
    items = list(message.item_ids)
    if not items:
        return EMPTY_HISTORY
    times: npt.NDArray[np.int64] = np.fromiter(message.timestamps, np.int64, len(items))
    return History(items, list(message.actions), times)


def check_history(message: user_pb2.History, limit: int) -> None:
    """Raises RequestError where a request's history can't be used as it is."""
    count = len(message.item_ids)
    if count > limit:
        raise RequestError(f"history: {count:,} items; at most {limit:,} are allowed: send the latest")
    if len(message.timestamps) != count:
        raise RequestError(f"history: {count} item_ids but {len(message.timestamps)} timestamps; send one for each")
    if len(message.actions) not in {0, count}:
        raise RequestError(f"history: {count} item_ids but {len(message.actions)} actions; send one for each, or none")
    if not count:
        return
    times: npt.NDArray[np.int64] = np.fromiter(message.timestamps, np.int64, count)
    if times[0] < 0:
        raise RequestError(f"history: timestamp {times[0]} is negative; expected microseconds since 1970")
    falls = np.flatnonzero(np.diff(times) < 0)
    if len(falls):
        raise RequestError(f"history: timestamps[{falls[0] + 1}] is before its predecessor; send the oldest first")
