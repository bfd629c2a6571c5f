"""Plain data of the core to and from messages of the wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from retrieval.errors import RequestError
from retrieval.serving.core.metadata import HostMetadata, ServedBuild
from retrieval.towers.runtime import EMPTY_HISTORY, History
from retrieval.types import BuildId, ModelVersion, SpaceId
from retrieval.v1 import ann_pb2, build_pb2, user_pb2

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def build_message(build: ServedBuild) -> build_pb2.BuildInfo:
    """A served build as its message."""
    return build_pb2.BuildInfo(
        model=build.version.model,
        version=build.version.version,
        space_id=build.space_id,
        build=build.build.number,
        shard=build.shard,
        shards=build.shards,
        dim=build.dim,
        items=build.items,
        recall=build.recall,
        activated_at=build.activated_at,
    )


def read_build(message: build_pb2.BuildInfo) -> ServedBuild:
    """A served build from its message."""
    return ServedBuild(
        version=ModelVersion(message.model, message.version),
        space_id=SpaceId(message.space_id),
        build=BuildId(message.model, message.build),
        shard=message.shard,
        shards=message.shards,
        dim=message.dim,
        items=message.items,
        recall=message.recall,
        activated_at=message.activated_at,
    )


def metadata_message(metadata: HostMetadata) -> ann_pb2.HostMetadata:
    """A host's metadata as its message."""
    return ann_pb2.HostMetadata(
        host_id=metadata.host_id,
        shard=metadata.shard,
        active=[build_message(metadata.active)] if metadata.active else [],
        standby=[build_message(metadata.standby)] if metadata.standby else [],
        last_error=metadata.last_error,
    )


def read_metadata(message: ann_pb2.HostMetadata, model: str) -> HostMetadata:
    """What a host says of one `model`, from its message."""
    return HostMetadata(
        host_id=message.host_id,
        shard=message.shard,
        active=_of_model(message.active, model),
        standby=_of_model(message.standby, model),
        last_error=message.last_error,
    )


def _of_model(builds: Sequence[build_pb2.BuildInfo], model: str) -> ServedBuild | None:
    return next((read_build(build) for build in builds if build.model == model), None)


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
        return user_pb2.Value(moment=_microseconds(value))
    raise RequestError(f"a value of type {type(value).__name__} can't be sent; use text, a number, a flag or a list")


def _microseconds(value: date) -> int:
    """Of a datetime, or of the beginning of a day; UTC where no zone is given."""
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
