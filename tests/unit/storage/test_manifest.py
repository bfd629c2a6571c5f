from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.errors import ArtifactError
from retrieval.storage import MANIFEST, read_manifest, verify, write_manifest
from retrieval.storage.manifest import is_inside, parse_manifest


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """An artifact with a file, a folder with a file, and an artifact within."""
    folder = tmp_path / "artifact"
    (folder / "deep").mkdir(parents=True)
    (folder / "inner" / "more").mkdir(parents=True)
    (folder / "graph.bin").write_bytes(bytes(range(256)) * 20)
    (folder / "deep" / "names.txt").write_text("a\nb\n")
    (folder / "inner" / "more" / "weights.bin").write_bytes(b"w" * 1000)
    write_manifest(folder / "inner", "half", {"n": 1})
    write_manifest(folder, "whole", {"model": "feed", "version": 3})
    return folder


def test_it_lists_every_file_and_stands_for_what_is_within(artifact: Path) -> None:
    manifest = verify(artifact, kind="whole")
    assert sorted(manifest.files) == ["deep/names.txt", "graph.bin", f"inner/{MANIFEST}"]
    assert manifest.facts == {"model": "feed", "version": 3}
    assert manifest.files["graph.bin"].size == 5120
    assert verify(artifact, digest=manifest.digest) == manifest
    assert verify(artifact / "inner", kind="half").facts == {"n": 1}


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def extend(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def remove(path: Path) -> None:
    path.unlink()


def swap_for_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


FILES = ["graph.bin", "deep/names.txt", "inner/more/weights.bin", f"inner/{MANIFEST}"]


@pytest.mark.parametrize("damage", [truncate, extend, flip, remove, swap_for_folder])
@pytest.mark.parametrize("name", FILES)
def test_damage_anywhere_is_refused_by_name(artifact: Path, name: str, damage: Callable[[Path], None]) -> None:
    damage(artifact / name)
    with pytest.raises(ArtifactError) as caught:
        verify(artifact)
    assert name in str(caught.value)


@pytest.mark.parametrize("damage", [truncate, remove, swap_for_folder])
def test_a_damaged_manifest_is_refused_by_name(artifact: Path, damage: Callable[[Path], None]) -> None:
    damage(artifact / MANIFEST)
    with pytest.raises(ArtifactError, match=MANIFEST):
        verify(artifact)


def test_an_edited_manifest_is_known_by_its_digest(artifact: Path) -> None:
    digest = read_manifest(artifact).digest
    body = json.loads((artifact / MANIFEST).read_text())
    body["facts"]["version"] = 4
    (artifact / MANIFEST).write_text(json.dumps(body))
    verify(artifact)  # sound in itself …
    with pytest.raises(ArtifactError, match="not the manifest that was recorded"):
        verify(artifact, digest=digest)  # … but another


def test_files_swapped_between_two_artifacts_are_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "vectors").write_bytes(name.encode() * 100)
        write_manifest(tmp_path / name, "shard", {"n": name})
    held = (tmp_path / "one" / "vectors").read_bytes()
    (tmp_path / "one" / "vectors").write_bytes((tmp_path / "two" / "vectors").read_bytes())
    (tmp_path / "two" / "vectors").write_bytes(held)
    for name in ("one", "two"):
        with pytest.raises(ArtifactError, match="damaged or swapped"):
            verify(tmp_path / name)


@pytest.mark.parametrize("name", ["new.bin", "deep/new.bin", "inner/new.bin", "inner/more/new.bin"])
def test_a_file_that_nobody_listed_is_refused(artifact: Path, name: str) -> None:
    (artifact / name).write_text("smuggled in")
    with pytest.raises(ArtifactError, match=r"new\.bin: not listed"):
        verify(artifact)


def test_another_kind_or_format_is_refused(artifact: Path) -> None:
    with pytest.raises(ArtifactError, match="kind 'whole', expected 'half'"):
        verify(artifact, kind="half")
    body = json.loads((artifact / MANIFEST).read_text())
    (artifact / MANIFEST).write_text(json.dumps(body | {"format": 2}))
    with pytest.raises(ArtifactError, match="format 2, this program reads format 1"):
        read_manifest(artifact)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "", ".", "a//b", "a\\b", "./x", MANIFEST, "x\0y"])
def test_a_name_that_leads_elsewhere_is_refused(artifact: Path, name: str) -> None:
    body = json.loads((artifact / MANIFEST).read_text())
    body["files"][name] = {"size": 1, "sha256": "0" * 64}
    (artifact / MANIFEST).write_text(json.dumps(body))
    with pytest.raises(ArtifactError, match="leads out of the artifact"):
        read_manifest(artifact)


@given(st.text(max_size=30))
def test_names_that_pass_stay_inside(name: str) -> None:
    if is_inside(name):
        assert Path("/root/folder", name).resolve().is_relative_to("/root/folder")
        assert name == Path(name).as_posix()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NAMES = ("format", "kind", "created", "facts", "files")


@settings(max_examples=200)
@given(st.fixed_dictionaries(dict.fromkeys(NAMES, json_values)) | json_values)
def test_whatever_a_manifest_holds_it_is_read_or_refused(body: object) -> None:
    if isinstance(body, dict) and "format" in body:
        body["format"] = 1
    with contextlib.suppress(ArtifactError):
        parse_manifest(json.dumps(body).encode(), "x")


@given(st.binary(max_size=60))
def test_bytes_that_are_no_manifest_are_refused(raw: bytes) -> None:
    with pytest.raises(ArtifactError):
        parse_manifest(raw, "x")


def test_deeply_nested_json_is_refused() -> None:
    with pytest.raises(ArtifactError):
        parse_manifest(b"[" * 100_000, "x")
