"""Names of the segments of recorded events, and which of them have been merged into another.

A merged segment is named by the first and the last of those it was made of, and takes their place as soon as it is
there: they stay for a while, for whoever has just listed them, and are not read by anybody who lists files later.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

RECORDED = "recorded"
"""Folder of the segments, in that of the events."""
_NAME = re.compile(r"segment-(?P<first>[0-9]{12})(-(?P<last>[0-9]{12}))?\.parquet")


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """A segment's file, and the numbers of the segments that it holds, from `first` to `last`."""

    first: int
    last: int
    path: Path

    def holds(self, other: Segment) -> bool:
        """Whether another one has been merged into it."""
        return self.first <= other.first and other.last <= self.last and self.path != other.path


def as_segment(path: Path) -> Segment | None:
    """The segment in a file; None where its name is none of a segment."""
    found = _NAME.fullmatch(path.name)
    return None if found is None else Segment(int(found["first"]), int(found["last"] or found["first"]), path)


def segment_name(first: int, last: int) -> str:
    """The file name of a segment."""
    return f"segment-{first:012d}.parquet" if first == last else f"segment-{first:012d}-{last:012d}.parquet"


def merged_away(paths: Iterable[Path]) -> set[Path]:
    """Those of the files that are segments which another one beside them holds."""
    by_folder: dict[Path, list[Segment]] = defaultdict(list)
    for path in paths:
        if (segment := as_segment(path)) is not None:
            by_folder[path.parent].append(segment)
    gone: set[Path] = set()
    for segments in by_folder.values():
        widest: Segment | None = None
        for one in sorted(segments, key=lambda each: (each.first, -each.last)):
            if widest is not None and widest.holds(one):
                gone.add(one.path)
            else:
                widest = one
    return gone
