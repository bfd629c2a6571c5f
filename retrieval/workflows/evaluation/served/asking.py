"""The stages that answer with lists: search on the shards, with the store's users, by the engine, over gRPC.

A block of targets at a time: memory holds no more requests than that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from retrieval.arrays import Ints, Mask, Vectors
from retrieval.data import Dataset
from retrieval.data.corpus.config import CorpusConfig
from retrieval.index.query import Query
from retrieval.index.shard import Shard
from retrieval.observability import Tracker
from retrieval.serving.config import ServingConfig
from retrieval.serving.core.attributes import FoundAttributes
from retrieval.serving.core.candidates import look_up
from retrieval.serving.core.pending import Pending
from retrieval.serving.wire.candidate_messages import read_request
from retrieval.towers.runtime import UserTower
from retrieval.towers.user_input import UserInput
from retrieval.workflows.evaluation.served.requests import PastRequests
from retrieval.workflows.evaluation.served.running import Ask, Messages
from retrieval.workflows.evaluation.served.shards import search
from retrieval.workflows.evaluation.user_inputs import inputs_at

_AT_ONCE = 32
_SAME = 1e-3
"""The largest difference in a number of two user vectors that counts as none."""


@dataclass(frozen=True)
class Answerers:
    """Who is asked, and with what."""

    dataset: Dataset
    tower: UserTower
    shards: Sequence[Shard]
    requests: PastRequests
    serving: ServingConfig
    corpus: CorpusConfig
    engines: Mapping[str, Ask]
    """By the stage that they make: the engine in this process, then the services, where they run."""


@dataclass
class Answered:
    """What each stage found. T targets."""

    lists: dict[str, list[list[str]]]
    """By stage, the item ids of each answer."""
    hits: dict[str, Mask]
    """By stage, whether each target is in its answer, bool [T]."""
    unknown: int = 0
    """Users whom the store does not hold."""
    histories: int = 0
    """Users whose history in the store is another than the log's."""
    vectors: int = 0
    """Users whose vector is another for it, or for their profile."""


SEARCH, USERS = "search", "users"


def ask_all(who: Answerers, rows: Ints, vectors: Vectors, excluded: Sequence[Ints], tracker: Tracker) -> Answered:
    """Ask for the targets int64 [T], whose users' vectors, by the log, are `vectors` [T, D] or [T, E, D].

    `excluded` are the catalog rows that evaluation leaves out for each. Raises what engine and services refuse with.
    """
    names = (SEARCH, USERS, *who.engines)
    found = Answered({name: [] for name in names}, {})
    for start in range(0, len(rows), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        _ask_block(who, rows[part], vectors[part], excluded[part], found)
        tracker.advance(len(rows[part]))
    histories = who.dataset.histories
    targets = histories.item_ids.take(pa.array(histories.items[rows])).to_pylist()
    found.hits = {
        name: np.array([target in listed for target, listed in zip(targets, lists, strict=True)], np.bool_)
        for name, lists in found.lists.items()
    }
    return found


def _ask_block(who: Answerers, rows: Ints, vectors: Vectors, excluded: Sequence[Ints], found: Answered) -> None:
    messages = list(who.requests.before(rows))
    looked_up = _looked_up(who, messages)
    _know_seen(who, looked_up)
    stored = who.tower.embed([piece.user for piece in looked_up])
    found.lists[SEARCH] += search(who.shards, vectors, _log_queries(who, excluded))
    found.lists[USERS] += search(who.shards, stored, [piece.query for piece in looked_up])
    for name, ask in who.engines.items():
        found.lists[name] += ask(messages)
    found.unknown += sum(not piece.known for piece in looked_up)
    logged = inputs_at(who.dataset, who.tower.features, rows)
    longest = who.tower.features.spec.history.events
    found.histories += sum(
        not _same_history(piece.user, given, longest) for piece, given in zip(looked_up, logged, strict=True)
    )
    off = np.abs(stored - vectors).reshape(len(rows), -1).max(axis=1)
    found.vectors += int((off > _SAME).sum())


def _looked_up(who: Answerers, messages: Messages) -> list[Pending]:
    """The requests as the engine reads them: with the user's record from the store."""
    model = who.tower.version.model
    asked = [read_request(message, model, who.serving, who.corpus) for message in messages]
    return [look_up(who.requests.users, request, math.inf) for request in asked]


def _know_seen(who: Answerers, pieces: Sequence[Pending]) -> None:
    """Put what is alike to what users saw last into their queries, as the engine does."""
    seen = [piece.seen for piece in pieces if piece.seen is not None]
    found = FoundAttributes()
    for shard in who.shards if seen else ():
        items = dict.fromkeys(item for one in seen for item in one.item_ids)
        found.add(shard.attributes(list(items), dict.fromkeys(name for one in seen for name in one.by.attributes)))
    for piece in pieces:
        if piece.seen is not None:
            piece.query = replace(piece.query, exclude_values=piece.seen.alike(found))


def _log_queries(who: Answerers, excluded: Sequence[Ints]) -> list[Query]:
    """What evaluation leaves out, as the shards are told."""
    ids = who.dataset.histories.item_ids
    return [Query(who.requests.k, exclude=ids.take(pa.array(rows)).to_pylist()) for rows in excluded]


def _same_history(stored: UserInput, logged: UserInput, longest: int) -> bool:
    ours, theirs = stored.history, logged.history
    return (
        list(ours.item_ids[-longest:]) == list(theirs.item_ids)
        and list(ours.actions[-longest:]) == list(theirs.actions)
        and np.array_equal(ours.timestamps[-longest:], theirs.timestamps)
    )
