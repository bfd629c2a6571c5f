"""Several processes on a card each (NCCL), beside one; on the CPU two (gloo). What is dropped, on one card."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from retrieval.towers.dropout import Dropout, rows_of_batch
from retrieval.training.journal import METRICS, read_journal
from retrieval.training.loop import train
from tests.gpu.report import Recorder, SkippedError
from tests.gpu.sections import Place
from tests.gpu.world import World, make_world, settings, towers

_MOST = 4
_LOSS = 1e-3  # sums in another order


def run(record: Recorder, place: Place) -> None:
    """What is dropped, and so the losses of a float32 run, don't depend on the number of processes."""
    for dtype in (torch.float32, torch.bfloat16):
        with record.check(f"parts are dropped from as the whole is, {dtype}") as figures:
            figures.at_most("differing", _dropped_apart(place.device, dtype), 0)
    with record.check("as one process") as figures, tempfile.TemporaryDirectory() as folder:
        count = min(_MOST, torch.cuda.device_count()) if place.device.type == "cuda" else 2
        if count < 2:
            raise SkippedError("one card only")
        root = Path(folder)
        sizes = (60, 40, 20, 12) if place.small else (1500, 400, 80, 50)
        users, items, events, length = sizes
        world = make_world(root / "world", users=users, items=items, events=events, length=length)
        alone, together = (_losses(world, place, root / str(number), number) for number in (1, count))
        figures["processes"] = count
        apart = max(abs(a - b) / abs(b) for a, b in zip(together, alone, strict=True))
        figures.at_most("losses_apart", apart, _LOSS)


def _dropped_apart(device: torch.device, dtype: torch.dtype) -> float:
    """How many elements of a batch another process count would have dropped."""
    drop, whole = Dropout(0.3).train(), torch.randn(301, 37, 64, device=device, dtype=dtype)
    torch.manual_seed(5)
    want = drop(whole) == 0
    differing = 0
    for count in (2, 3):
        for number in range(count):
            rows = slice(number, None, count)
            torch.manual_seed(5)
            with rows_of_batch(rows, len(whole)):
                differing += int(((drop(whole[rows]) == 0) != want[rows]).sum())
    return differing


def _losses(world: World, place: Place, folder: Path, count: int) -> list[float]:
    """Of each epoch."""
    config = settings(place.device, small=place.small, epochs=2, precision="float32", processes=count, threads=1)
    shape = towers("hstu", small=place.small, dropout=0.2)
    train(world.dataset, world.split, world.features, shape, config, run_dir=folder, show=False)
    return [row["loss"] for row in read_journal(folder / METRICS) if row["kind"] == "train"]
