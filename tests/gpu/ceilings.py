"""What the card can do at most, measured here: a large bf16 product and a large copy, beside its data sheet."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from tests.gpu.machine import data_sheet
from tests.gpu.report import Figures, Recorder
from tests.gpu.sections import Place


def run(record: Recorder, place: Place) -> None:
    """Both measurements, as checks that fail only where the card computes nonsense."""
    with record.check("bf16 product") as figures:
        rate = matrix_rate(place)
        figures["tflops"] = rate / 1e12
        _beside_data_sheet(figures, place, 0, rate / 1e12)
    with record.check("copy") as figures:
        rate = copy_rate(place)
        figures["gb_per_s"] = rate / 1e9
        _beside_data_sheet(figures, place, 1, rate / 1e12)


def matrix_rate(place: Place) -> float:
    """FLOP/s of a square bf16 product of random numbers."""
    n = 256 if place.small else 8192
    a, b = (torch.randn(n, n, device=place.device).bfloat16() for _ in range(2))
    out = a @ b
    if not torch.isfinite(out).all():
        raise ArithmeticError("a bf16 product of finite numbers is not finite")
    return 2 * n**3 / median_seconds(lambda: torch.mm(a, b, out=out), place)


def copy_rate(place: Place) -> float:
    """Bytes/s of a copy within the device's memory, those read and those written."""
    source = torch.randint(0, 255, ((1 << 20) if place.small else (4 << 30),), dtype=torch.uint8, device=place.device)
    target = torch.empty_like(source)
    return 2 * source.numel() / median_seconds(lambda: target.copy_(source), place)


def median_seconds(work: Callable[[], object], place: Place, repeats: int = 10) -> float:
    """The median time of some work on the device, after three times that don't count."""
    rounds = 2 if place.small else repeats
    for _ in range(3):
        work()
    found = []
    for _ in range(rounds):
        synchronise(place.device)
        started = time.perf_counter()
        work()
        synchronise(place.device)
        found.append(time.perf_counter() - started)
    return sorted(found)[len(found) // 2]


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _beside_data_sheet(figures: Figures, place: Place, which: int, rate: float) -> None:
    if place.device.type != "cuda":
        return
    known = data_sheet(torch.cuda.get_device_name(place.device))
    if known is not None:
        figures["share_of_data_sheet"] = rate / known[which]
