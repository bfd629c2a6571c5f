"""Requests for candidates from their messages, checked, and answers as messages."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from retrieval.data.corpus.config import CorpusConfig
from retrieval.data.corpus.seen import Seen
from retrieval.errors import RequestError
from retrieval.index.query import Query
from retrieval.serving.config import ServingConfig
from retrieval.serving.core.answer import CandidateAnswer
from retrieval.serving.core.attributes import SeenBy
from retrieval.serving.core.candidates import Request, check_request
from retrieval.serving.wire.filters import column_message, read_filter
from retrieval.serving.wire.user_messages import check_history, read_history, read_values
from retrieval.v1 import candidates_pb2

_REASONS = {"unknown": candidates_pb2.IgnoredColumn.REASON_UNKNOWN, "nan": candidates_pb2.IgnoredColumn.REASON_NAN}


def read_request(
    message: candidates_pb2.GetCandidatesRequest,
    model: str,
    config: ServingConfig,
    corpus: CorpusConfig,
    *,
    name: str = "",
) -> Request:
    """A request to a service of `model`, from its message, checked. `name` goes before the field that an error names.

    What it doesn't say of what was seen is as the `corpus` declares.

    Raises RequestError that says what to change.
    """
    if message.model and message.model != model:
        raise RequestError(f"{name}model: {message.model[:64]!r}; this service serves {model!r}")
    history = None
    try:
        if message.HasField("history"):
            check_history(message.history, config.max_history)
            history = read_history(message.history)
        query = Query(
            message.k,
            message.ef or None,
            read_filter(message.filter) if message.HasField("filter") else None,
            message.exclude_item_ids,
            message.visit_budget,
            message.time_budget_us,
        )
    except RequestError as error:
        raise RequestError(f"{name}{error}") from None
    request = Request(
        user_id=message.user_id,
        query=query,
        context=read_values(message.context),
        history=history,
        profile=read_values(message.profile),
        seen=_read_seen(message, corpus, name),
        at=message.at,
        seen_by=_read_seen_by(message, corpus),
        attributes=tuple(dict.fromkeys(message.attributes)),
    )
    check_request(request, config, name=name)
    return request


def _read_seen(message: candidates_pb2.GetCandidatesRequest, corpus: CorpusConfig, name: str) -> Seen:
    if message.HasField("seen_hours"):
        if message.allow_seen:
            raise RequestError(f"{name}seen_hours: what is seen is left out, but allow_seen is set; send one of them")
        if not 0 < message.seen_hours < math.inf:
            raise RequestError(f"{name}seen_hours: {message.seen_hours:g}; a number above 0 is expected")
        return Seen(allowed=False, hours=message.seen_hours)
    return Seen(message.allow_seen) if message.HasField("allow_seen") else corpus.seen


def _read_seen_by(message: candidates_pb2.GetCandidatesRequest, corpus: CorpusConfig) -> SeenBy:
    if not message.HasField("seen_by"):
        return SeenBy(corpus.seen_by, corpus.seen_by_events, declared=True)
    asked = message.seen_by
    return SeenBy(tuple(dict.fromkeys(asked.attributes)), asked.events or corpus.seen_by_events)


def answer_message(answer: CandidateAnswer, started: int) -> candidates_pb2.GetCandidatesResponse:
    """An answer as its message; `started` is when its request came, by time.perf_counter_ns."""
    timings = answer.timings
    merged = candidates_pb2.MERGED_BY_RANK if answer.by_rank else candidates_pb2.MERGED_BY_SCORE
    return candidates_pb2.GetCandidatesResponse(
        item_ids=answer.item_ids,
        scores=answer.scores,
        versions=[
            candidates_pb2.ServedVersion(
                model=source.version.model,
                version=source.version.version,
                space_id=source.space_id,
                builds=source.builds,
                shards=source.shards,
                as_of=source.as_of,
            )
            for source in answer.sources
        ],
        version_of_item=answer.source_of_item,
        merged_by=merged,
        shards_asked=answer.shards_asked,
        shards_answered=answer.shards_answered,
        user_known=answer.known,
        truncated=answer.truncated,
        new_items=answer.new_items,
        attributes=[column_message(name, column) for name, column in answer.attributes.items()],
        ignored_columns=[
            candidates_pb2.IgnoredColumn(column=one.column, reason=_REASONS[one.reason]) for one in answer.ignored
        ],
        timings=candidates_pb2.Timings(
            total_us=(time.perf_counter_ns() - started) // 1000,
            user_us=answer.user_us,
            queue_us=timings.queue_us,
            tower_us=timings.tower_us,
            search_us=timings.search_us,
            host_search_us=timings.host_search_us,
            merge_us=timings.merge_us,
            batch_size=timings.batch_size,
            attempts=timings.attempts,
        ),
    )


def batch_message(
    answers: Sequence[CandidateAnswer], started: int, config: ServingConfig
) -> candidates_pb2.BatchGetCandidatesResponse:
    """Answers to a batch as their message. Raises RequestError where it is larger than clients may read."""
    message = candidates_pb2.BatchGetCandidatesResponse(answers=[answer_message(one, started) for one in answers])
    size = message.ByteSize()
    if size > config.max_answer_mib << 20:
        raise RequestError(
            f"requests: the answers take {size:,} bytes; at most {config.max_answer_mib} MiB are sent "
            "(serving.max_answer_mib): split the batch, or ask for fewer candidates"
        )
    return message
