"""Candidates in the caller's own process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Unpack

import numpy as np
import pyarrow as pa

from retrieval.api.candidates import Candidates
from retrieval.api.request import RequestOptions, request_message
from retrieval.errors import NotFoundError
from retrieval.serving.core.answer import CandidateAnswer
from retrieval.types import BuildId

if TYPE_CHECKING:
    from retrieval.registry import BuildRow
    from retrieval.serving.in_process.service import InProcessService
    from retrieval.workflows.workspace import Workspace as Opened

ItemColumns = Callable[[Sequence[str]], pa.Table]


class Retriever:
    """Answers for users, here and now: the engine, the checks and the user store of the services, without ports.

    Thread-safe. Close it, or use it as a context manager.
    """

    def __init__(self, service: InProcessService, items: ItemColumns) -> None:
        self._service, self._items = service, items
        self._closed = False

    def __repr__(self) -> str:
        return f"<Retriever on {self.build}>"

    @property
    def build(self) -> str:
        """The index build that is searched: `shop-b3`."""
        return str(self._service.build)

    def candidates(
        self, user_id: str = "", k: int = 10, *, timeout: float | None = None, **options: Unpack[RequestOptions]
    ) -> Candidates:
        """The k best candidates for a user, fewer where there are no more.

        A user who is not in the store is answered from `context`, `profile` and `history`. Keywords beside `timeout`
        (s; `serving.deadline_ms` unless given):

        - `context`: what is known now, by column; `profile`: values that go before the stored ones
        - `history`: events in place of the stored ones, oldest first: (item id, when) or (item id, when, action)
        - `filter`: only items that pass: `{"genre": ["drama", "crime"]}`, or as the command takes them, all of which
          must hold: `["price=1..5", "colour!=red"]`
        - `exclude`: item ids that must not come back; `allow_seen`: whether those of the history may
        - `seen_by`: item attributes such as a series: what shares a value with one of the newest
          `seen_by_events` of the history does not come back; like `allow_seen` as [corpus] declares, unless given
        - `attributes`: item attributes that the answer shall show
        - `at`: the time of the request, µs since 1970 or a datetime; now, unless given
        - `ef`, `visit_budget`, `time_budget_us`: how broadly each shard is searched, and the most that it may cost

        Raises RequestError (says what to change), UnavailableError, DeadlineError.
        """
        return self.batch([user_id], k, timeout=timeout, **options)[0]

    def batch(
        self, user_ids: Sequence[str], k: int = 10, *, timeout: float | None = None, **options: Unpack[RequestOptions]
    ) -> list[Candidates]:
        """Candidates for several users, in their order; they share tower calls and searches. Keywords as above."""
        if self._closed:
            raise NotFoundError("this retriever was closed; open another one")
        messages = [request_message(user_id, k, options) for user_id in user_ids]
        answers = self._service.answer(messages, timeout)
        return [_candidates(user_id, answer, self._items) for user_id, answer in zip(user_ids, answers, strict=True)]

    def close(self) -> None:
        """Let go of the index, the user tower and the user store."""
        if not self._closed:
            self._closed = True
            self._service.close()

    def __enter__(self) -> Retriever:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_retriever(opened: Opened, build: BuildRow, *, show: bool) -> Retriever:
    """A retriever on a build of a workspace, whose user store is filled first where it is not of the log as it is."""
    from retrieval.workflows.fleet.services import open_in_process
    from retrieval.workflows.fleet.users import load_users, users_are_current

    dataset = opened.dataset(show=show)
    if not users_are_current(opened, dataset.snapshot):
        load_users(opened, dataset=dataset, show=show)
    known = dataset.items.drop_columns(dataset.items.column_names[:1])

    def item_columns(item_ids: Sequence[str]) -> pa.Table:
        return known.take(pa.array(dataset.histories.item_rows(item_ids)))

    return Retriever(open_in_process(opened, build), item_columns)


def _candidates(user_id: str, answer: CandidateAnswer, items: ItemColumns) -> Candidates:
    versions = tuple(str(source.version) for source in answer.sources)
    timings = answer.timings
    return Candidates(
        user_id=user_id,
        item_ids=tuple(answer.item_ids),
        scores=np.asarray(answer.scores, np.float32),
        versions=versions,
        builds=tuple(
            dict.fromkeys(str(BuildId(source.version.model, b)) for source in answer.sources for b in source.builds)
        ),
        version_of_item=tuple(versions[source] for source in answer.source_of_item),
        merged_by_rank=answer.by_rank,
        shards_asked=answer.shards_asked,
        shards_answered=answer.shards_answered,
        user_known=answer.known,
        truncated=answer.truncated,
        new_items=answer.new_items,
        ignored=tuple(map(str, answer.ignored)),
        attributes=answer.attributes,
        timings={
            "user": answer.user_us,
            "tower": timings.tower_us,
            "search": timings.search_us,
            "host_search": timings.host_search_us,
            "merge": timings.merge_us,
        },
        item_columns=items,
    )
