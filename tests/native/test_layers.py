"""The rooms of the C++ core: includes run downwards only, as imports do in Python."""

from __future__ import annotations

import re
from pathlib import Path

NATIVE = Path(__file__).resolve().parents[2] / "retrieval/index/native"
MAY_INCLUDE = {
    "runtime": set(),
    "graph": {"runtime"},
    "kernels": {"runtime", "graph"},
    "search": {"runtime", "graph", "kernels"},
    "build": {"runtime", "graph", "kernels", "search"},
    "file": {"runtime", "graph"},
    "python": {"runtime", "graph", "kernels", "search", "build", "file"},
}
SOURCES = [path for path in NATIVE.rglob("*") if path.suffix in {".cpp", ".h", ".inl"}]


def includes(path: Path) -> list[str]:
    return re.findall(r'^#include "(.*)"', path.read_text(), re.MULTILINE)


def test_every_file_lies_in_a_room() -> None:
    assert {path.parent.parent for path in SOURCES} == {NATIVE}
    assert {path.parent.name for path in SOURCES} == set(MAY_INCLUDE)


def test_rooms_include_only_what_lies_below_them() -> None:
    upwards = [
        f"{path.relative_to(NATIVE)} includes {name}"
        for path in SOURCES
        for name in includes(path)
        if (room := name.split("/")[0]) != path.parent.name and room not in MAY_INCLUDE[path.parent.name]
    ]
    assert upwards == []
