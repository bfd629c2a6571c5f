"""The machine that a run uses: device, CPU threads, precision of matrix products."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch

from retrieval.errors import ConfigError
from retrieval.training.config import TrainingConfig


def chosen_device(config: TrainingConfig) -> torch.device:
    """The device that the settings name. Raises ConfigError where it isn't there."""
    if config.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("training.device is 'cuda', but torch finds no CUDA device; use 'auto' or 'cpu'")
    return torch.device(config.device)


@contextmanager
def cpu_threads(config: TrainingConfig) -> Iterator[None]:
    """As many CPU threads as the settings say, while the block runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads or os.cpu_count() or 1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def matrix_precision(config: TrainingConfig) -> Iterator[None]:
    """bf16 inside matrix products only: operands are rounded, sums, weights and everything else stay float32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium" if config.precision == "bf16" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def kept_memory() -> Iterator[None]:
    """While the block runs, freed memory stays with the process (glibc only; elsewhere nothing happens).

    Every step frees and takes again the same large tensors; given back to the system each time, their pages are zeroed
    anew, which costs about as much as the arithmetic.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    _limits(1 << 30, 1 << 40)
    try:
        yield
    finally:
        _limits(128 << 10, 128 << 10)  # what glibc starts with
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


def _limits(mapped: int, trimmed: int) -> None:
    """Set glibc's M_MMAP_THRESHOLD (-3) and M_TRIM_THRESHOLD (-1), in bytes."""
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-3, min(mapped, 1 << 30))
        mallopt(-1, min(trimmed, 2**31 - 1))
