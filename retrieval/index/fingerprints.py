"""Fingerprints of what the item tower reads: items whose inputs are the same, bit by bit, have the same vector.

A build keeps one for each of its items, so that a refresh encodes only those that have changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from retrieval.errors import ArtifactError
from retrieval.index.files import check_size, map_array
from retrieval.index.metadata import ShardMetadata

FILE = "fingerprints.npy"

Fingerprints = npt.NDArray[np.uint64]

# Odd constants of SplitMix64 (Steele, Lea & Flood 2014)
_MULTIPLY = np.uint64(0xBF58476D1CE4E5B9)
_FINISH = np.uint64(0x94D049BB133111EB)


def fingerprints(inputs: Mapping[str, npt.NDArray[Any]]) -> Fingerprints:
    """uint64 [n]: a hash of each row of all inputs, arrays [n, ...] by name, in which every bit counts.

    Two rows that differ share one with a probability of about 2⁻⁶⁴. Not a defence against crafted values.
    """
    rows = len(next(iter(inputs.values())))
    state = np.zeros(rows, np.uint64)
    for name in sorted(inputs):
        values = inputs[name]
        state ^= np.frombuffer(blake2b(f"{name}:{values.dtype.str}".encode(), digest_size=8).digest(), "<u8")
        for word in _words(values, rows):
            state ^= word
            state *= _MULTIPLY
            state ^= state >> np.uint64(29)
    state *= _FINISH
    state ^= state >> np.uint64(32)
    return state


def _words(values: npt.NDArray[Any], rows: int) -> npt.NDArray[np.uint64]:
    """The bytes of every row as 64-bit words, uint64 [words, n]; a last word that is not full ends in zeros."""
    raw = np.ascontiguousarray(values).reshape(rows, -1).view(np.uint8)
    missing = -raw.shape[1] % 8
    whole = np.pad(raw, ((0, 0), (0, missing))) if missing else raw
    return np.ascontiguousarray(whole.view("<u8").T)


def write_fingerprints(folder: Path, found: Fingerprints) -> None:
    """Write `folder`/fingerprints.npy, in the order of the shard's rows."""
    np.save(folder / FILE, found.astype("<u8"), allow_pickle=False)


def open_fingerprints(folder: Path, metadata: ShardMetadata) -> Fingerprints:
    """uint64 [count]. Raises ArtifactError unless the file holds exactly that."""
    path = folder / FILE
    found = map_array(path, empty=metadata.count == 0)
    if found.shape != (metadata.count,) or found.dtype != np.dtype("<u8"):
        raise ArtifactError(f"{path}: not {metadata.count} fingerprints of 64 bits: damaged or swapped")
    check_size(path, found)
    return np.array(found, np.uint64)
