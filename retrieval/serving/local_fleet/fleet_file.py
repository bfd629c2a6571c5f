"""The small file in a workspace that says where its local fleet listens, for commands that want to talk to it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from retrieval.storage.atomic import write_text

FILE = "fleet.json"


@dataclass(frozen=True, slots=True)
class MemberState:
    """One process of a local fleet; `shard` and `replica` are None for any that is not an ANN host."""

    name: str
    role: str
    address: str
    pid: int
    restarts: int
    shard: int | None = None
    replica: int | None = None


@dataclass(frozen=True, slots=True)
class FleetState:
    """A local fleet: the supervisor's pid, the candidate service's address, and every process."""

    pid: int
    candidates: str
    members: tuple[MemberState, ...]


def write_fleet(run_folder: Path, state: FleetState) -> None:
    """Replace the file as a whole."""
    write_text(run_folder / FILE, json.dumps(asdict(state), indent=1), durable=False)


def read_fleet(run_folder: Path) -> FleetState | None:
    """The fleet that runs here; None where none does, or what is written there is of one that has gone."""
    try:
        body = json.loads((run_folder / FILE).read_text(encoding="utf-8"))
        state = FleetState(body["pid"], body["candidates"], tuple(MemberState(**member) for member in body["members"]))
        os.kill(state.pid, 0)
    except PermissionError:
        return state
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return state


def remove_fleet(run_folder: Path) -> None:
    """The fleet has gone."""
    (run_folder / FILE).unlink(missing_ok=True)
