from __future__ import annotations

import time

import pytest

from retrieval.errors import RequestError
from retrieval.index import Query
from retrieval.serving.config import ServingConfig
from retrieval.serving.core.answer import CandidateAnswer, Source, Timings
from retrieval.serving.core.candidates import Request, check_batch
from retrieval.serving.wire.candidate_messages import batch_message
from retrieval.types import ModelVersion, SpaceId

CLIENTS_READ = 4 << 20  # gRPC's own limit


def answer(k: int, id_bytes: int) -> CandidateAnswer:
    """Merged from two versions, which takes most room."""
    sources = tuple(Source(ModelVersion("demo", n), SpaceId("f" * 64), (9, 9), (0, 1)) for n in (1, 2))
    ids = [f"{n:0{id_bytes}}" for n in range(k)]
    return CandidateAnswer(ids, [0.5] * k, sources, [n % 2 for n in range(k)], True, 2, 2, True, 10, Timings(9, 9, 9))


@pytest.mark.parametrize(("users", "k"), [(1000, 60), (30, 2000)])
def test_what_settings_allow_of_ids_like_uuids_is_read_by_ordinary_clients(users: int, k: int) -> None:
    config = ServingConfig()
    check_batch([Request("u", Query(k))] * users, config)
    assert batch_message([answer(k, 36)] * users, time.perf_counter_ns(), config).ByteSize() <= CLIENTS_READ


def test_the_longest_ids_are_read_of_one_user_and_refused_of_many() -> None:
    config = ServingConfig()
    assert batch_message([answer(2000, 1024)], time.perf_counter_ns(), config).ByteSize() <= CLIENTS_READ
    with pytest.raises(RequestError, match=r"at most 4 MiB are sent \(serving.max_answer_mib\): split"):
        batch_message([answer(2000, 1024)] * 3, time.perf_counter_ns(), config)
    raised = config.model_copy(update={"max_answer_mib": 8})
    assert batch_message([answer(2000, 1024)] * 3, time.perf_counter_ns(), raised).ByteSize() > CLIENTS_READ


def test_a_sum_over_the_limit_says_what_to_do() -> None:
    with pytest.raises(RequestError, match=r"61,000 candidates in all; at most 60,000 .*split the batch"):
        check_batch([Request("u", Query(61))] * 1000, ServingConfig())
