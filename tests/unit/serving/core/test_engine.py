"""The engine against stand-in hosts and towers: each number of a vector is the version that it was made for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field

import numpy as np
import pytest

from retrieval.errors import DeadlineError, RequestError, RetrievalError, UnavailableError
from retrieval.filters.filter import AnyOf
from retrieval.filters.values import ValueColumn
from retrieval.index import Hits, Query
from retrieval.index.query import ItemAttributes
from retrieval.index.sharding import shard_of
from retrieval.serving.core.answer import CandidateAnswer
from retrieval.serving.core.attributes import SeenBy, SeenItems
from retrieval.serving.core.engine import Engine
from retrieval.serving.core.fleet import Fleet
from retrieval.serving.core.held_towers import HeldTowers, Tower
from retrieval.serving.core.hosts import HostAnswer, HostAttributes, HostRefusedError, HostSearch
from retrieval.serving.core.metadata import HostMetadata, ServedBuild
from retrieval.serving.core.pending import Pending
from retrieval.towers.user_input import UserInput
from retrieval.types import BuildId, ModelVersion, SpaceId


class StandInTower:
    context_columns = frozenset({"bad", "age"})
    profile_columns = frozenset({"country"})

    def __init__(self, of: ModelVersion) -> None:
        self.version = of
        self.space_id = SpaceId(f"space-{of.version}")

    def embed(self, inputs: Sequence[UserInput]) -> np.ndarray:
        if any(given.context.get("bad") for given in inputs):
            raise RequestError("feature 'bad': can't be encoded")
        return np.full((len(inputs), 2), self.version.version, np.float32)


class ManyMindedTower(StandInTower):
    """Version n gives a user n vectors; the last number of each says which it is."""

    def embed(self, inputs: Sequence[UserInput]) -> np.ndarray:
        interests = self.version.version
        vectors = np.full((len(inputs), interests, 2), interests, np.float32)
        vectors[:, :, 1] = np.arange(interests)
        return vectors if interests > 1 else vectors[:, 0]


@dataclass
class StandInHost:
    """Serves `version`; `before` runs when a search arrives, before the version is looked at."""

    shard: int
    version: int
    shards: int = 2
    down: bool = False
    hang: bool = False
    apart: bool = False
    """Items are named by the vector that asked, not by the version."""
    before: Callable[[], None] = lambda: None
    truncates: Callable[[int], bool] = lambda _: False
    """Whether the query at a position is ended by a budget."""
    attributes: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    """By name, by item."""
    looked_up: list[list[str]] = field(default_factory=list)
    queries: list[Query] = field(default_factory=list)
    """Of the last search."""
    asked: list[float] = field(default_factory=list)
    vectors: list[np.ndarray] = field(default_factory=list)

    def metadata(self) -> HostMetadata:
        version = ModelVersion("m", self.version)
        space = SpaceId(f"space-{self.version}")
        build = ServedBuild(version, space, BuildId("m", self.version), self.shard, self.shards, 2, 10, 1.0)
        return HostMetadata(f"h{self.shard}", self.shard, build)


@dataclass
class _Call:
    answer: Callable[[], HostAnswer]
    cancelled: bool = False

    def result(self) -> HostAnswer:
        return self.answer()

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class _AttributesCall:
    host: StandInHost
    asked: HostAttributes

    def result(self) -> ItemAttributes:
        if self.host.down:
            raise UnavailableError(f"{self.asked.address}: down")
        self.host.looked_up.append(list(self.asked.item_ids))
        names = [name for name in self.asked.names if name in self.host.attributes]
        values = {name: [self.host.attributes[name].get(item, ()) for item in self.asked.item_ids] for name in names}
        return ItemAttributes(self.asked.item_ids, {name: ValueColumn(tuple(of)) for name, of in values.items()})


class Hosts:
    """Stands in for the connections."""

    def __init__(self, **hosts: StandInHost) -> None:
        self.hosts = hosts

    def search(self, searches: Sequence[HostSearch], timeout_s: float) -> list[_Call]:
        return [self._begin(search, timeout_s) for search in searches]

    def attributes(self, asked: Sequence[HostAttributes], timeout_s: float) -> list[_AttributesCall]:
        del timeout_s
        return [_AttributesCall(self.hosts[one.address], one) for one in asked]

    def _begin(self, search: HostSearch, timeout_s: float) -> _Call:
        host, address, vectors, queries = self.hosts[search.address], search.address, search.vectors, search.queries

        def answer() -> HostAnswer:
            host.before()
            host.asked.append(float(vectors[0, 0]))
            host.vectors.append(vectors)
            host.queries = list(queries)
            if host.hang:
                time.sleep(timeout_s)
                raise DeadlineError(f"{address}: silent")
            if host.down:
                raise UnavailableError(f"{address}: down")
            if search.space_id != f"space-{host.version}":
                raise HostRefusedError("another space", host.metadata())
            assert (vectors[:, 0] == host.version).all(), "a vector of another space was searched"
            assert len(vectors) == len(queries)
            of = vectors[:, 1].astype(int) if host.apart else np.full(len(queries), host.version)
            ids = [[f"{host.shard}-{o}-{n}" for n in range(query.k)] for o, query in zip(of, queries, strict=True)]
            scores = [np.linspace(1, 0, query.k, dtype=np.float32) - host.shard * 1e-3 for query in queries]
            cut = [host.truncates(position) for position in range(len(queries))]
            return HostAnswer([*map(Hits, ids, scores, cut)], host.metadata(), 7)

        return _Call(answer)


def engine_on(
    hosts: Hosts,
    *,
    towers: Sequence[int] = (1, 2),
    patience_s: float = 0.2,
    strict_inputs: bool = False,
    tower: Callable[[ModelVersion], Tower] = StandInTower,
) -> tuple[Engine, Fleet]:
    held = HeldTowers(tower, latest=9)
    for number in towers:
        held._fetch(ModelVersion("m", number))
    fleet = Fleet(held.ready)
    fleet.add(hosts.hosts)
    for address, host in hosts.hosts.items():
        fleet.heard(address, host.metadata())
    engine = Engine(fleet, held, hosts, search_timeout_s=0.2, patience_s=patience_s, strict_inputs=strict_inputs)
    return engine, fleet


def ask(engine: Engine, *contexts: dict[str, object], k: int = 4, deadline_s: float = 5.0) -> list[Pending]:
    pieces = [
        Pending(UserInput(context=context), Query(k), time.monotonic() + deadline_s) for context in contexts or ({},)
    ]
    engine.answer(pieces)
    return pieces


def versions(answer: CandidateAnswer) -> list[int]:
    return [source.version.version for source in answer.sources]


def test_shards_of_one_version_are_merged_by_score() -> None:
    engine, _ = engine_on(Hosts(a=StandInHost(0, 1), b=StandInHost(1, 1)))
    [piece] = ask(engine)
    answer = piece.answer.result(0)
    assert versions(answer) == [1]
    assert answer.item_ids == ["0-1-0", "1-1-0", "0-1-1", "1-1-1"]
    assert not answer.by_rank
    assert answer.sources[0].shards == (0, 1)
    assert (answer.shards_asked, answer.shards_answered, answer.timings.attempts) == (2, 2, 1)


def test_users_with_several_vectors_are_as_many_queries_and_get_one_list_each() -> None:
    hosts = Hosts(a=StandInHost(0, 3, apart=True), b=StandInHost(1, 3, apart=True))
    engine, _ = engine_on(hosts, towers=(3,), tower=ManyMindedTower)
    for piece in ask(engine, {}, {}, k=5):
        answer = piece.answer.result(0)
        # the vectors' lists have equal scores, and no item in common: their heads come first, shard by shard
        assert answer.item_ids == ["0-0-0", "0-1-0", "0-2-0", "1-0-0", "1-1-0"]
        assert answer.timings.batch_size == 2
    assert hosts.hosts["a"].vectors[0].tolist() == [[3, 0], [3, 1], [3, 2]] * 2


def test_an_item_that_several_vectors_find_stands_once() -> None:
    engine, _ = engine_on(Hosts(a=StandInHost(0, 3, shards=1)), towers=(3,), tower=ManyMindedTower)
    [piece] = ask(engine)
    assert piece.answer.result(0).item_ids == ["0-3-0", "0-3-1", "0-3-2", "0-3-3"]


def test_versions_may_differ_in_their_number_of_vectors() -> None:
    """Shards of a version with one vector a user and of one with two: each is asked as its version wants it."""
    hosts = Hosts(a=StandInHost(0, 1), b=StandInHost(1, 2))
    engine, _ = engine_on(hosts, tower=ManyMindedTower)
    for piece in ask(engine, {}, {}):
        answer = piece.answer.result(0)
        assert (versions(answer), answer.by_rank) == ([1, 2], True)
        assert answer.item_ids == ["0-1-0", "1-2-0", "0-1-1", "1-2-1"]
    assert [len(hosts.hosts[name].vectors[0]) for name in ("a", "b")] == [2, 4]


@pytest.mark.parametrize("version", [1, 2])
def test_an_answer_says_where_a_budget_ended_the_search_of_a_shard(version: int) -> None:
    """By score as by rank (shards of two versions), and for any of a user's vectors."""
    hosts = Hosts(
        a=StandInHost(0, 1), b=StandInHost(1, version, truncates=lambda position: position == 2 * version - 1)
    )
    engine, _ = engine_on(hosts, tower=ManyMindedTower)
    found = [piece.answer.result(0) for piece in ask(engine, {}, {}, {})]
    assert [answer.by_rank for answer in found] == [version == 2] * 3
    # version 2 asks with two vectors a user: position 3 is the second of the second user
    assert [answer.truncated for answer in found] == [False, True, False]


def test_a_refusal_makes_it_embed_again_with_the_version_named() -> None:
    hosts = Hosts(a=StandInHost(0, 1), b=StandInHost(1, 1))
    engine, _ = engine_on(hosts)
    hosts.hosts["a"].version = hosts.hosts["b"].version = 2  # behind the service's back
    [piece] = ask(engine)
    answer = piece.answer.result(0)
    assert versions(answer) == [2]
    assert answer.timings.attempts == 2
    assert hosts.hosts["a"].asked == [1.0, 2.0]


def test_hosts_that_flip_between_plan_and_search_never_mix_spaces() -> None:
    """A host changes its version at each of the first searches: in the end one answer, of what was really searched."""
    flips = iter([2, 1, 2, 1, 2])
    host = StandInHost(0, 1, shards=1)

    def flip() -> None:
        host.version = next(flips, host.version)

    host.before = flip
    engine, _ = engine_on(Hosts(a=host))
    [piece] = ask(engine)
    answer = piece.answer.result(0)
    assert versions(answer) == [host.version]
    assert answer.timings.attempts > 2


def test_a_lost_host_is_replaced_by_its_replica() -> None:
    hosts = Hosts(a=StandInHost(0, 1), c=StandInHost(0, 1), b=StandInHost(1, 1))
    engine, fleet = engine_on(hosts)
    hosts.hosts["a"].down = True
    for _ in range(20):
        [piece] = ask(engine)
        assert len(piece.answer.result(0).item_ids) == 4
    assert [view.address for view in fleet.views() if not view.reachable] == ["a"]
    assert len(hosts.hosts["a"].asked) <= 1


def test_a_silent_host_is_replaced_within_the_deadline() -> None:
    hosts = Hosts(a=StandInHost(0, 1, hang=True), c=StandInHost(0, 1), b=StandInHost(1, 1))
    engine, _ = engine_on(hosts)
    for _ in range(10):
        [piece] = ask(engine)
        assert piece.answer.result(0).shards_answered == 2
    assert len(hosts.hosts["a"].asked) <= 1


def test_an_answer_of_an_earlier_round_is_kept_where_it_fits() -> None:
    hosts = Hosts(a=StandInHost(0, 1), b=StandInHost(1, 1, down=True), c=StandInHost(1, 1))
    engine, _ = engine_on(hosts)
    for _ in range(10):
        ask(engine)
    assert len(hosts.hosts["a"].asked) == 10


def test_without_a_common_version_the_merge_is_by_rank_and_says_so() -> None:
    engine, _ = engine_on(Hosts(a=StandInHost(0, 1), b=StandInHost(1, 2)))
    [piece] = ask(engine)
    answer = piece.answer.result(0)
    assert answer.by_rank
    assert versions(answer) == [1, 2]
    assert answer.item_ids == ["0-1-0", "1-2-0", "0-1-1", "1-2-1"]
    assert list(answer.source_of_item) == [0, 1, 0, 1]


def test_the_same_space_cut_into_other_shards_is_not_taken_for_the_planned_one() -> None:
    hosts = Hosts(a=StandInHost(0, 1, shards=1))
    engine, _ = engine_on(hosts)
    hosts.hosts["a"].shards = 2  # the same version, but now only half of the items
    [piece] = ask(engine)
    with pytest.raises(UnavailableError, match="shard 1 of 2"):
        piece.answer.result(0)


def test_a_bad_request_fails_alone() -> None:
    engine, _ = engine_on(Hosts(a=StandInHost(0, 1, shards=1)))
    pieces = ask(engine, {}, {}, {"bad": True}, {}, {})
    outcomes = [type(piece.answer.exception(0)).__name__ for piece in pieces]
    assert outcomes == ["NoneType", "NoneType", "RequestError", "NoneType", "NoneType"]


def test_an_answer_names_the_columns_that_had_no_effect() -> None:
    engine, _ = engine_on(Hosts(a=StandInHost(0, 1), b=StandInHost(1, 2)))  # named once, by two versions
    context = {"page": "home", "age": float("nan")}
    piece = Pending(UserInput(context=context), Query(4), time.monotonic() + 5, profile={"shoe": 43, "country": "BR"})
    engine.answer([piece])
    assert [*map(str, piece.answer.result(0).ignored)] == ["context.page", "context.age (NaN)", "profile.shoe"]
    known, none = ask(engine, {"age": 3.0}, {})
    assert known.answer.result(0).ignored == none.answer.result(0).ignored == ()


def test_strict_inputs_refuse_such_a_request_alone() -> None:
    engine, _ = engine_on(Hosts(a=StandInHost(0, 1, shards=1)), strict_inputs=True)
    good, unknown, nan = ask(engine, {"age": 3.0}, {"page": "home"}, {"age": float("nan")})
    assert len(good.answer.result(0).item_ids) == 4
    known = r"The features of m@1 read context.age, context.bad and profile.country"
    with pytest.raises(RequestError, match=rf"^context.page: ignored, .*{known}"):
        unknown.answer.result(0)
    with pytest.raises(RequestError, match=r"^context.age \(NaN\): ignored"):
        nan.answer.result(0)


def test_no_host_is_said_after_a_short_wait() -> None:
    engine, _ = engine_on(Hosts(a=StandInHost(0, 1)))
    [piece] = ask(engine)
    with pytest.raises(UnavailableError, match="shard 1 of 2"):
        piece.answer.result(0)


def test_a_host_that_comes_back_is_waited_for() -> None:
    hosts = Hosts(a=StandInHost(0, 1, shards=1))
    engine, fleet = engine_on(hosts, patience_s=5)
    fleet.lost("a", "gone")
    timer = threading.Timer(0.1, lambda: fleet.heard("a", hosts.hosts["a"].metadata()))
    timer.start()
    [piece] = ask(engine)
    assert piece.answer.result(0).shards_answered == 1


def test_a_tower_that_is_loading_is_waited_for_until_the_deadline() -> None:
    engine, _ = engine_on(Hosts(a=StandInHost(0, 1, shards=1)), towers=(), patience_s=0.01)
    [piece] = ask(engine, deadline_s=0.3)
    with pytest.raises(DeadlineError, match="m@1"):
        piece.answer.result(0)


def test_a_deadline_that_has_passed_is_not_worked_on() -> None:
    hosts = Hosts(a=StandInHost(0, 1, shards=1))
    engine, _ = engine_on(hosts)
    [piece] = ask(engine, deadline_s=-1)
    with pytest.raises(DeadlineError):
        piece.answer.result(0)
    assert hosts.hosts["a"].asked == []


def test_our_own_deadline_is_not_held_against_a_host() -> None:
    hosts = Hosts(a=StandInHost(0, 1, shards=1, hang=True))
    engine, fleet = engine_on(hosts)
    [piece] = ask(engine, deadline_s=0.05)
    with pytest.raises(DeadlineError):
        piece.answer.result(0)
    assert all(view.reachable for view in fleet.views())


def test_what_nobody_foresaw_reaches_the_caller() -> None:
    host = StandInHost(0, 1, shards=1)

    def explode() -> None:
        raise ZeroDivisionError

    host.before = explode
    engine, _ = engine_on(Hosts(a=host))
    [piece] = ask(engine)
    assert isinstance(piece.answer.exception(0), ZeroDivisionError)
    assert not isinstance(piece.answer.exception(0), (RetrievalError, FutureTimeoutError))


SERIES = {f"s{n}": (f"series {n % 3}",) for n in range(9)}


def two_shards() -> tuple[Hosts, StandInHost, StandInHost]:
    """Hosts that hold the series of the items of their own shards."""
    both = [StandInHost(shard, 1) for shard in range(2)]
    for host in both:
        host.attributes = {"series": {item: of for item, of in SERIES.items() if shard_of(item, 2) == host.shard}}
    return Hosts(a=both[0], b=both[1]), *both


def seeing(*item_ids: str, by: str = "series", declared: bool = False) -> SeenItems:
    return SeenItems(SeenBy((by,), 10, declared), item_ids)


def piece_of(seen: SeenItems | None = None, attributes: tuple[str, ...] = ()) -> Pending:
    return Pending(UserInput(), Query(2), time.monotonic() + 5, seen=seen, attributes=attributes)


def test_what_is_alike_to_what_was_seen_is_left_out_in_every_shard() -> None:
    hosts, first, second = two_shards()
    engine, _ = engine_on(hosts)
    apart = next(n for n in range(3) if shard_of(f"s{n}", 2) != shard_of(f"s{(n + 1) % 3}", 2))
    seen = (f"s{apart}", f"s{(apart + 1) % 3}", "gone")
    pieces = [piece_of(seeing(*seen)), piece_of(), piece_of(seeing("gone"))]
    engine.answer(pieces)
    for piece in pieces:
        assert len(piece.answer.result(0).item_ids) == 2
    wanted = (AnyOf("series", tuple(SERIES[item][0] for item in seen[:2])),)
    for host in (first, second):
        assert [query.exclude_values for query in host.queries] == [wanted, (), ()]
        assert all(shard_of(item, 2) == host.shard for asked in host.looked_up for item in asked)
        assert len(host.looked_up) == 1


def test_nobody_is_asked_for_attributes_that_no_request_needs() -> None:
    hosts, first, second = two_shards()
    engine, _ = engine_on(hosts)
    ask(engine)
    assert first.looked_up == second.looked_up == []


def test_an_attribute_that_the_index_lacks_is_refused_or_said_where_the_settings_declared_it() -> None:
    hosts, _, _ = two_shards()
    engine, _ = engine_on(hosts)
    pieces = [piece_of(seeing("s1", by="family")), piece_of(seeing("s1", by="family", declared=True)), piece_of()]
    engine.answer(pieces)
    with pytest.raises(RequestError, match="the index holds no attribute 'family'"):
        pieces[0].answer.result(0)
    assert [str(one) for one in pieces[1].answer.result(0).ignored] == ["seen_by.family"]
    assert pieces[2].answer.result(0).ignored == ()


def test_a_replica_stands_in_for_a_host_that_does_not_say_attributes() -> None:
    hosts, first, second = two_shards()
    lost = StandInHost(0, 1, down=True)
    engine, _ = engine_on(Hosts(lost=lost, **hosts.hosts))
    for _ in range(4):
        piece = piece_of(seeing("s0", "s1", "s2"), attributes=("series",))
        engine.answer([piece])
        assert len(piece.answer.result(0).item_ids) == 2
        assert {*first.queries[0].exclude_values[0].values} == {"series 0", "series 1", "series 2"}
    second.down = True
    engine, _ = engine_on(Hosts(a=first, b=second), patience_s=0.05)
    piece = piece_of(seeing("s0", "s1", "s2"))
    engine.answer([piece])
    with pytest.raises(UnavailableError):
        piece.answer.result(0)


def test_an_answer_shows_the_attributes_that_were_asked_for() -> None:
    hosts, first, second = two_shards()
    engine, _ = engine_on(hosts)
    for host in (first, second):
        names = [f"{shard}-1-{n}" for shard in range(2) for n in range(2)]
        host.attributes["title"] = {item: (f"The {item}",) for item in names if shard_of(item, 2) == host.shard}
    pieces = [piece_of(attributes=("title", "no such")), piece_of()]
    engine.answer(pieces)
    answer = pieces[0].answer.result(0)
    assert {name: column.values for name, column in answer.attributes.items()} == {
        "title": tuple((f"The {item}",) for item in answer.item_ids)
    }
    assert pieces[1].answer.result(0).attributes == {}
