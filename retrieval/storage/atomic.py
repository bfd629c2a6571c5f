"""Files and folders that are replaced as a whole: whoever reads them finds the old one or the new one, never a part.

Each is written beside its target under a name of its own, flushed to disk, and renamed; that holds for a process that
is killed, a full disk and a power cut alike. A file that is worth nothing after a power cut need not be `durable`: it
is not flushed, which takes milliseconds, and may then be torn by one.
What killed processes left is removed by the next one that writes there.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import re
import shutil
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

Existing = Literal["refuse", "keep", "replace"]
_PREFIX = ".staged-"
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def write_bytes(target: Path, content: bytes, *, durable: bool = True) -> None:
    """Put `content` in place of `target`. Raises OSError, having changed nothing."""
    with staged_file(target, durable=durable) as staged:
        staged.write_bytes(content)


def write_text(target: Path, content: str, *, durable: bool = True) -> None:
    """Put `content`, as UTF-8, in place of `target`. Raises OSError, having changed nothing."""
    write_bytes(target, content.encode("utf-8"), durable=durable)


@contextmanager
def staged_file(target: Path, *, durable: bool = True) -> Iterator[Path]:
    """A path to write a file to; it takes the place of `target` when the block ends, and is removed when it raises.

    The folder of `target` must be there. Raises OSError.
    """
    clear_abandoned(target.parent)
    staged = target.parent / staged_name()
    try:
        yield staged
        if durable:
            flush(staged)
        staged.replace(target)
    finally:
        staged.unlink(missing_ok=True)
    if durable:
        flush(target.parent)


@contextmanager
def staged_folder(target: Path, *, existing: Existing = "refuse") -> Iterator[Path]:
    """An empty folder to write into; it becomes `target` when the block ends, and is removed when it raises.

    What is at `target` by then is an error ("refuse": raises FileExistsError), stays ("keep": somebody else finished
    the same first), or goes ("replace"). The folder of `target` must be there. Raises OSError.
    """
    clear_abandoned(target.parent)
    staged = target.parent / staged_name()
    staged.mkdir()
    try:
        yield staged
        _flush_tree(staged)
        _put(staged, target, existing)
    finally:
        _remove(staged)


def move(source: Path, target: Path) -> None:
    """Give a file or folder, flushed already, another name on the same disk.

    Raises FileExistsError where something is at `target` (an empty folder is not), OSError.
    """
    try:
        source.rename(target)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
            raise
        raise FileExistsError(errno.EEXIST, "something is there already", str(target)) from error
    flush(target.parent)


def staged_name() -> str:
    """A fresh hidden name for what this process is writing; `clear_abandoned` knows it once the process is gone."""
    return f"{_PREFIX}{_machine()}-{os.getpid()}-{uuid.uuid4().hex[:12]}"


def is_staged(name: str) -> bool:
    """Whether a file or folder of this name is being written, or was left by a process that was killed."""
    return name.startswith(_PREFIX)


def clear_abandoned(folder: Path) -> None:
    """Remove what processes of this machine that are gone left in `folder` while they wrote."""
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for name in [entry.name for entry in entries if is_staged(entry.name)]:
            machine, _, rest = name.removeprefix(_PREFIX).rpartition("-")[0].rpartition("-")
            if machine == _machine() and rest.isdigit() and not is_running(int(rest)):
                _remove(folder / name)


def is_running(process: int) -> bool:
    """Whether this machine has a process of this number."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def flush(path: Path) -> None:
    """Wait until a file's content, or a folder's entries, are on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@functools.cache
def _machine() -> str:
    """Where process numbers mean what they mean here: this machine or, under the same name, this container of it."""
    name = re.sub(r"[^A-Za-z0-9.]", "_", socket.gethostname())[:60]
    try:
        return name + re.sub(r"\D", "", os.readlink("/proc/self/ns/pid"))  # noqa: PTH115 - no path at all: pid:[4026…]
    except OSError:
        return name or "_"


def _flush_tree(folder: Path) -> None:
    for root, _, files in os.walk(folder, topdown=False):
        for name in files:
            flush(Path(root) / name)
        flush(Path(root))


def _put(staged: Path, target: Path, existing: Existing) -> None:
    if existing == "replace" and os.path.lexists(target):
        _exchange(staged, target)
        flush(target.parent)
        return
    try:
        move(staged, target)
    except FileExistsError:
        if existing != "keep":
            raise


def _exchange(one: Path, other: Path) -> None:
    """Swap what two names stand for: in one step where the system can, else with a moment in which `other` is gone."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is not None:
        names = os.fsencode(one), os.fsencode(other)
        if rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
            return
    aside = other.with_name(staged_name())
    other.rename(aside)
    one.rename(other)
    aside.rename(one)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
