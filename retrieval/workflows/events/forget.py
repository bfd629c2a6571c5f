"""Forgetting a user: history and profile at once, then every row of theirs in the workspace's data.

The order makes it safe to be interrupted, and to run beside services: the user goes on the list of the forgotten first,
which whatever reads or records events looks at; then the record in the user store goes, what the recorder holds becomes
segments without the user, and files are rewritten. Run again, it finishes what was interrupted.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from retrieval.data.config import iso_moment
from retrieval.data.dataset import HISTORIES
from retrieval.data.event_log.journal import read_batches
from retrieval.data.event_log.log import STATE, EventLog
from retrieval.data.event_log.rejects import REJECTS, older_rejects, rejects_lock
from retrieval.data.event_log.segments import list_segments, remove_merged, segments_lock
from retrieval.data.forgetting import count_rows, remove_lines, remove_rows
from retrieval.data.reading.forgotten import ForgottenFile, forgotten_file
from retrieval.data.reading.segments import RECORDED
from retrieval.data.reading.sources import list_files
from retrieval.errors import ArtifactError, ConflictError, NotFoundError, RequestError, UnavailableError
from retrieval.serving.users.store import UserStore
from retrieval.storage.arrow import read_arrow
from retrieval.storage.atomic import is_staged
from retrieval.storage.locks import locked
from retrieval.workflows.data.appending import APPEND_LOCK
from retrieval.workflows.workspace.workspace import Workspace

_LOOK_S = 0.1
_PAGES = "pages of the user store that are freed and not yet used again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What was removed of a user, and what it was not up to this to remove.

    `digest` is the SHA-256 of the receipt as JSON with sorted keys, without the digest itself. It is in the registry's
    audit trail, with the counts; the user's id is there as a hash alone.
    """

    user_id: str
    at: str
    history: int
    """Events of the history in the user store."""
    profile: int
    """Values of the profile there."""
    imported: int
    """Rows of the events that were imported or appended."""
    recorded: int
    """Rows of the events that were recorded, in segments or not yet."""
    users: int
    """Rows of the users table."""
    rejects: int
    """Rejected rows."""
    histories: int
    """Built histories that held the user; they are built again when they are needed."""
    remains: tuple[str, ...]
    """What still may hold something of the user."""
    digest: str = ""


def forget_user(workspace: Workspace, user_id: str, *, timeout_s: float = 60.0) -> Receipt:
    """Remove what the workspace knows of a user. Services may run.

    Of a user who comes back, what is done from now on is recorded and learned from. Raises RequestError for an empty
    id, ConflictError where events are being added, UnavailableError where the recorder doesn't close what it holds
    within the time; DataError. Run it again then: the user is left out from the first moment on.
    """
    if not user_id.strip():
        raise RequestError("the user's id is empty")
    config, root = workspace.settings.data, workspace.root
    now_us = time.time_ns() // 1000
    data = (root / config.events).parent
    journals = [path for path in (data / STATE).glob("*.journal") if _size(path)]
    waiting = sum(_rows_of(path, config.user_column, user_id) for path in journals)
    ForgottenFile(forgotten_file(config, root)).add(user_id, now_us)
    history, profile = _forget_record(workspace, user_id)
    _settle_journals(workspace, journals, timeout_s)
    with locked(data / APPEND_LOCK, f"events are being added to {root / config.events}"):
        imported, recorded, remains = _remove_events(workspace, user_id)
        users, more = _remove_profile(workspace, user_id)
        rejects = _remove_rejects(data, user_id, config.user_column)
    receipt = Receipt(
        user_id=user_id,
        at=iso_moment(now_us),
        history=history,
        profile=profile,
        imported=imported,
        recorded=recorded + waiting,
        users=users,
        rejects=rejects,
        histories=_remove_histories(root, user_id),
        remains=(*remains, *more, *([_PAGES] if history or profile else []), *_trained(workspace)),
    )
    return _entered(workspace, receipt)


def digest_of(receipt: Receipt) -> str:
    """The SHA-256 (hex) of a receipt, as its `digest` shall be."""
    body = {key: value for key, value in asdict(receipt).items() if key != "digest"}
    return hashlib.sha256(json.dumps(body, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def audit_subject(user_id: str) -> str:
    """How the audit trail names a forgotten user: whoever has the id can find the entry, and nobody reads it there."""
    return f"user sha256:{hashlib.sha256(user_id.encode()).hexdigest()[:16]}"


def _entered(workspace: Workspace, receipt: Receipt) -> Receipt:
    """The receipt with its digest, entered in the audit trail."""
    done = Receipt(**{**asdict(receipt), "digest": digest_of(receipt)})
    details = {key: value for key, value in asdict(done).items() if key not in {"user_id", "remains"}}
    with closing(workspace.registry()) as registry:
        registry.record("user.forget", audit_subject(receipt.user_id), details)
    return done


def _forget_record(workspace: Workspace, user_id: str) -> tuple[int, int]:
    """Remove the user from the user store; how many events and profile values there were."""
    settings = workspace.settings.serving
    try:
        store = UserStore.open(workspace.root / settings.user_store, gib=settings.user_store_gib, write=True)
    except NotFoundError:
        return 0, 0
    with closing(store):
        record = store.forget(user_id)
    return (0, 0) if record is None else (len(record.history.item_ids), len(record.profile))


def _settle_journals(workspace: Workspace, journals: list[Path], timeout_s: float) -> None:
    """Wait until what was recorded is in segments; without a recorder, make them here."""
    until = time.monotonic() + timeout_s
    while any(_size(path) for path in journals):
        try:
            EventLog(workspace.settings.events, workspace.settings.data, workspace.root).close()
        except ConflictError as error:  # a recorder has it, which looks at the list all the time
            if time.monotonic() >= until:
                raise UnavailableError(
                    f"the recorder still holds events of before in {journals[0].parent}; forget the user again once it "
                    "can write segments"
                ) from error
            time.sleep(_LOOK_S)


def _remove_events(workspace: Workspace, user_id: str) -> tuple[int, int, list[str]]:
    """Rows that were removed from imported and from recorded events, and what remains."""
    path = workspace.root / workspace.settings.data.events
    if not path.exists() or (path.is_dir() and not any(path.rglob("*.parquet"))):
        return 0, 0, []
    if not _is_inside(path, workspace.root):
        return 0, 0, [f"rows in {path}, outside of the workspace: they are left out wherever they are read"]
    folder, column = path / RECORDED, workspace.settings.data.user_column
    files = list_files(path, "events")
    imported = sum(remove_rows(file, column, user_id) for file in files if file.parent != folder)
    recorded = 0
    if folder.is_dir():
        with segments_lock(folder):  # none is merged from what still has the rows
            recorded = sum(remove_rows(one.path, column, user_id) for one in list_segments(folder))
            remove_merged(folder, older_s=0.0)
    return imported, recorded, []


def _remove_profile(workspace: Workspace, user_id: str) -> tuple[int, list[str]]:
    config = workspace.settings.data
    path = workspace.root / config.users
    if not config.users or not path.exists():
        return 0, []
    if not _is_inside(path, workspace.root):
        return 0, [f"the row in {path}, outside of the workspace: remove it there"]
    return sum(remove_rows(file, config.user_column, user_id) for file in list_files(path, "users")), []


def _remove_rejects(data: Path, user_id: str, user_column: str) -> int:
    removed = sum(remove_rows(file, "user", user_id) for file in (data / "rejects").glob("*.parquet"))
    recorded = data / REJECTS
    if recorded.parent.is_dir():
        with rejects_lock(recorded):
            for file in (recorded, older_rejects(recorded)):
                if file.is_file():
                    removed += remove_lines(file, user_id, lambda row, user: _is_reject_of(row, user, user_column))
    return removed


def _is_reject_of(row: dict[str, object], user_id: str, user_column: str) -> bool:
    """Whether a rejected event is the user's; a line that was no event is where it has the id anywhere."""
    line = row.get("line")
    if not isinstance(line, str):
        return row.get("user") == user_id
    try:
        given = json.loads(line)
    except ValueError:
        return user_id in line
    return user_id in line if not isinstance(given, dict) else str(given.get(user_column)) == user_id


def _remove_histories(root: Path, user_id: str) -> int:
    """Remove built histories that hold the user; what a process has mapped of them stays readable there."""
    removed = 0
    for folder in [path for path in (root / HISTORIES).glob("*") if path.is_dir()]:
        if is_staged(folder.name) or not _holds(folder, user_id):  # what is being built is given up by its builder
            continue
        shutil.rmtree(folder, ignore_errors=True)
        for beside in folder.parent.glob(f"{folder.name}.*"):
            beside.unlink(missing_ok=True)
        removed += 1
    return removed


def _holds(folder: Path, user_id: str) -> bool:
    """Whether histories, or the rejected rows beside them, may hold a user; so do those that can't be read."""
    try:
        ids = [read_arrow(folder / "user_ids.arrow").column(0)]
        refused = folder / "rejects.parquet"
        ids += [pq.read_table(refused, columns=["user"])["user"]] if refused.is_file() else []
    except (OSError, pa.ArrowException):
        return True
    return any(pc.any(pc.equal(column, user_id)).as_py() for column in ids)


def _trained(workspace: Workspace) -> Iterator[str]:
    with closing(workspace.registry()) as registry:
        versions = [str(row.id) for row in registry.list_versions(workspace.model, states=("ready",))]
    if versions:
        shown = versions[0] if len(versions) == 1 else f"{versions[0]} … {versions[-1]}"
        yield (
            f"what {shown} learned, and their builds: train and deploy a new version, then `retrieval gc`; checkpoints "
            "and reports of theirs"
        )


def _rows_of(journal: Path, column: str, user_id: str) -> int:
    try:
        return sum(count_rows(batch, column, user_id) for batch in read_batches(journal))
    except (OSError, ArtifactError):
        return 0  # it has become a segment, or is damaged, which opening the log says


def _is_inside(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root.resolve())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
