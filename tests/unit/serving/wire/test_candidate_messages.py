from __future__ import annotations

import time

import pytest

from retrieval.data.corpus import CorpusConfig, Seen
from retrieval.errors import RequestError
from retrieval.index import Query
from retrieval.serving.config import ServingConfig
from retrieval.serving.core.answer import CandidateAnswer, Source, Timings
from retrieval.serving.core.candidates import Request, check_batch
from retrieval.serving.wire.candidate_messages import batch_message, read_request
from retrieval.types import ModelVersion, SpaceId
from retrieval.v1.candidates_pb2 import GetCandidatesRequest, SeenBy

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


def test_hours_of_what_was_seen_are_as_asked_else_as_declared() -> None:
    corpus = CorpusConfig(seen_hours=2.0)

    def read(**fields: object) -> Request:
        return read_request(GetCandidatesRequest(user_id="u", k=1, **fields), "m", ServingConfig(), corpus)  # type: ignore[arg-type]

    assert read().seen == Seen(hours=2.0)
    assert read(seen_hours=0.5).seen == Seen(hours=0.5)
    assert read(allow_seen=False, seen_hours=0.5).seen == Seen(hours=0.5)
    assert read(allow_seen=True).seen == Seen(allowed=True)
    assert read(allow_seen=False).seen == Seen()
    with pytest.raises(RequestError, match=r"seen_hours: .* allow_seen is set; send one of them"):
        read(allow_seen=True, seen_hours=1.0)
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(RequestError, match=r"seen_hours: .* above 0"):
            read(seen_hours=wrong)


def test_what_a_request_leaves_open_of_what_was_seen_is_as_declared() -> None:
    corpus = CorpusConfig(allow_seen=True, seen_by=("series",), seen_by_events=3)

    def read(**fields: object) -> Request:
        return read_request(GetCandidatesRequest(user_id="u", k=1, **fields), "m", ServingConfig(), corpus)  # type: ignore[arg-type]

    silent = read()
    assert silent.seen == Seen(allowed=True)
    assert silent.seen_by is not None
    assert (silent.seen_by.attributes, silent.seen_by.events, silent.seen_by.declared) == (("series",), 3, True)
    said = read(allow_seen=False, seen_by=SeenBy(attributes=["family", "family"]))
    assert said.seen == Seen()
    assert said.seen_by is not None
    assert (said.seen_by.attributes, said.seen_by.events, said.seen_by.declared) == (("family",), 3, False)
    nothing = read(seen_by=SeenBy(events=9)).seen_by
    assert nothing is not None
    assert nothing.attributes == ()
