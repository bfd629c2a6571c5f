"""Every file of a build truncated, flipped, deleted, or swapped with another's: refused, with an error that names it.

Once as a disk damages files (checksums notice), and once with checksums made to fit (what the files say must notice).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retrieval.errors import ArtifactError
from retrieval.index import Query
from retrieval.index.metadata import ExpectedShard
from retrieval.index.shard import Shard, open_shard
from retrieval.index.verify import verify_build
from retrieval.storage import MANIFEST, read_manifest, write_manifest
from tests.chaos.shards import EXPECTED, FILES, make


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("store")
    return {
        "sound": make(root, 1),
        "of another version": make(root, 2, seed=2, first=7),
        "of another dimension": make(root, 3, seed=3, dim=12, first=3),
        "of other items": make(root, 4, first=1000),
    }


@pytest.fixture
def shard(builds: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the sound build's first shard, to be damaged."""
    return Path(shutil.copytree(builds["sound"] / "shard-0-of-2", tmp_path / "shard-0-of-2"))


def reseal(folder: Path) -> None:
    """Make the manifest fit what the files now are, as damage before the checksums were taken would."""
    facts = read_manifest(folder).facts
    write_manifest(folder, "index_shard", facts)


def refused(folder: Path, name: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        open_shard(folder, EXPECTED)
    assert name in str(caught.value), f"the error does not name {name}: {caught.value}"


def test_the_sound_one_opens(shard: Path) -> None:
    assert open_shard(shard, EXPECTED).count > 200
    reseal(shard)
    assert open_shard(shard, EXPECTED).fields == ["colour", "number"]


# -- as a disk damages files


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
@pytest.mark.parametrize("part", [0.0, 0.001, 0.5, 0.999])
def test_truncated(shard: Path, name: str, part: float) -> None:
    data = (shard / name).read_bytes()
    (shard / name).write_bytes(data[: int(part * len(data))])
    refused(shard, name)


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_deleted(shard: Path, name: str) -> None:
    (shard / name).unlink()
    refused(shard, name)


@pytest.mark.parametrize("name", FILES)
def test_any_flipped_bit(shard: Path, name: str) -> None:
    data = bytearray((shard / name).read_bytes())
    random = np.random.default_rng(len(name))
    for bit in random.integers(0, len(data) * 8, 40):
        data[bit // 8] ^= 1 << (bit % 8)
        (shard / name).write_bytes(data)
        refused(shard, name)
        data[bit // 8] ^= 1 << (bit % 8)


def test_any_flipped_bit_of_the_manifest(shard: Path) -> None:
    """It may still be read with one, where the bit is in a fact that nobody checks; then its digest tells."""
    data = bytearray((shard / MANIFEST).read_bytes())
    digest = read_manifest(shard).digest
    for bit in np.random.default_rng(0).integers(0, len(data) * 8, 100):
        data[bit // 8] ^= 1 << (bit % 8)
        (shard / MANIFEST).write_bytes(data)
        with pytest.raises(ArtifactError):
            open_shard(shard, ExpectedShard(digest=digest))
        data[bit // 8] ^= 1 << (bit % 8)


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
@pytest.mark.parametrize("other", ["of another version", "of another dimension", "of other items"])
def test_swapped_for_a_file_of_another_build(shard: Path, builds: dict[str, Path], name: str, other: str) -> None:
    shutil.copy(builds[other] / "shard-0-of-2" / name, shard / name)
    with pytest.raises(ArtifactError) as caught:
        open_shard(shard, EXPECTED)
    assert str(shard) in str(caught.value)


# -- with checksums that fit


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("part", [0.0, 0.001, 0.3, 0.999])
def test_truncated_before_it_was_sealed(shard: Path, name: str, part: float) -> None:
    data = (shard / name).read_bytes()
    (shard / name).write_bytes(data[: int(part * len(data))])
    reseal(shard)
    refused(shard, name)


@pytest.mark.parametrize("name", FILES)
def test_longer_before_it_was_sealed(shard: Path, name: str) -> None:
    (shard / name).write_bytes((shard / name).read_bytes() + bytes(64))
    reseal(shard)
    refused(shard, name)


@pytest.mark.parametrize("name", FILES)
def test_missing_when_it_was_sealed(shard: Path, name: str) -> None:
    (shard / name).unlink()
    reseal(shard)
    refused(shard, name)


# What is refused, where it is not the swapped file itself, is a file that it no longer fits
FITS = {
    "graph.native": ("graph.native",),
    "graph.hnsw": ("graph.hnsw",),
    "vectors.npy": ("vectors.npy", "golden.arrow"),
    "items.arrow": ("items.arrow", "items.lookup", "golden.arrow"),
    "items.lookup": ("items.lookup",),
    "canary.arrow": ("canary.arrow",),
    "golden.arrow": ("golden.arrow",),
    "metadata.json": ("metadata.json",),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("other", ["of another version", "of another dimension", "of other items"])
def test_swapped_before_it_was_sealed(shard: Path, builds: dict[str, Path], name: str, other: str) -> None:
    shutil.copy(builds[other] / "shard-0-of-2" / name, shard / name)
    reseal(shard)
    with pytest.raises(ArtifactError) as caught:
        open_shard(shard, EXPECTED)
    assert any(fit in str(caught.value) for fit in FITS[name]), str(caught.value)


@pytest.mark.parametrize("name", FILES)
def test_swapped_with_the_neighbouring_shard(shard: Path, builds: dict[str, Path], name: str) -> None:
    shutil.copy(builds["sound"] / "shard-1-of-2" / name, shard / name)
    reseal(shard)
    with pytest.raises(ArtifactError):
        open_shard(shard, EXPECTED)


def test_a_whole_shard_in_the_place_of_another(builds: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(builds["sound"], tmp_path / "1"))
    shutil.rmtree(folder / "shard-0-of-2")
    shutil.copytree(builds["of another version"] / "shard-0-of-2", folder / "shard-0-of-2")
    with pytest.raises(ArtifactError, match="shard-0-of-2"):
        verify_build(folder)
    write_manifest(folder, "index_build", read_manifest(folder).facts)
    with pytest.raises(ArtifactError, match="version is 2, expected 1"):
        verify_build(folder)


def test_a_build_without_one_of_its_shards(builds: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(builds["sound"], tmp_path / "1"))
    shutil.rmtree(folder / "shard-1-of-2")
    with pytest.raises(ArtifactError, match="shard-1-of-2"):
        verify_build(folder)
    write_manifest(folder, "index_build", read_manifest(folder).facts)
    with pytest.raises(ArtifactError, match="shard-1-of-2"):
        verify_build(folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", 2),
        ("space_id", "2" * 64),
        ("build", 7),
        ("shard", 1),
        ("shard", 5),
        ("dim", 16),
        ("dim", 0),
        ("dim", 10**12),
        ("count", 10),
        ("count", -1),
        ("count", 2**40),
        ("count", "250"),
        ("M", 5),
        ("M", 0),
        ("M", 1),
        ("M", 2**40),
        ("ef_construction", 99),
        ("ef_search", 0),
        ("backend", "faiss"),
        ("metric", "l2"),
        ("normalised", False),
        ("recall", 1.5),
        ("recall", None),
        ("model", 3),
    ],
)
def test_metadata_that_says_otherwise(shard: Path, field: str, value: object) -> None:
    body = json.loads((shard / "metadata.json").read_text())
    body[field] = value
    (shard / "metadata.json").write_text(json.dumps(body))
    reseal(shard)
    with pytest.raises(ArtifactError):
        open_shard(shard, ExpectedShard())


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "null", '{"format": 1}', '{"format": 2}', "{" * 100_000, '"\\ud800"', "NaN"]
)
def test_metadata_that_is_none(shard: Path, text: str) -> None:
    (shard / "metadata.json").write_text(text)
    reseal(shard)
    refused(shard, "metadata.json")


def arrow_table(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def write_arrow(path: Path, table: pa.Table) -> None:
    path.unlink()  # the old file may still be mapped
    with pa.OSFile(str(path), "wb") as out, pa.ipc.new_file(out, table.schema) as writer:
        writer.write_table(table)


def test_items_that_are_not_the_shards(shard: Path) -> None:
    whole = arrow_table(shard / "items.arrow")
    ids = whole["item_id"].to_pylist()
    twice = whole.set_column(0, "item_id", pa.array([ids[0], ids[0], *ids[2:]]))
    shifted = whole.set_column(0, "item_id", pa.array([*ids[1:], ids[0]]))
    null = whole.set_column(0, "item_id", pa.array([None, *ids[1:]]))
    numbers = whole.set_column(0, "item_id", pa.array(range(len(ids))))
    unsuitable = whole.append_column("blob", pa.array([b"x"] * len(ids)))
    for table in (twice, shifted, null, numbers, unsuitable, whole.slice(1), whole.drop_columns(["item_id"])):
        write_arrow(shard / "items.arrow", table)
        reseal(shard)
        with pytest.raises(ArtifactError, match=r"items\.arrow"):
            open_shard(shard, EXPECTED)


def test_vectors_that_are_not_the_shards(shard: Path) -> None:
    whole = np.load(shard / "vectors.npy")
    broken = {
        "longer": whole * 2,
        "nan": np.where(np.arange(len(whole))[:, None] == 3, np.nan, whole).astype(np.float32),
        "zero": np.zeros_like(whole),
        "double": whole.astype(np.float64),
        "columns": np.asfortranarray(whole),
        "fewer": whole[1:],
        "narrower": np.ascontiguousarray(whole[:, :4]),
        "rotated": np.ascontiguousarray(whole[:, ::-1]),
        "integers": whole.astype(np.int32),
        "structured": np.zeros(len(whole), [("x", "<f4", (8,))]),
    }
    for vectors in broken.values():
        (shard / "vectors.npy").unlink()
        np.save(shard / "vectors.npy", vectors)
        reseal(shard)
        with pytest.raises(ArtifactError, match=r"vectors\.npy|golden\.arrow"):
            open_shard(shard, EXPECTED)


def test_a_canary_that_other_vectors_would_answer(shard: Path) -> None:
    whole = arrow_table(shard / "canary.arrow")
    rows, scores = whole["rows"].to_pylist(), whole["scores"].to_pylist()
    lower = [[score - 0.01 for score in answer] for answer in scores]
    for column, values in (
        ("scores", lower),
        ("scores", [answer[1:] for answer in scores]),
        ("rows", [answer[::-1] for answer in rows]),
        ("rows", [[answer[0], *answer[:-1]] for answer in rows]),
        ("rows", [[10**6, *answer[1:]] for answer in rows]),
        ("rows", [[-1, *answer[1:]] for answer in rows]),
        ("rows", [[] for _ in rows]),
        ("rows", [None for _ in rows]),
    ):
        at = whole.column_names.index(column)
        write_arrow(shard / "canary.arrow", whole.set_column(at, column, pa.array(values, whole[column].type)))
        reseal(shard)
        refused(shard, "canary.arrow")
    write_arrow(shard / "canary.arrow", whole.slice(0, 0))
    reseal(shard)
    refused(shard, "canary.arrow")


def test_a_graph_whose_links_are_gone_no_longer_passes_its_canary(tmp_path: Path) -> None:
    """Every field is in bounds, yet nothing is found: structure alone would let it through."""
    shard = make(tmp_path, 1, ann="hnswlib") / "shard-0-of-2"
    data = bytearray((shard / "graph.hnsw").read_bytes())
    record = 4 + 4 * 2 * 4 + 4 * 8 + 8
    count = json.loads((shard / "metadata.json").read_text())["count"]
    for node in range(count):
        data[96 + node * record] = 0
    (shard / "graph.hnsw").write_bytes(data)
    reseal(shard)
    refused(shard, "graph.hnsw")


def opened_or_refused(folder: Path) -> Shard | None:
    try:
        return open_shard(folder, EXPECTED)
    except ArtifactError as error:
        assert str(folder) in str(error)  # noqa: PT017 - it may as well be accepted
        return None


@pytest.fixture(scope="module")
def scratch(builds: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    source = builds["sound"] / "shard-0-of-2"
    folder = Path(shutil.copytree(source, tmp_path_factory.mktemp("scratch") / "shard"))
    return folder, {name: (source / name).read_bytes() for name in FILES}


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=st.sampled_from(FILES),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=3),
)
def test_any_bytes_changed_before_it_was_sealed(
    scratch: tuple[Path, dict[str, bytes]], name: str, changes: list[tuple[float, int]]
) -> None:
    """Refused by name, or still right: true scores, no item twice. Never a crash, never another error."""
    folder, sound = scratch
    data = bytearray(sound[name])
    for where, flip in changes:
        data[int(where * len(data))] ^= flip
    for other in FILES:
        (folder / other).unlink(missing_ok=True)
        (folder / other).write_bytes(data if other == name else sound[other])
    reseal(folder)
    shard = opened_or_refused(folder)
    if shard is None:
        return
    vectors = np.load(folder / "vectors.npy")
    rows = {item: row for row, item in enumerate(arrow_table(folder / "items.arrow")["item_id"].to_pylist())}
    for query in vectors[:3]:
        hits = shard.search(query[None], [Query(20)])[0]
        assert len(hits.item_ids) == len({*hits.item_ids}) == 20
        assert np.allclose(hits.scores, vectors[[rows[item] for item in hits.item_ids]] @ query, atol=5e-5)


def test_fingerprints_that_were_damaged_before_they_were_sealed(shard: Path) -> None:
    """They say nothing of what is served, and so can't be told from those of another shard of as many items."""
    path = shard / "fingerprints.npy"
    sound = path.read_bytes()
    for content in (sound[:-8], sound + b"x", b"", sound.replace(b"<u8", b"<i8")):
        path.write_bytes(content)
        reseal(shard)
        with pytest.raises(ArtifactError, match=r"fingerprints\.npy"):
            open_shard(shard, EXPECTED)
