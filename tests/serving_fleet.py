"""A workspace around a small world, and the real processes of a fleet on it, for tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from retrieval.registry import BuildRow, Registry, VersionRow
from retrieval.serving.candidates.servicer import SERVICE
from retrieval.serving.local_fleet.fleet_file import FleetState, read_fleet
from retrieval.serving.local_fleet.supervisor import answers
from retrieval.storage import ArtifactStore, read_manifest
from retrieval.storage.keys import build_key, version_key
from retrieval.types import BuildId, ModelVersion
from tests.serving_world import World

SETTINGS = """
[model]
name = "demo"
[data]
events = "data/events.parquet"
users = "data/users.parquet"
items = "data/items.parquet"
context_columns = ["device"]
[serving]
candidates_port = 0
heartbeat_s = 0.3
reconcile_s = 0.6
drain_s = 5.0
search_timeout_ms = 2000
deadline_ms = 20000
"""


def write_workspace(world: World, *, deployed: int | None = 0, settings: str = SETTINGS) -> Registry:
    """retrieval.toml and a registry that knows the world; `deployed` is the position of the build that is deployed."""
    (world.root / "retrieval.toml").write_text(settings)
    registry = Registry.create("sqlite:///registry.db", root=world.root)
    for made, build in zip(world.versions, world.builds, strict=True):
        register(registry, world.store, made.version, build)
    if deployed is not None:
        registry.finish_deployment(registry.start_deployment(world.builds[deployed]).id, "done")
    return registry


def register(registry: Registry, store: ArtifactStore, version: ModelVersion, build: BuildId) -> None:
    """Make a version and a build of it, both in the store, known to the registry."""
    made = read_manifest(store.locate(version_key(version)))
    registry.add_version(
        VersionRow(
            model=version.model,
            version=version.version,
            space_id=made.facts["space_id"],
            key=version_key(version),
            state="ready",
            digest=made.digest,
        )
    )
    built = read_manifest(store.locate(build_key(build)))
    registry.add_build(
        BuildRow(
            model=build.model,
            number=build.number,
            version=version.version,
            space_id=made.facts["space_id"],
            key=build_key(build),
            shards=built.facts["shards"],
            items=built.facts["items"],
            recall=1.0,
            state="ready",
            digest=built.digest,
        )
    )


@dataclass
class RunningFleet:
    process: subprocess.Popen[bytes]
    run: Path

    @property
    def state(self) -> FleetState:
        found = read_fleet(self.run)
        assert found is not None
        return found

    @property
    def address(self) -> str:
        return self.state.candidates

    def hosts(self) -> list[str]:
        return [member.address for member in self.state.members if member.role == "ann"]

    def logs(self) -> str:
        return "\n".join(f"== {path.name}\n{path.read_text()[-4000:]}" for path in sorted(self.run.glob("*.log")))


def wait_until(condition: object, timeout_s: float = 60.0, what: str = "") -> None:
    by = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < by, f"waited {timeout_s} s for {what}"
        time.sleep(0.05)


@contextmanager
def running_fleet(
    root: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    ready: bool = True,
    patience_s: float = 60.0,
) -> Iterator[RunningFleet]:
    """`retrieval serve all` on a workspace while the block runs; it must end cleanly."""
    with (root / "serve.log").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "retrieval.cli.main", "serve", "all", "-w", str(root), "--port", "0", *arguments],
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
        )
    fleet = RunningFleet(process, root / "run")
    try:
        wait_until(
            lambda: read_fleet(fleet.run) is not None or process.poll() is not None, patience_s, what="the fleet's file"
        )
        assert process.poll() is None, (root / "serve.log").read_text()
        if ready:
            wait_until(lambda: answers(fleet.address, SERVICE), patience_s, what=f"the fleet\n{fleet.logs()}")
        yield fleet
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
    assert code == 0, (root / "serve.log").read_text()
