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
