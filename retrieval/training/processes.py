"""Starts the other processes of a training on this machine, and ends them with it.

What they get is small: paths, settings and the number they have. They map the same data from the same files.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch.distributed as dist

from retrieval.data import Split, read_dataset
from retrieval.errors import RetrievalError, UnavailableError
from retrieval.features import Features
from retrieval.storage.atomic import write_text
from retrieval.towers.config import TowerConfig
from retrieval.training.config import TrainingConfig
from retrieval.training.machine import chosen_device
from retrieval.training.ranks import Ranks, joined_from_environment, joined_on_this_machine, launched_elsewhere
from retrieval.training.run import TrainingInputs

_FEATURES, _SPLIT, _MEETING = "features", "split", "meeting"
_LAST_WORDS = 30.0  # seconds that a process which broke the connection has to end, on a busy machine


Follow = Callable[[TrainingInputs, Ranks], None]
"""What the other processes run; a function at the top of a module."""


@dataclass(frozen=True)
class _Handed:
    """The same, to be handed to another process: what is large is named by its path."""

    histories: Path
    folder: Path
    """Holds the features, the split's arrays, the meeting file, and last words."""
    split: str
    towers: TowerConfig
    config: TrainingConfig
    run_dir: Path
    positive_actions: tuple[str, ...]


@contextmanager
def processes_of(inputs: TrainingInputs, follow: Follow) -> Iterator[Ranks]:
    """This process's place among those of the training; starts the others where the settings ask for some.

    Started by torchrun, this process joins those that it started. Raises UnavailableError where one of them ends early.
    """
    config = inputs.config
    if launched_elsewhere():
        with joined_from_environment(chosen_device(config, int(os.environ.get("LOCAL_RANK", "0")))) as ranks:
            yield ranks
    elif config.processes == 1:
        yield Ranks(device=chosen_device(config))
    else:
        with (
            tempfile.TemporaryDirectory(prefix="retrieval-training-") as folder,
            _started(inputs, Path(folder), follow) as ranks,
        ):
            yield ranks


@contextmanager
def _started(inputs: TrainingInputs, folder: Path, follow: Follow) -> Iterator[Ranks]:
    count = inputs.config.processes
    device = chosen_device(inputs.config, 0)
    handed = _hand_over(inputs, folder)
    context = multiprocessing.get_context("spawn")
    others: list[BaseProcess] = [
        context.Process(target=_main, args=(handed, follow, number, count), daemon=True) for number in range(1, count)
    ]
    try:
        for process in others:
            process.start()
        _await(folder, others)
        with joined_on_this_machine(device, folder / _MEETING, 0, count) as ranks:
            if device.type == "cuda":
                _abort_with(others)
            yield ranks
        _await_end(folder, others)
    except UnavailableError as error:
        raise _explained(folder, others) or error from error
    finally:
        for process in others:
            if process.pid is not None:
                process.kill()
                process.join()


def _main(handed: _Handed, follow: Follow, number: int, count: int) -> None:
    """What another process runs from its start to its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process gets it too, and ends this one
    _end_with_parent()
    try:
        inputs = _taken_over(handed)
        device = chosen_device(handed.config, number)
        (handed.folder / f"here-{number}").touch()
        with joined_on_this_machine(device, handed.folder / _MEETING, number, count) as ranks:
            try:
                follow(inputs, ranks)
            except BaseException as error:  # noqa: BLE001
                _leave(handed, number, error)
    except BaseException as error:  # noqa: BLE001  # whatever it is, the first process tells it
        _leave(handed, number, error)


def _leave(handed: _Handed, number: int, error: BaseException) -> NoReturn:
    """Say why, then go at once: nobody is left to take leave of, and the others notice the closed connection."""
    said = str(error) if isinstance(error, RetrievalError) else "".join(traceback.format_exception(error))
    with suppress(OSError):
        write_text(handed.folder / f"error-{number}", said, durable=False)
    os._exit(1)


def _hand_over(inputs: TrainingInputs, folder: Path) -> _Handed:
    inputs.features.save(folder / _FEATURES)
    (folder / _SPLIT).mkdir()
    for part in fields(Split):
        value = getattr(inputs.split, part.name)
        if isinstance(value, np.ndarray):
            np.save(folder / _SPLIT / f"{part.name}.npy", value)
    return _Handed(
        inputs.dataset.histories.path,
        folder,
        inputs.split.name,
        inputs.towers,
        inputs.config,
        inputs.run_dir,
        inputs.positive_actions,
    )


def _taken_over(handed: _Handed) -> TrainingInputs:
    arrays = {path.stem: np.load(path, mmap_mode="r") for path in (handed.folder / _SPLIT).iterdir()}
    return TrainingInputs(
        read_dataset(handed.histories),
        Split(name=handed.split, **arrays),
        Features.load(handed.folder / _FEATURES),
        handed.towers,
        handed.config,
        handed.run_dir,
        handed.positive_actions,
    )


def _await(folder: Path, others: list[BaseProcess]) -> None:
    """Return when all are here. Raises UnavailableError where one ends instead."""
    while not all((folder / f"here-{number}").exists() for number in range(1, len(others) + 1)):
        if any(process.exitcode is not None for process in others):
            raise UnavailableError("a training process ended before it began")
        time.sleep(0.02)


def _await_end(folder: Path, others: list[BaseProcess]) -> None:
    for process in others:
        process.join(_LAST_WORDS)
    failed = _explained(folder, others)
    if failed is not None:
        raise failed


def _explained(folder: Path, others: list[BaseProcess]) -> UnavailableError | None:
    """Who ended how; None where all others are well. One that only lost the connection is not the one to blame."""
    deadline = time.monotonic() + _LAST_WORDS
    while True:
        failed = [(number, process.exitcode) for number, process in enumerate(others, 1) if process.exitcode]
        to_blame = [each for each in failed if not _lost_others(folder, each[0])]
        if to_blame or all(process.exitcode is not None for process in others) or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    if not failed:
        return None
    number, code = (to_blame or failed)[0]
    words = folder / f"error-{number}"
    if words.exists():
        why = f"failed: {words.read_text(encoding='utf-8').strip()}"
    elif code is not None and code < 0:
        why = f"was ended by {signal.Signals(-code).name}" + (" (out of memory?)" if -code == signal.SIGKILL else "")
    else:
        why = f"ended with exit code {code}"
    return UnavailableError(
        f"training process {number + 1} of {len(others) + 1} {why}\nrun again to go on from the last checkpoint"
    )


def _lost_others(folder: Path, number: int) -> bool:
    words = folder / f"error-{number}"
    return words.exists() and "lost the others" in words.read_text(encoding="utf-8")


def _end_with_parent() -> None:
    """A process whose first one was killed must not stay."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _abort_with(others: list[BaseProcess]) -> None:
    """NCCL doesn't notice that a process is gone: abort what waits for it."""

    def watch() -> None:
        waiting = list(others)
        while waiting:
            multiprocessing.connection.wait([process.sentinel for process in waiting])
            ended = [process for process in waiting if process.exitcode is not None]
            waiting = [process for process in waiting if process not in ended]
            for process in ended:
                if process.exitcode and dist.is_initialized():
                    dist.distributed_c10d._abort_process_group()  # noqa: SLF001  # there is no public way
                    return

    threading.Thread(target=watch, daemon=True).start()
