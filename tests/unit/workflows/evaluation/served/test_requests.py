"""A request about the past brings what was known then, as the user store has it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from retrieval.data import leave_one_out
from retrieval.features import fit_features
from retrieval.serving.core.candidates import StoredUser
from retrieval.serving.users.loading import user_records
from retrieval.serving.wire.user_messages import read_history, read_values
from retrieval.towers.user_input import EMPTY_HISTORY, History
from retrieval.workflows.evaluation.served.requests import PastRequests, history_before
from tests.tiny import TINY_FEATURES, tiny_dataset


def history(*events: tuple[str, int]) -> History:
    return History([item for item, _ in events], ["view"] * len(events), np.array([at for _, at in events], np.int64))


WHOLE = history(("a", 1), ("b", 5), ("c", 5), ("b", 5), ("d", 9))


@pytest.mark.parametrize(
    ("stored", "target", "at", "place", "expected"),
    [
        (WHOLE, "d", 9, 4, ["a", "b", "c", "b"]),
        (WHOLE, "c", 5, 2, ["a", "b"]),  # events of one moment keep their order
        (WHOLE, "b", 5, 1, ["a"]),
        (WHOLE, "b", 5, 3, ["a", "b", "c"]),
        (WHOLE, "a", 1, 0, []),
        (history(("c", 5), ("b", 5), ("d", 9)), "d", 9, 4, ["c", "b"]),  # the oldest were cut
        (history(("a", 1), ("b", 5)), "d", 9, 4, ["a", "b"]),  # a store of an earlier time
        (history(("a", 1), ("x", 9), ("e", 10)), "d", 9, 4, ["a"]),  # never what came after
        (EMPTY_HISTORY, "d", 9, 4, []),
    ],
)
def test_a_stored_history_ends_before_the_target(
    stored: History, target: str, at: int, place: int, expected: list[str]
) -> None:
    found = history_before(stored, target, at, place)
    assert list(found.item_ids) == expected
    assert len(found.actions) == len(found.timestamps) == len(expected)


def test_requests_are_what_the_log_knew(tmp_path: Path) -> None:
    dataset = tiny_dataset(tmp_path)
    histories = dataset.histories
    split = leave_one_out(histories)
    records = {
        user: StoredUser(read_history(record.history), read_values(record.profile))
        for user, record in user_records(dataset)
    }
    features = fit_features(TINY_FEATURES, dataset, split)
    requests = PastRequests(dataset, features, records, k=7, longest=3)  # type: ignore[arg-type]
    rows = split.test[:20]
    for row, request in zip(rows.tolist(), requests.before(rows), strict=True):
        user = int(histories.users_of(np.array([row]))[0])
        first = int(histories.offsets[user])
        expected = [histories.item_ids[int(code)].as_py() for code in histories.items[max(first, row - 3) : row]]
        assert list(request.history.item_ids) == expected
        assert (request.user_id, request.k) == (histories.user_ids[user].as_py(), 7)
        assert request.at == histories.timestamps[row]
        assert set(request.context) == {"device"}
    # of somebody who is not in the store, the service knows nothing either
    records.clear()
    assert not any(request.HasField("history") for request in requests.before(rows))
