"""Starts the other processes of a training on this machine, and ends them with it.

What they get is small: paths, settings and their rank. They map the same data from the same files.

Why not torch's own launcher (`torch.distributed.launcher.elastic_launch`): it differs in three ways that matter here.
Its agent listens on all interfaces whatever the rendezvous (c10d, c10d over a file, static; `local_addr` does not
change it), and here nothing listens beyond loopback. Every rank is a child of the agent, while here the caller itself
is the first one: it validates with functions that can't be pickled, shows progress, and goes on with the trained
weights. And it can end its workers on a signal only from the main thread, while a notebook or a server trains in
another. Trainings that torchrun started join what it made: see `ranks.joined_from_environment`.
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
from retrieval.training.warm_start import WarmStart

_FEATURES, _SPLIT, _RENDEZVOUS = "features", "split", "rendezvous"
_GRACE_S = 30.0  # seconds that a process which broke the connection has to end, on a busy machine


Follow = Callable[[TrainingInputs, Ranks], None]
"""What the other processes run; a function at the top of a module."""


@dataclass(frozen=True)
class _WorkerArguments:
    """A training's inputs as another process gets them: what is large is named by its path."""

    histories: Path
    folder: Path
    """Holds the features, the split's arrays, the rendezvous file, and why a process failed."""
    split: str
    towers: TowerConfig
    config: TrainingConfig
    run_dir: Path
    positive_actions: tuple[str, ...]
    warm: WarmStart | None


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
    arguments = _packed(inputs, folder)
    context = multiprocessing.get_context("spawn")
    others: list[BaseProcess] = [
        context.Process(target=_work, args=(arguments, follow, number, count), daemon=True)
        for number in range(1, count)
    ]
    try:
        for process in others:
            process.start()
        _await_ready(folder, others)
        with joined_on_this_machine(device, folder / _RENDEZVOUS, 0, count) as ranks:
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


def _work(arguments: _WorkerArguments, follow: Follow, number: int, count: int) -> None:
    """What another process runs from its start to its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process gets it too, and ends this one
    _end_with_parent()
    try:
        inputs = _unpacked(arguments)
        device = chosen_device(arguments.config, number)
        (arguments.folder / f"ready-{number}").touch()
        with joined_on_this_machine(device, arguments.folder / _RENDEZVOUS, number, count) as ranks:
            try:
                follow(inputs, ranks)
            except BaseException as error:  # noqa: BLE001
                _fail(arguments, number, error)
    except BaseException as error:  # noqa: BLE001  # whatever it is, the first process reports it
        _fail(arguments, number, error)


def _fail(arguments: _WorkerArguments, number: int, error: BaseException) -> NoReturn:
    """Write down why, and end at once, without leaving the group: the others notice the closed connection."""
    reason = str(error) if isinstance(error, RetrievalError) else "".join(traceback.format_exception(error))
    with suppress(OSError):
        write_text(arguments.folder / f"error-{number}", reason, durable=False)
    os._exit(1)


def _packed(inputs: TrainingInputs, folder: Path) -> _WorkerArguments:
    inputs.features.save(folder / _FEATURES)
    (folder / _SPLIT).mkdir()
    for part in fields(Split):
        value = getattr(inputs.split, part.name)
        if isinstance(value, np.ndarray):
            np.save(folder / _SPLIT / f"{part.name}.npy", value)
    return _WorkerArguments(
        inputs.dataset.histories.path,
        folder,
        inputs.split.name,
        inputs.towers,
        inputs.config,
        inputs.run_dir,
        inputs.positive_actions,
        inputs.warm,
    )


def _unpacked(arguments: _WorkerArguments) -> TrainingInputs:
    arrays = {path.stem: np.load(path, mmap_mode="r") for path in (arguments.folder / _SPLIT).iterdir()}
    return TrainingInputs(
        read_dataset(arguments.histories),
        Split(name=arguments.split, **arrays),
        Features.load(arguments.folder / _FEATURES),
        arguments.towers,
        arguments.config,
        arguments.run_dir,
        arguments.positive_actions,
        arguments.warm,
    )


def _await_ready(folder: Path, others: list[BaseProcess]) -> None:
    """Return when all have started. Raises UnavailableError where one ends instead."""
    while not all((folder / f"ready-{number}").exists() for number in range(1, len(others) + 1)):
        if any(process.exitcode is not None for process in others):
            raise UnavailableError("a training process ended before it began")
        time.sleep(0.02)


def _await_end(folder: Path, others: list[BaseProcess]) -> None:
    for process in others:
        process.join(_GRACE_S)
    failed = _explained(folder, others)
    if failed is not None:
        raise failed


def _explained(folder: Path, others: list[BaseProcess]) -> UnavailableError | None:
    """Who ended how; None where all others are well. One that only lost the connection is not the one to blame."""
    deadline = time.monotonic() + _GRACE_S
    while True:
        failed = [(number, process.exitcode) for number, process in enumerate(others, 1) if process.exitcode]
        to_blame = [each for each in failed if not _lost_others(folder, each[0])]
        if to_blame or all(process.exitcode is not None for process in others) or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    if not failed:
        return None
    number, code = (to_blame or failed)[0]
    reason = folder / f"error-{number}"
    if reason.exists():
        why = f"failed: {reason.read_text(encoding='utf-8').strip()}"
    elif code is not None and code < 0:
        why = f"was ended by {signal.Signals(-code).name}" + (" (out of memory?)" if -code == signal.SIGKILL else "")
    else:
        why = f"ended with exit code {code}"
    return UnavailableError(
        f"training process {number + 1} of {len(others) + 1} {why}\nrun again to go on from the last checkpoint"
    )


def _lost_others(folder: Path, number: int) -> bool:
    reason = folder / f"error-{number}"
    return reason.exists() and "lost the others" in reason.read_text(encoding="utf-8")


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
