from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import RequestError
from retrieval.serving.wire.user_messages import (
    check_history,
    history_message,
    read_history,
    read_values,
    value_message,
)
from retrieval.towers.user_input import History
from retrieval.v1 import user_pb2

scalars = st.one_of(
    st.booleans(),
    st.text(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.lists(st.text(min_size=1)),
)


@given(st.dictionaries(st.text(min_size=1), scalars))
def test_values_survive_the_wire(values: dict[str, Any]) -> None:
    messages = {name: value_message(value) for name, value in values.items()}
    record = user_pb2.UserRecord.FromString(user_pb2.UserRecord(profile=messages).SerializeToString())
    assert read_values(record.profile) == values


def test_moments_and_lists() -> None:
    found = read_values(
        {
            "naive": value_message(datetime(2024, 1, 2, 3)),
            "day": value_message(date(2024, 1, 2)),
            "vector": value_message([0.5, 1]),
            "tags": value_message(["a", None, "b"]),
            "unset": user_pb2.Value(),
        }
    )
    assert found["naive"] == datetime(2024, 1, 2, 3, tzinfo=UTC)
    assert found["day"] == datetime(2024, 1, 2, tzinfo=UTC)
    assert found["vector"] == [0.5, 1.0]
    assert found["tags"] == ["a", "b"]
    assert "unset" not in found
    with pytest.raises(RequestError, match="object"):
        value_message(object())
    with pytest.raises(RequestError, match="born"):
        read_values({"born": user_pb2.Value(moment=2**62)})


@pytest.mark.parametrize(
    ("history", "said"),
    [
        ({"item_ids": ["a", "b"], "timestamps": [1]}, "2 item_ids but 1 timestamps"),
        ({"item_ids": ["a"], "timestamps": [1], "actions": ["x", "y"]}, "1 item_ids but 2 actions"),
        ({"item_ids": ["a"], "timestamps": [-1]}, "negative"),
        ({"item_ids": ["a", "b", "c"], "timestamps": [1, 3, 2]}, r"timestamps\[2\]"),
        ({"item_ids": ["a"] * 6, "timestamps": [1] * 6}, "at most 5"),
        ({"timestamps": [1]}, "0 item_ids"),
    ],
)
def test_a_history_that_makes_no_sense_is_refused(history: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        check_history(user_pb2.History(**history), 5)


def test_histories_survive_the_wire() -> None:
    history = History(["a", "b"], ["x", "y"], np.array([1, 2]))
    message = history_message(history)
    check_history(message, 5)
    found = read_history(message)
    assert (found.item_ids, found.actions, found.timestamps.tolist()) == (["a", "b"], ["x", "y"], [1, 2])
    assert len(read_history(user_pb2.History()).item_ids) == 0
