"""The log of each job: what its process writes, in a file of its own for every attempt."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from retrieval.errors import NotFoundError
from retrieval.registry import JobRow
from retrieval.workflows.workspace.workspace import RUN

_LOOK_S = 0.3
_AT_ONCE = 1 << 16


def log_name(job: JobRow) -> str:
    """Where the next attempt writes, relative to the workspace."""
    return f"{RUN}/jobs/{job.id}-{job.attempts + 1}.log"


def log_path(root: Path, job: JobRow) -> Path:
    """The file of the newest attempt. Raises NotFoundError where there is none on this machine."""
    if not job.log:
        raise NotFoundError(f"job {job.id} is {job.state}: it was never begun, so there is no log")
    path = root / job.log
    if not path.is_file():
        where = f"it was begun by {job.holder}" if job.holder else "it may have been begun on another machine"
        raise NotFoundError(f"job {job.id}: no {path} here; {where}")
    return path


def newest_lines(path: Path, count: int) -> str:
    """The last so many lines of a file, read from its end."""
    with path.open("rb") as file:
        end = file.seek(0, 2)
        kept = b""
        while end > 0 and kept.count(b"\n") <= count:
            begin = max(0, end - _AT_ONCE)
            file.seek(begin)
            kept = file.read(end - begin) + kept
            end = begin
    lines = kept.decode("utf-8", errors="replace").splitlines(keepends=True)
    return "".join(lines[max(0, len(lines) - count) :])


def followed(path: Path, position: int, ended: Callable[[], bool]) -> Iterator[str]:
    """What is written to a file behind `position` (bytes), until `ended` says that nothing more comes."""
    with path.open("rb") as file:
        file.seek(position)
        while True:
            last = ended()  # asked first: what was written before the end is still read
            while found := file.read(_AT_ONCE):
                yield found.decode("utf-8", errors="replace")
            if last:
                return
            time.sleep(_LOOK_S)


def remove_logs(root: Path, job: JobRow) -> None:
    """Remove the logs of all attempts that lie on this machine."""
    for path in (root / RUN / "jobs").glob(f"{job.id}-*.log"):
        path.unlink(missing_ok=True)
