"""ANN hosts as objects in this process, for the engine to ask as it asks those behind the wire."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from retrieval.errors import DeadlineError
from retrieval.index.query import ItemAttributes
from retrieval.serving.ann.host import AnnHost
from retrieval.serving.core.hosts import HostAnswer, HostAttributes, HostSearch


@dataclass(slots=True)
class _Here:
    """A search that runs in the thread that waits for it."""

    run: Callable[[], HostAnswer]

    def result(self) -> HostAnswer:
        return self.run()

    def cancel(self) -> None:
        """Nothing is under way."""


@dataclass(slots=True)
class _Beside:
    """A search that runs in a thread of its own."""

    future: Future[HostAnswer]
    address: str
    timeout_s: float

    def result(self) -> HostAnswer:
        try:
            return self.future.result(self.timeout_s)
        except TimeoutError:
            raise DeadlineError(f"{self.address}: the search took over {self.timeout_s:.3g} s") from None

    def cancel(self) -> None:
        self.future.cancel()


@dataclass(slots=True)
class _AttributesHere:
    """Attributes that are looked up in the thread that waits for them: it takes microseconds."""

    run: Callable[[], ItemAttributes]

    def result(self) -> ItemAttributes:
        return self.run()


class InProcessHosts:
    """The hosts of one model by address: any text that names one. Several shards are searched side by side."""

    def __init__(self, hosts: Mapping[str, AnnHost]) -> None:
        self._hosts = dict(hosts)
        self._threads = ThreadPoolExecutor(len(hosts), thread_name_prefix="shard") if len(hosts) > 1 else None

    def search(self, searches: Sequence[HostSearch], timeout_s: float) -> list[_Here] | list[_Beside]:
        """Begin a search on each of several hosts."""
        if self._threads is None or len(searches) == 1:
            return [_Here(self._run(search)) for search in searches]
        return [_Beside(self._threads.submit(self._run(search)), search.address, timeout_s) for search in searches]

    def attributes(self, asked: Sequence[HostAttributes], timeout_s: float) -> list[_AttributesHere]:
        """Ask several hosts for attributes of items."""
        del timeout_s
        return [_AttributesHere(self._look_up(one)) for one in asked]

    def close(self) -> None:
        """End the threads."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    def _look_up(self, asked: HostAttributes) -> Callable[[], ItemAttributes]:
        host = self._hosts[asked.address]
        return lambda: host.attributes(host.model, asked.item_ids, asked.names)

    def _run(self, search: HostSearch) -> Callable[[], HostAnswer]:
        host = self._hosts[search.address]
        return lambda: host.search(host.model, search.space_id, search.vectors, search.queries)
