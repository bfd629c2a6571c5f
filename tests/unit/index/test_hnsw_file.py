"""No content of graph.hnsw may crash the process or be followed out of bounds: hnswlib itself checks nothing."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import hnswlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.errors import ArtifactError
from retrieval.index.backends import hnsw
from retrieval.index.backends.hnsw_file import check_graph_file
from retrieval.index.files import open_vectors
from retrieval.index.metadata import ShardMetadata, read_metadata
from retrieval.index.query import RowQuery

HEADER = 96
M, D, N = 4, 8, 400
LINKS = 4 + 4 * 2 * M
RECORD = LINKS + 4 * D + 8


class Sample:
    """A sound graph file, and what is needed to check a changed copy of it."""

    def __init__(self, source: Path, scratch: Path) -> None:
        self.metadata: ShardMetadata = read_metadata(source)
        self.vectors = open_vectors(source, self.metadata)
        self.bytes = (source / "graph.hnsw").read_bytes()
        self.folder = scratch
        self.upper = HEADER + N * RECORD

    def check(self, changed: bytes) -> None:
        (self.folder / "graph.hnsw").write_bytes(changed)
        check_graph_file(self.folder, self.vectors, self.metadata)

    def survives(self, changed: bytes) -> bool:
        """Whether the file is accepted; then hnswlib must search it without harm, and answer in bounds."""
        (self.folder / "graph.hnsw").write_bytes(changed)
        try:
            check_graph_file(self.folder, self.vectors, self.metadata)
        except ArtifactError:
            return False
        searcher = hnsw.BACKEND.open(self.folder, self.vectors, self.metadata)
        for pool in (1, 50, N // 2):
            for rows in searcher.approximate(self.vectors[::20], pool) or []:
                assert ((rows >= 0) & (rows < N)).all()
        some = self.vectors[::20]
        for vector, hits in zip(some, searcher.search(some, [RowQuery(10, 50)] * len(some)), strict=True):
            assert np.allclose(hits.scores, self.vectors[hits.rows] @ vector, atol=1e-5)
        return True

    def put(self, offset: int, form: str, value: float) -> bytes:
        changed = bytearray(self.bytes)
        struct.pack_into(form, changed, offset, value)
        return bytes(changed)


@pytest.fixture(scope="module")
def sample(make_build: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Sample:
    built = make_build(N, dim=D, M=M, measured_k=10, min_recall=0.0, ann="hnswlib")
    return Sample(built.shard_folder(), tmp_path_factory.mktemp("graph"))


def test_the_layout_is_what_hnswlib_writes(sample: Sample) -> None:
    sample.check(sample.bytes)
    index = hnswlib.Index("ip", D)
    index.load_index(str(sample.folder / "graph.hnsw"))
    assert (index.M, index.ef_construction, index.get_current_count()) == (M, 64, N)


def test_graphs_built_by_many_threads_pass(make_build: Callable[..., Any]) -> None:
    """Then nodes are not in the order of rows: labels are a permutation."""
    built = make_build(3000, threads=4, M=5)
    nodes = np.frombuffer((built.shard_folder() / "graph.hnsw").read_bytes()[HEADER:], dtype=np.uint8)
    record = 4 + 4 * 10 + 4 * 16 + 8
    labels = nodes[: 3000 * record].reshape(3000, record)[:, -8:].copy().view("<u8")[:, 0]
    assert built.shard().count == 3000
    assert sorted(labels.tolist()) == list(range(3000))


def test_every_bit_of_the_header_is_checked(sample: Sample) -> None:
    accepted = []
    for bit in range(HEADER * 8):
        changed = bytearray(sample.bytes)
        changed[bit // 8] ^= 1 << (bit % 8)
        if sample.survives(bytes(changed)):
            accepted.append(bit)
    # Nothing but the last places of the double `mult`, which no search reads, may pass
    assert {bit // 64 for bit in accepted} <= {10}
    assert len(accepted) <= 16


@pytest.mark.parametrize(
    ("at", "form", "value"),
    [
        (HEADER, "<H", 2 * M + 1),  # more links than a node has room for
        (HEADER, "<H", 65535),
        (HEADER + 2, "<B", 1),  # marked as deleted
        (HEADER + 4, "<I", N),  # a link out of the graph
        (HEADER + 4, "<I", 2**32 - 1),
        (HEADER + LINKS, "<f", float("nan")),  # a vector that is not the row's
        (HEADER + LINKS, "<f", 0.25),
        (HEADER + RECORD - 8, "<Q", N),  # a label out of range
        (HEADER + RECORD - 8, "<Q", 2**63),
        (HEADER + 2 * RECORD - 8, "<Q", 0),  # a label twice
    ],
)
def test_nodes_that_can_not_be(sample: Sample, at: int, form: str, value: float) -> None:
    assert not sample.survives(sample.put(at, form, value))


def test_a_row_that_has_two_nodes_while_another_has_none(sample: Sample) -> None:
    """With the vector of its label, so that only counting the rows tells."""
    changed = bytearray(sample.bytes)
    second = HEADER + RECORD
    changed[second + LINKS : second + RECORD] = changed[HEADER + LINKS : HEADER + RECORD]
    assert not sample.survives(bytes(changed))


def upper_list(sample: Sample) -> int:
    """Where the size of the first upper list stands."""
    at = sample.upper
    while struct.unpack_from("<I", sample.bytes, at)[0] == 0:
        at += 4
    return at


def lower_node(sample: Sample) -> int:
    """A node with no upper list."""
    at, node = sample.upper, 0
    while (size := struct.unpack_from("<I", sample.bytes, at)[0]) != 0:
        at, node = at + 4 + size, node + 1
    return node


def test_upper_lists_that_can_not_be(sample: Sample) -> None:
    at = upper_list(sample)
    size = struct.unpack_from("<I", sample.bytes, at)[0]
    assert not sample.survives(sample.put(at, "<I", size + 4))
    assert not sample.survives(sample.put(at, "<I", 0))
    assert not sample.survives(sample.put(at, "<I", 2**32 - 4))
    assert not sample.survives(sample.put(at, "<I", size * 100))
    assert not sample.survives(sample.put(at + 4, "<I", M + 1))
    assert not sample.survives(sample.put(at + 4, "<I", 1 << 16))
    assert not sample.survives(sample.put(at + 8, "<I", N))
    # hnswlib would follow a null pointer
    assert not sample.survives(sample.put(at + 8, "<I", lower_node(sample)))


@pytest.mark.parametrize("length", [0, 1, 95, 96, 97, HEADER + RECORD, HEADER + N * RECORD, -8, -4, -1])
def test_truncated(sample: Sample, length: int) -> None:
    assert not sample.survives(sample.bytes[:length])


@pytest.mark.parametrize("extra", [b"\0", b"\0\0\0\0", b"\1\0\0\0", bytes(4096)])
def test_with_something_appended(sample: Sample, extra: bytes) -> None:
    assert not sample.survives(sample.bytes + extra)


def test_missing_or_of_other_parameters(sample: Sample, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"graph\.hnsw"):
        check_graph_file(tmp_path, sample.vectors, sample.metadata)
    (tmp_path / "graph.hnsw").write_bytes(sample.bytes)
    for other in ({"M": M + 1}, {"dim": D - 4}, {"count": N - 1}, {"ef_construction": 65}):
        metadata = replace(sample.metadata, **other)
        vectors = sample.vectors[: metadata.count, : metadata.dim]
        with pytest.raises(ArtifactError, match=r"graph\.hnsw"):
            check_graph_file(tmp_path, vectors, metadata)


@settings(max_examples=300)
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=4))
def test_random_bytes_changed(sample: Sample, changes: list[tuple[float, int]]) -> None:
    changed = bytearray(sample.bytes)
    for where, flip in changes:
        changed[int(where * len(changed))] ^= flip
    sample.survives(bytes(changed))


@settings(max_examples=200)
@given(
    where=st.floats(0, 1, exclude_max=True),
    value=st.sampled_from([0, 1, M, N - 1, N, 2**16, 2**31 - 1, 2**31, 2**32 - 1]),
)
def test_random_words_set_to_boundary_values(sample: Sample, where: float, value: int) -> None:
    at = int(where * (len(sample.bytes) // 4)) * 4
    sample.survives(sample.put(at, "<I", value))


@settings(max_examples=100)
@given(where=st.floats(0, 1, exclude_max=True), value=st.sampled_from([0, 1, M, N - 1, N, 2**16, 2**31, 2**32 - 1]))
def test_random_upper_words_set_to_boundary_values(sample: Sample, where: float, value: int) -> None:
    words = (len(sample.bytes) - sample.upper) // 4
    sample.survives(sample.put(sample.upper + int(where * words) * 4, "<I", value))
