"""The file that hnswlib 0.8 writes, read with numpy: every field that a search would follow is checked beforehand.

hnswlib's own load_index checks nothing but the length, and follows what it reads. Layout (hnswalg.h, saveIndex;
little-endian): a 96-byte header; one record per node with its links at level 0 (uint16 count, uint16 flags,
uint32 [2M]), vector (float32 [D]) and label (uint64); then per node a uint32 with the bytes of its upper lists, and
these lists, one per level from 1 up (uint16 count, uint16 zero, uint32 [M]).
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from retrieval.errors import ArtifactError
from retrieval.index.metadata import ShardMetadata

FILE = "graph.hnsw"

_HEADER = np.dtype(
    [
        ("offset_level0", "<u8"),
        ("max_elements", "<u8"),
        ("count", "<u8"),
        ("size_data_per_element", "<u8"),
        ("label_offset", "<u8"),
        ("offset_data", "<u8"),
        ("max_level", "<i4"),
        ("entry_point", "<u4"),
        ("max_m", "<u8"),
        ("max_m0", "<u8"),
        ("m", "<u8"),
        ("mult", "<f8"),
        ("ef_construction", "<u8"),
    ]
)
_BLOCK_ROWS = 1 << 16  # nodes checked at a time, so that memory stays bounded


def check_graph_file(folder: Path, vectors: npt.NDArray[np.float32], metadata: ShardMetadata) -> None:
    """Raise ArtifactError, naming the file, unless it is a sound graph over exactly `vectors` [count, D]."""
    path = folder / FILE
    count, dim, m = metadata.count, metadata.dim, metadata.M
    record = _record(m, dim)
    start = _HEADER.itemsize
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ArtifactError(f"{path}: can't be read: {error}") from error
    if size < start + count * record.itemsize + 4 * count or size % 4:
        raise ArtifactError(f"{path}: {size} bytes, too few for {count} nodes of {record.itemsize} bytes: truncated")
    data = np.memmap(path, dtype=np.uint8, mode="r")
    header = data[:start].view(_HEADER)[0]
    _check_header(path, header, metadata, record)
    nodes = data[start : start + count * record.itemsize].view(record)
    upper = data[start + count * record.itemsize :].view("<u4")
    levels, lists, owners, owner_levels = _upper_lists(path, upper, count, m, int(header["max_level"]))
    _check_entry(path, header, levels)
    _check_level0(path, nodes, vectors)
    _check_upper(path, lists, owners, owner_levels, levels)


def _record(m: int, dim: int) -> np.dtype[np.void]:
    return np.dtype(
        [("links", "<u2"), ("flags", "<u2"), ("to", "<u4", (2 * m,)), ("vector", "<f4", (dim,)), ("label", "<u8")]
    )


def _check_header(path: Path, header: np.void, metadata: ShardMetadata, record: np.dtype[np.void]) -> None:
    assert record.fields is not None
    expected = {
        "offset_level0": 0,
        "max_elements": metadata.count,
        "count": metadata.count,
        "size_data_per_element": record.itemsize,
        "label_offset": record.fields["label"][1],
        "offset_data": record.fields["vector"][1],
        "max_m": metadata.M,
        "max_m0": 2 * metadata.M,
        "m": metadata.M,
        "mult": 1.0 / math.log(metadata.M),
        "ef_construction": max(metadata.ef_construction, metadata.M),
    }
    for name, want in expected.items():
        have = header[name].item()
        if not math.isclose(have, want, rel_tol=1e-12):
            raise ArtifactError(f"{path}: header field {name} is {have!r}, expected {want!r}: damaged or swapped")


def _upper_lists(
    path: Path, words: npt.NDArray[np.uint32], count: int, m: int, max_level: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint32], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Levels [count] of the nodes, and their upper lists [x, 1 + M] with each list's node [x] and level [x].

    Most nodes have no upper list, a single zero word; walking from one non-zero word to the next skips them.
    """
    width = m + 1
    levels = np.zeros(count, dtype=np.int64)
    nonzero = np.flatnonzero(words)
    starts: list[int] = []
    owners: list[int] = []
    node = position = 0
    while (at := int(np.searchsorted(nonzero, position))) < len(nonzero):
        found = int(nonzero[at])
        node += found - position
        size = int(words[found])
        level = size // (4 * width)
        position = found + 1 + level * width
        if node >= count or size % (4 * width) or level > max_level or position > len(words):
            raise ArtifactError(f"{path}: node {node}: {size} bytes of upper lists are impossible: damaged")
        levels[node] = level
        starts.append(found + 1)
        owners.append(node)
        node += 1
    if node + len(words) - position != count:
        raise ArtifactError(f"{path}: its length fits {node + len(words) - position} nodes, not {count}: damaged")
    own = np.array(owners, dtype=np.int64)
    of_list = np.repeat(own, levels[own])
    first = np.repeat(np.array(starts, dtype=np.int64), levels[own])
    ends = np.cumsum(levels[own])
    above = np.arange(len(of_list)) - np.repeat(ends - levels[own], levels[own])
    lists = words[(first + above * width)[:, None] + np.arange(width)] if len(first) else words[:0].reshape(0, width)
    return levels, lists, of_list, above + 1


def _check_entry(path: Path, header: np.void, levels: npt.NDArray[np.int64]) -> None:
    entry, max_level = int(header["entry_point"]), int(header["max_level"])
    if entry >= len(levels) or max_level != levels[entry] or max_level != levels.max():
        raise ArtifactError(
            f"{path}: entry point {entry} at level {max_level} is not the graph's highest node: damaged"
        )


def _check_level0(path: Path, nodes: npt.NDArray[np.void], vectors: npt.NDArray[np.float32]) -> None:
    count = len(nodes)
    seen = np.zeros(count, dtype=np.bool_)
    for start in range(0, count, _BLOCK_ROWS):
        block = nodes[start : start + _BLOCK_ROWS]
        label = block["label"]
        if label.max() >= count:
            raise ArtifactError(f"{path}: label {label.max()} in a graph of {count} nodes: damaged")
        seen[label] = True
        if block["flags"].any():
            raise ArtifactError(f"{path}: a node is marked as deleted: damaged")
        _check_links(path, 0, block["links"], block["to"], count)
        if not np.array_equal(block["vector"].view("<u4"), vectors[label].view("<u4")):
            raise ArtifactError(f"{path}: its vectors are not those of vectors.npy: damaged or swapped")
    if not seen.all():
        raise ArtifactError(f"{path}: {count - int(seen.sum())} rows have no node, others have several: damaged")


def _check_upper(
    path: Path,
    lists: npt.NDArray[np.uint32],
    owners: npt.NDArray[np.int64],
    level: npt.NDArray[np.int64],
    levels: npt.NDArray[np.int64],
) -> None:
    """Links at level l must lead to nodes that have a list at level l: hnswlib would follow a null pointer."""
    links, to = lists[:, 0], lists[:, 1:]
    _check_links(path, 1, links, to, len(levels))
    used = np.arange(to.shape[1]) < links[:, None]
    target_level = levels[np.where(used, to, 0)]
    wrong = used & (target_level < level[:, None])
    if wrong.any():
        node = owners[wrong.any(axis=1)][0]
        raise ArtifactError(f"{path}: node {node} links to a node that is not on its level: damaged")


def _check_links(
    path: Path, level: int, links: npt.NDArray[np.unsignedinteger], to: npt.NDArray[np.uint32], count: int
) -> None:
    width = to.shape[1]
    if len(links) == 0:
        return
    if links.max() > width:
        raise ArtifactError(f"{path}: {links.max()} links at level {level}, {width} is the most: damaged")
    used = np.arange(width) < links[:, None]
    if np.where(used, to, 0).max() >= count:
        raise ArtifactError(f"{path}: a link at level {level} leads out of the graph of {count} nodes: damaged")
