from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from retrieval.errors import ConflictError
from retrieval.registry import Registry


def test_a_lease_is_one_holders_until_it_runs_out(registry: Registry) -> None:
    first = registry.leases.take("schedule/feed", "a", 60)
    assert first is not None
    assert registry.leases.take("schedule/feed", "b", 60) is None
    assert registry.leases.take("schedule/other", "b", 60) is not None
    again = registry.leases.take("schedule/feed", "a", 60)
    assert again is not None
    assert again.token == first.token
    assert again.expires_at >= first.expires_at


def test_one_that_ran_out_is_taken_with_a_greater_token_and_its_old_holder_is_told(registry: Registry) -> None:
    old = registry.leases.take("schedule/feed", "a", -1)
    assert old is not None
    new = registry.leases.take("schedule/feed", "b", 60)
    assert new is not None
    assert new.token > old.token
    with pytest.raises(ConflictError, match="taken over by b, a has lost it"):
        registry.leases.renew(old, 60)
    registry.leases.release(old)  # is left to who has it
    assert registry.leases.take("schedule/feed", "a", 60) is None
    found = registry.leases.find("schedule/feed")
    assert found == new


def test_a_holder_that_slept_past_the_end_goes_on_where_nobody_took_it(registry: Registry) -> None:
    lease = registry.leases.take("schedule/feed", "a", -1)
    assert lease is not None
    renewed = registry.leases.renew(lease, 60)
    assert renewed.token == lease.token
    assert registry.leases.take("schedule/feed", "b", 60) is None


def test_one_that_is_released_is_free_at_once_and_tokens_still_grow(registry: Registry) -> None:
    lease = registry.leases.take("schedule/feed", "a", 60)
    assert lease is not None
    registry.leases.release(lease)
    new = registry.leases.take("schedule/feed", "b", 60)
    assert new is not None
    assert new.token == lease.token + 1


def test_of_several_that_take_it_at_once_one_has_it(registry: Registry) -> None:
    start = threading.Barrier(4)

    def attempt(holder: str) -> int | None:
        start.wait()
        lease = registry.leases.take("schedule/feed", holder, 60)
        return None if lease is None else lease.token

    with ThreadPoolExecutor(4) as pool:
        tokens = list(pool.map(attempt, "abcd"))
    assert sorted(token for token in tokens if token is not None) == [1]


def test_who_took_it_from_whom_is_in_the_audit_trail(registry: Registry) -> None:
    registry.leases.take("schedule/feed", "a", -1)
    registry.leases.take("schedule/feed", "b", 60)
    newest = registry.audit(subject="schedule/feed")[0]
    assert (newest.action, newest.details) == ("lease.take", {"holder": "b", "token": 2, "before": "a"})
