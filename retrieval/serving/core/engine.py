"""The heart of the candidate service: plan, embed, search, merge, for a micro-batch of queries.

The protocol of DESIGN rules 3 and 4: vectors are made for the space that the planned hosts are believed to serve, and
sent with its name; a host that serves another refuses and says which; then the plan is made anew. Nothing is ever
searched with a vector of another space.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace

from retrieval.errors import DeadlineError, RequestError, RetrievalError, UnavailableError
from retrieval.serving.core.answer import CandidateAnswer
from retrieval.serving.core.attributes import FoundAttributes, asked_of_hosts
from retrieval.serving.core.fleet import Fleet
from retrieval.serving.core.held_towers import HeldTowers
from retrieval.serving.core.hosts import HostConnections, HostRefusedError, SearchCall
from retrieval.serving.core.ignored import ignored_columns, refuse
from retrieval.serving.core.pending import Pending
from retrieval.serving.core.planning import Leg, Plan, Space
from retrieval.serving.core.round import Round, has_answered, host_search, merged

_log = logging.getLogger(__name__)
_PAUSE_S = 0.05  # between looks at a fleet that can't answer now, if nothing changes


class Engine:
    """Answers micro-batches. Thread-safe."""

    def __init__(
        self,
        fleet: Fleet,
        towers: HeldTowers,
        hosts: HostConnections,
        *,
        search_timeout_s: float,
        patience_s: float,
        strict_inputs: bool = False,
    ) -> None:
        """`patience_s`: how long a shard without any host is waited for; a tower that is loading, to the deadline.

        `strict_inputs`: a request with columns that its tower can't use is refused.
        """
        self._fleet, self._towers, self._hosts = fleet, towers, hosts
        self._search_timeout_s, self._patience_s = search_timeout_s, patience_s
        self._strict_inputs = strict_inputs

    def answer(self, batch: Sequence[Pending]) -> None:
        """Settle every pending query of the batch, with an answer or an error. Never raises."""
        now = time.monotonic()
        for late in [piece for piece in batch if piece.deadline <= now]:
            late.fail(DeadlineError("the deadline passed while the request waited for its turn"))
        pieces = [piece for piece in batch if piece.deadline > now]
        if not pieces:
            return
        started = time.perf_counter()
        try:
            self._settle(pieces, started)
        except RequestError as error:
            if len(pieces) == 1:
                pieces[0].fail(error)
                return
            # One bad request shall not take the others with it
            half = len(pieces) // 2
            self.answer(pieces[:half])
            self.answer(pieces[half:])
        except RetrievalError as error:
            for piece in pieces:
                piece.fail(error)
        except Exception as error:  # noqa: BLE001 - the callers get it
            _log.exception("a micro-batch failed in a way that was not foreseen")
            for piece in pieces:
                piece.fail(error)

    def _settle(self, pieces: Sequence[Pending], started: float) -> None:
        work = Round(pieces, max(piece.deadline for piece in pieces))
        plan = self._gather(work)
        answers = [
            merged(work, plan, position, queue_s=started - piece.entered) for position, piece in enumerate(pieces)
        ]
        if any(piece.attributes for piece in pieces):
            answers = self._with_attributes(work, plan, answers)
        for piece, answer in zip(pieces, answers, strict=True):
            piece.settle(answer)

    def _gather(self, work: Round) -> Plan:
        """Ask until every leg of one plan has answered; returns that plan."""
        prefer: Space | None = None
        while True:
            plan = self._plan(work, prefer)
            prefer = plan.legs[0].space if plan.one_space else None
            work.attempts += 1
            missing = [leg for leg in plan.legs if not has_answered(work, leg)]
            if self._embed(work, missing) and self._know_seen(work, plan) and self._search(work, missing):
                return plan

    def _plan(self, work: Round, prefer: Space | None) -> Plan:
        impatient = time.monotonic() + self._patience_s
        while True:
            if work.left() <= 0:
                raise DeadlineError(f"the deadline passed after {work.attempts} attempts. {work.trouble}".strip())
            epoch = self._fleet.epoch
            options = self._fleet.options()
            plan = options.choose(prefer)
            if plan is not None:
                return plan
            work.trouble = options.missing
            if time.monotonic() > impatient and not options.awaits_tower:
                raise UnavailableError(options.missing)
            self._fleet.wait_for_change(epoch, min(_PAUSE_S, work.left()))

    def _embed(self, work: Round, legs: Sequence[Leg]) -> bool:
        """Make the vectors that the legs need; False where a tower was let go meanwhile."""
        started = time.perf_counter()
        for space in {leg.space for leg in legs} - work.vectors.keys():
            tower = self._towers.get(space)
            if tower is None:
                self._fleet.towers_changed()
                return False
            ignored = [ignored_columns(tower, piece.user.context, piece.profile) for piece in work.pieces]
            if self._strict_inputs:
                for columns in ignored:
                    refuse(tower, columns)
            work.ignored[space] = ignored
            work.vectors[space] = tower.embed([piece.user for piece in work.pieces])
        work.tower_s += time.perf_counter() - started
        return True

    def _know_seen(self, work: Round, plan: Plan) -> bool:
        """Put the values of what users saw last into their queries; False where a host did not say them.

        They are looked up first, for what is alike to an item may lie in other shards than the item.
        """
        seen = [piece.seen for piece in work.pieces if piece.seen is not None]
        if work.seen is None and seen:
            items = dict.fromkeys(item for one in seen for item in one.item_ids)
            names = dict.fromkeys(name for one in seen for name in one.by.attributes)
            work.seen = self._attributes(work, plan, list(items), list(names))
            if work.seen is None:
                return False
            for piece in work.pieces:
                if piece.seen is not None:
                    piece.query = replace(piece.query, exclude_values=piece.seen.alike(work.seen))
        return True

    def _with_attributes(self, work: Round, plan: Plan, answers: list[CandidateAnswer]) -> list[CandidateAnswer]:
        """Answers with the attributes that their requests asked for."""
        asking = [(piece.attributes, answer) for piece, answer in zip(work.pieces, answers, strict=True)]
        items = dict.fromkeys(item for names, answer in asking if names for item in answer.item_ids)
        wanted = dict.fromkeys(name for names, _ in asking for name in names)
        while (found := self._attributes(work, plan, list(items), list(wanted))) is None:
            plan = self._plan(work, None)
        return [replace(answer, attributes=found.columns(names, answer.item_ids)) for names, answer in asking]

    def _attributes(self, work: Round, plan: Plan, items: list[str], names: list[str]) -> FoundAttributes | None:
        """Attributes of items from the plan's hosts; None where one did not answer."""
        started = time.perf_counter()
        left = work.left()
        if left <= 0:
            return None
        asked = asked_of_hosts(plan.legs, items, names)
        calls = self._hosts.attributes(list(asked.values()), min(left, self._search_timeout_s))
        found: FoundAttributes | None = FoundAttributes()
        for leg, call in zip(asked, calls, strict=True):
            try:
                heard = call.result()
            except (UnavailableError, DeadlineError) as error:
                self._silent(work, leg, error, ours=left <= self._search_timeout_s)
                found = None
            else:
                if found is not None:
                    found.add(heard)
        work.search_s += time.perf_counter() - started
        return found

    def _search(self, work: Round, legs: Sequence[Leg]) -> bool:
        """Search on all legs at once and keep what they answer; False where one did not."""
        started = time.perf_counter()
        left = work.left()
        if left <= 0:
            return False
        timeout = min(left, self._search_timeout_s)
        calls = self._hosts.search([host_search(work, leg) for leg in legs], timeout)
        complete = True
        try:
            for leg, call in zip(legs, calls, strict=True):
                complete &= self._collect(work, leg, call, ours=left <= self._search_timeout_s)
        except RetrievalError:
            for call in calls:
                call.cancel()
            raise
        finally:
            work.search_s += time.perf_counter() - started
        return complete

    def _collect(self, work: Round, leg: Leg, call: SearchCall, *, ours: bool) -> bool:
        """Keep one leg's answer. `ours`: a deadline that passes is the requests' own, and says nothing of the host."""
        try:
            found = call.result()
        except HostRefusedError as error:
            work.trouble = str(error)
            if error.metadata is None:
                self._fleet.lost(leg.address, str(error))
            else:
                self._fleet.heard(leg.address, error.metadata)
            return False
        except (UnavailableError, DeadlineError) as error:
            self._silent(work, leg, error, ours=ours)
            return False
        self._fleet.heard(leg.address, found.metadata)
        served = found.metadata.active
        if served is not None and served.shards != leg.build.shards:
            return False  # another cut of the same space: its part would leave out items of ours
        work.answers[leg.build.shard] = (leg, found)
        return True

    def _silent(self, work: Round, leg: Leg, error: RetrievalError, *, ours: bool) -> None:
        work.trouble = str(error)
        if isinstance(error, UnavailableError) or not ours:
            self._fleet.lost(leg.address, str(error))
