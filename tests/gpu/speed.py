"""How fast: examples and items per second, and what share of the card's bf16 rate and bandwidth that takes.

A step's FLOPs are those of its matrix products, counted as they run. Its bytes are what its operations read and write,
each by itself, as they do without a compiler; what the caches hold is counted too, and a table that is looked up in is
counted whole. The device is busy while one of its kernels runs; the rest of a step it waits for Python.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from retrieval.training.epoch import plan_epoch, take_step
from retrieval.training.machine import matrix_precision, tower_precision
from retrieval.training.run import Run
from tests.gpu.ceilings import copy_rate, matrix_rate, median_seconds, synchronise
from tests.gpu.encoding import item_tower, with_ids
from tests.gpu.machine import data_sheet
from tests.gpu.report import Figures, Recorder
from tests.gpu.sections import Place
from tests.gpu.world import make_world, settings, towers


@dataclass(frozen=True)
class Shape:
    """Towers and a batch that a step is timed with."""

    name: str
    encoder: str
    dim: int
    blocks: int
    tokens: int


SHAPES = (
    Shape("hstu, dim 64, 6,400 tokens (the defaults)", "hstu", 64, 2, 6_400),
    Shape("hstu, dim 64, 65,536 tokens", "hstu", 64, 2, 65_536),
    Shape("hstu, dim 256, 4 blocks, 65,536 tokens", "hstu", 256, 4, 65_536),
    Shape("transformer, dim 256, 4 blocks, 65,536 tokens", "transformer", 256, 4, 65_536),
)


def run(record: Recorder, place: Place) -> None:
    """Training steps of several shapes, then the item tower alone and with reading its features."""
    ceilings = (matrix_rate(place), copy_rate(place))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        users, items, events, length = (60, 40, 20, 12) if place.small else (2500, 3000, 300, 200)
        world = make_world(root / "world", users=users, items=items, events=events, length=length)
        for number, shape in enumerate(SHAPES[:1] if place.small else SHAPES):
            with record.check(shape.name) as figures:
                config = settings(place.device, small=place.small, batch_tokens=shape.tokens, min_batches=1)
                wide = towers(shape.encoder, small=place.small, dropout=0.2)
                if not place.small:
                    wide = wide.model_copy(update={"dim": shape.dim, "blocks": shape.blocks})
                training = world.run(wide, config, place.device, root / f"run-{number}")
                training.pair.train()
                _time_steps(figures, training, place, ceilings)
            with record.check(f"{shape.name}: share of a step that the device is busy") as figures:
                figures.update(_busy(training, place))
        with record.check("items: tower alone") as figures:
            tower = item_tower(world, place.device, small=place.small)
            training = world.run(
                towers("mean", small=place.small),
                settings(place.device, small=place.small),
                place.device,
                root / "items",
            )
            rows = torch.arange(items, device=place.device).repeat(1 if place.small else 100)
            encoded = training.objective._inputs.items.items(rows)
            pair = training.pair.eval()
            with torch.no_grad(), tower_precision(training.config, place.device):
                seconds = median_seconds(lambda: pair.item(encoded), place)
            figures["items_per_s"] = len(rows) / seconds
        with record.check("items: read, encoded, brought back") as figures:
            table, at_us = with_ids(world), world.dataset.histories.last_us
            figures["items_per_s"] = items / median_seconds(lambda: tower.encode(table, at_us), place, 3)


def _time_steps(figures: Figures, training: Run, place: Place, ceilings: tuple[float, float]) -> None:
    windows, steps = plan_epoch(training, 0)
    if place.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(place.device)
    with matrix_precision(training.config, place.device):
        for step in range(3):
            take_step(training, windows, steps[step % len(steps)], step)
        flops, moved = _counted(lambda: take_step(training, windows, steps[0], 0))
        synchronise(place.device)
        examples, number, started = 0, 0, time.perf_counter()
        while time.perf_counter() - started < (0.2 if place.small else 5.0):
            examples += take_step(training, windows, steps[number % len(steps)], number)[0]
            number += 1
        synchronise(place.device)
        seconds = (time.perf_counter() - started) / number
        counted = median_seconds(lambda: take_step(training, windows, steps[0], 0), place)
    reading = median_seconds(lambda: training.reader.read(windows, steps[0][0]), place, 5)
    figures.update(
        {
            "examples_per_s": examples / (seconds * number),
            "step_ms": 1000 * seconds,
            "read_ms": 1000 * reading,
            "gflop": flops / 1e9,
            "gb": moved / 1e9,
            "share_of_bf16_rate": flops / counted / ceilings[0],
            "share_of_bandwidth": moved / counted / ceilings[1],
        }
    )
    if place.device.type == "cuda":
        known = data_sheet(torch.cuda.get_device_name(place.device))
        if known is not None:
            figures["share_of_data_sheet_rate"] = flops / counted / (known[0] * 1e12)
            figures["share_of_data_sheet_bandwidth"] = moved / counted / (known[1] * 1e12)
        figures["memory_gb"] = torch.cuda.max_memory_allocated(place.device) / 1e9


def _busy(training: Run, place: Place) -> dict[str, float]:
    """Time of the device's kernels in a step (on the CPU, of its operations), beside a step without a profiler."""
    windows, steps = plan_epoch(training, 0)
    cuda = place.device.type == "cuda"
    activity = torch.profiler.ProfilerActivity.CUDA if cuda else torch.profiler.ProfilerActivity.CPU
    with matrix_precision(training.config, place.device):
        seconds = median_seconds(lambda: take_step(training, windows, steps[0], 0), place)
        with torch.profiler.profile(activities=[activity]) as profile:
            take_step(training, windows, steps[0], 0)
            synchronise(place.device)
    time_of = "self_device_time_total" if cuda else "self_cpu_time_total"
    busy = sum(getattr(event, time_of) for event in profile.key_averages()) / 1e6
    return {"busy_ms": 1000 * busy, "step_ms": 1000 * seconds, "busy_share": busy / seconds}


def _counted(work) -> tuple[int, int]:  # type: ignore[no-untyped-def]
    """FLOPs of the matrix products, and bytes that the operations read and write."""
    with FlopCounterMode(display=False) as flops:
        work()
    with _Bytes() as moved:
        work()
    return flops.get_total_flops(), moved.total


class _Bytes(TorchDispatchMode):
    """Adds up the sizes of every operation's inputs and outputs; views move nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        views = [result.alias_info is not None and not result.alias_info.is_write for result in func._schema.returns]
        if not any(views):
            parts = (part for part in tree_leaves((args, kwargs, out)) if isinstance(part, Tensor))
            self.total += sum(part.numel() * part.element_size() for part in parts)
        return out
