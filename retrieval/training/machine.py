"""The machine that a run uses: device, CPU threads, precision of matrix products."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Literal

import torch

from retrieval.errors import ConfigError
from retrieval.training.config import TrainingConfig


def chosen_device(config: TrainingConfig, number: int | None = None) -> torch.device:
    """The device that the settings name; of several CUDA devices that with the number, where one is given.

    Raises ConfigError where it isn't there.
    """
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if config.device == "cpu" or (config.device == "auto" and not found):
        return torch.device("cpu")
    if not found:
        raise ConfigError("training.device is 'cuda', but torch finds no CUDA device; use 'auto' or 'cpu'")
    if number is None:
        return torch.device("cuda")
    if number >= found:
        raise ConfigError(
            f"training.processes: process {number + 1} has no CUDA device of its own, torch finds {found}; "
            "use as many processes as devices, or training.device = 'cpu'"
        )
    return torch.device("cuda", number)


@contextmanager
def cpu_threads(config: TrainingConfig, processes: int = 1) -> Iterator[None]:
    """As many CPU threads as the settings say, or this one's share of the cores, while the block runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads or max(1, (os.cpu_count() or 1) // processes))
    try:
        yield
    finally:
        torch.set_num_threads(before)


Precision = Literal["float32", "bf16"]


def chosen_precision(config: TrainingConfig, device: torch.device) -> Precision:
    """The precision of products that the settings name or, with "auto", the faster one of the device.

    A processor without AMX multiplies bf16 hardly faster, even where it knows instructions for it (AVX512-BF16), and
    the rounding of the operands costs more than that saves.
    """
    if config.precision != "auto":
        return config.precision
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = device.type == "cpu" and torch.cpu._is_amx_tile_supported()  # noqa: SLF001  # public in later versions only
    return "bf16" if fast else "float32"


@contextmanager
def matrix_precision(config: TrainingConfig, device: torch.device) -> Iterator[None]:
    """Where bf16 is chosen, it is inside matrix products only: operands are rounded, all else stays float32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium" if chosen_precision(config, device) == "bf16" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def tower_precision(config: TrainingConfig, device: torch.device) -> AbstractContextManager[object]:
    """bf16 inside the towers on a GPU (autocast): activations take half the memory. Weights and sums stay float32.

    Losses belong outside it. On a CPU bf16 is for matrix products only, and `matrix_precision` sees to it.
    """
    if device.type == "cuda" and chosen_precision(config, device) == "bf16":
        return torch.autocast("cuda", torch.bfloat16)
    return nullcontext()


def limit_kernel_cache() -> None:
    """Keep few of oneDNN's compiled kernels; counts only if nothing in this process has used oneDNN yet.

    Batches differ in shape, so most kernels are used in one step only, and the 1,024 kept by default grow to 2 GB.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")


def return_memory() -> None:
    """Give what was freed back to the system (glibc only; elsewhere nothing happens)."""
    if sys.platform.startswith("linux"):
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
