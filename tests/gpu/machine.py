"""What the checks ran on: the card, the processor, versions, and what is not installed."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_SHOWN = ("torch", "triton", "numpy", "pyarrow", "pydantic", "safetensors", "onnx", "onnxruntime", "grpcio")
# Dense bf16 in TFLOP/s and memory in TB/s, of the makers' data sheets
_DATA_SHEETS = {
    "H200": (989.0, 4.8),
    "H100 PCIe": (756.0, 2.0),
    "H100 80GB HBM3": (989.0, 3.35),
    "A100-SXM4-80GB": (312.0, 2.04),
    "A100-SXM4-40GB": (312.0, 1.555),
    "L40S": (362.0, 0.864),
    "NVIDIA L4": (121.0, 0.3),
}


def no_cuda_reason() -> str:
    """Why nothing can run on CUDA here; empty where it can."""
    if find_spec("torch") is None:
        return "no CUDA device: torch is not installed"
    import torch

    if not torch.cuda.is_available():
        return f"no CUDA device: torch {torch.__version__} finds none"
    return ""


def data_sheet(card: str) -> tuple[float, float] | None:
    """The card's bf16 TFLOP/s and TB/s by its data sheet; None for a card that isn't listed here."""
    return next((figures for name, figures in _DATA_SHEETS.items() if name in card), None)


def missing(names: tuple[str, ...]) -> list[str]:
    """Those of some packages that can't be imported here."""
    return [name for name in names if find_spec(name) is None]


def machine() -> dict[str, Any]:
    """Processor, cards and versions, as the report shows them."""
    versions = {name: _version(name) for name in _SHOWN}
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "versions": {name: version for name, version in versions.items() if version},
        "not_installed": [name for name, version in versions.items() if not version],
        "cards": _cards(),
    }


def _cards() -> list[dict[str, Any]]:
    if no_cuda_reason():
        return []
    import torch

    cards = []
    for number in range(torch.cuda.device_count()):
        found = torch.cuda.get_device_properties(number)
        cards.append(
            {
                "name": found.name,
                "memory_gb": round(found.total_memory / 1e9, 1),
                "multiprocessors": found.multi_processor_count,
                "capability": f"{found.major}.{found.minor}",
                "cuda": torch.version.cuda,
            }
        )
    return cards


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
