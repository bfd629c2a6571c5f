"""What is served where, as `retrieval status` shows it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime

from retrieval.registry import BuildRow, DeploymentRow, HostRow, Registry, utc_now
from retrieval.rollout.controller import was_interrupted


@dataclass(frozen=True, slots=True, kw_only=True)
class HostView:
    """A host, how long ago it reported (seconds), and whether that is too long."""

    row: HostRow
    age_s: float
    stale: bool

    @property
    def standing(self) -> str:
        """Its state, or "stale" where it has not reported for too long."""
        return "stale" if self.stale and self.row.state != "retired" else self.row.state


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """A model's builds in force, its running deployment and its hosts."""

    model: str
    active: BuildRow | None
    target: BuildRow | None
    previous: BuildRow | None
    running: DeploymentRow | None
    interrupted: bool
    hosts: tuple[HostView, ...]
    now: datetime = field(default_factory=utc_now)

    @property
    def as_of_age_s(self) -> float | None:
        """How old, in seconds, what the active build holds of its items is; None where that isn't known."""
        if self.active is None or self.active.at_us is None:
            return None
        return max(0.0, self.now.timestamp() - self.active.at_us / 1e6)

    @property
    def versions(self) -> dict[int, list[str]]:
        """Live ANN hosts by the model version that they serve."""
        found: dict[int, list[str]] = defaultdict(list)
        for host in self.hosts:
            if host.row.role == "ann" and host.standing == "serving" and host.row.version is not None:
                found[host.row.version].append(host.row.host_id)
        return dict(sorted(found.items()))

    @property
    def behind(self) -> list[str]:
        """Live ANN hosts that serve another build than the target."""
        number = self.target.number if self.target else None
        live = [host.row for host in self.hosts if host.row.role == "ann" and host.standing in {"serving", "starting"}]
        return [row.host_id for row in live if row.build != number]


def overview(registry: Registry, model: str, *, alive_s: float, forget_s: float) -> Overview:
    """What is served now, without hosts that were retired or have not reported for more than `forget_s`."""
    running = registry.running_deployment(model)
    now = utc_now()
    views = []
    for row in registry.hosts(model, alive_within_s=forget_s):
        age = max(0.0, (now - row.seen_at).total_seconds())
        views.append(HostView(row=row, age_s=age, stale=age > alive_s))
    return Overview(
        model=model,
        active=registry.active_build(model),
        target=registry.target_build(model),
        previous=registry.previous_build(model),
        running=running,
        interrupted=running is not None and was_interrupted(running),
        hosts=tuple(views),
        now=now,
    )
