"""One deployment as it runs over the hosts: in waves, past hosts that are down, and back where one can't load."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from retrieval.errors import ConflictError, GateError, RetrievalError, UnavailableError
from retrieval.registry import BuildRow, DeploymentRow, HostRow, Registry
from retrieval.rollout.config import RolloutConfig
from retrieval.rollout.gates.before_deploying import check_hosts
from retrieval.rollout.hosts import (
    AnnHostControl,
    HostChange,
    HostDownError,
    activate_on,
    confirm,
    load_on,
    metadata_of,
    waves,
)
from retrieval.types import BuildId

_POLL_S = 0.25


class SupersededError(ConflictError):
    """Another deployment of the model was started while this one ran; this one ends."""


class DeploymentRun:
    """Brings one build to the hosts of a model. `changes` says what became of each host so far."""

    def __init__(
        self,
        registry: Registry,
        control: AnnHostControl,
        build: BuildRow,
        config: RolloutConfig,
        *,
        alive_s: float,
        together: bool,
        need_hosts: bool,
        show: Callable[[str], None],
    ) -> None:
        self._registry, self._control, self._build, self._config = registry, control, build, config
        self._alive_s, self._together, self._need_hosts, self._show = alive_s, together, need_hosts, show
        self._done: dict[str, HostChange] = {}
        self._down: dict[str, HostChange] = {}
        self._went_down: Counter[str] = Counter()

    @property
    def changes(self) -> tuple[HostChange, ...]:
        """What became of each host, by id."""
        return tuple(change for _, change in sorted((self._down | self._done).items()))

    def wait_for_shards(self) -> None:
        """Wait until a host is up for every shard, where that is needed. Raises GateError after `host_wait_s`."""
        if not self._need_hosts:
            return
        until = time.monotonic() + self._config.host_wait_s
        while True:
            try:
                check_hosts(self._build, self._hosts(self._alive_s))
            except GateError as error:
                if time.monotonic() >= until:
                    raise
                self._show(f"waiting: {error}")
            else:
                return
            time.sleep(min(1.0, max(_POLL_S, until - time.monotonic())))

    def change_hosts(self, deployment: DeploymentRow) -> None:
        """Bring the build to every host, until each has it or is given up as down.

        Raises SupersededError where another deployment was started, and what a host that is up answered where it could
        not load or activate the build.
        """
        until: float | None = None
        while True:
            for wave in waves(self._remaining(), together=self._together):
                self._change_wave(deployment, wave)
            self._recheck_changed()
            if not self._remaining():
                break
            until = until or time.monotonic() + self._config.host_wait_s
            if time.monotonic() >= until:
                break
            time.sleep(_POLL_S)
            self._check_still_running(deployment)
        self._check_still_running(deployment)
        self._check_every_shard()

    def restore_previous(self, deployment: DeploymentRow) -> str:
        """Let hosts that have the new build serve the previous one again. Returns a line on how that went."""
        previous = deployment.previous_build
        if previous is None or previous == self._build.number:
            return "there is no other build to put hosts back to"
        row = self._registry.get_build(BuildId(self._build.model, previous))
        back, stuck = [], []
        for wave in waves(self._hosts(self._config.host_lost_s), together=False):
            host = wave[0]
            try:
                active = metadata_of(self._control, host).active
                if active is None or active.build != self._build.id:
                    continue
                self._show(f"{host.host_id}: back to {row.id}")
                load_on(self._control, host, row, self._config.load_timeout_s)
                activate_on(self._control, host, row)
                back.append(host.host_id)
            except RetrievalError as error:
                stuck.append(f"{host.host_id} ({error})")
        outcome = f"put back to {row.id}: {', '.join(back) or 'no host had changed'}"
        return outcome + (f"; not reached: {', '.join(stuck)}" if stuck else "")

    def summary(self) -> str:
        """One line on how it went."""
        counts = Counter(change.outcome for change in self.changes)
        return ", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items())) or "no hosts were up"

    def _hosts(self, within_s: float) -> list[HostRow]:
        return self._registry.hosts(self._build.model, role="ann", alive_within_s=within_s)

    def _remaining(self) -> list[HostRow]:
        return [host for host in self._hosts(self._config.host_lost_s) if host.host_id not in self._done]

    def _check_still_running(self, deployment: DeploymentRow) -> None:
        now = self._registry.get_deployment(deployment.id)
        if now.state != "running":
            raise SupersededError(f"{now.kind} {now.id} of {now.build_id} was ended by another: {now.note}")

    def _change_wave(self, deployment: DeploymentRow, wave: Sequence[HostRow]) -> None:
        self._check_still_running(deployment)
        if len(wave) == 1:  # in this thread, so that Ctrl-C takes effect at once
            self._change(deployment, wave[0])
            return
        with ThreadPoolExecutor(len(wave)) as pool:
            futures = [pool.submit(self._change, deployment, host) for host in wave]
        errors = [error for error in (future.exception() for future in futures) if error is not None]
        for error in sorted(errors, key=lambda error: isinstance(error, SupersededError), reverse=True):
            raise error

    def _change(self, deployment: DeploymentRow, host: HostRow) -> None:
        """Load, activate, confirm. A host that is down is recorded as such; what one that is up refuses is raised."""
        try:
            active = metadata_of(self._control, host).active
            was = active.build.number if active else None
            if active is not None and active.build == self._build.id:
                self._record(host, "already", was)
                return
            self._show(f"{host.host_id}: loading {self._build.id}")
            load_on(self._control, host, self._build, self._config.load_timeout_s)
            self._check_still_running(deployment)
            activate_on(self._control, host, self._build)
            self._record(host, "changed", was)
            self._show(f"{host.host_id}: serves {self._build.id}")
        except HostDownError as error:
            self._record_down(host, error)

    def _record(self, host: HostRow, outcome: str, was: int | None) -> None:
        self._down.pop(host.host_id, None)
        self._done[host.host_id] = HostChange(
            host_id=host.host_id,
            address=host.address,
            shard=host.shard,
            outcome="changed" if outcome == "changed" else "already",
            was=was,
            now=self._build.number,
        )

    def _record_down(self, host: HostRow, error: HostDownError) -> None:
        if host.host_id not in self._down:
            self._show(f"{host.host_id}: down, going on with the others ({error})")
        self._down[host.host_id] = _down(host, str(error))
        if not error.in_transition:
            return
        self._went_down[host.host_id] += 1
        # a build that brings hosts down must not be carried through the fleet
        if self._went_down[host.host_id] > 1 or (len(self._went_down) > 1 and not self._done):
            raise UnavailableError(f"hosts went down while they took up {self._build.id}: {', '.join(self._went_down)}")
        self._wait_until_back(host)

    def _wait_until_back(self, host: HostRow) -> None:
        """Give a host that went down while it changed time to come back before the next one is changed."""
        until = time.monotonic() + self._config.host_wait_s
        while time.monotonic() < until:
            try:
                metadata_of(self._control, self._registry.get_host(host.host_id))
            except HostDownError:
                time.sleep(_POLL_S)
            else:
                return

    def _recheck_changed(self) -> None:
        """A host that was changed and does not serve the build now (restarted, driven elsewhere) changes again."""
        for host in self._hosts(self._config.host_lost_s):
            if host.host_id not in self._done:
                continue
            try:
                confirm(metadata_of(self._control, host), host, self._build)
            except HostDownError as error:
                del self._done[host.host_id]
                self._record_down(host, error)
            except RetrievalError as error:
                del self._done[host.host_id]
                self._down[host.host_id] = _down(host, str(error))

    def _check_every_shard(self) -> None:
        if not self._down or not self._need_hosts:
            return
        served = {change.shard for change in self._done.values()}
        missing = sorted(set(range(self._build.shards)) - served)
        if missing:
            lost = "; ".join(change.note for change in self._down.values())
            raise UnavailableError(f"no host of shard {', '.join(map(str, missing))} could be changed: {lost}")


def _down(host: HostRow, note: str) -> HostChange:
    return HostChange(
        host_id=host.host_id, address=host.address, shard=host.shard, outcome="down", was=host.build, note=note
    )
