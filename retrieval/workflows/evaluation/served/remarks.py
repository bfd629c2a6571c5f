"""What was found to differ at a stage, in words; empty where nothing does."""

from __future__ import annotations

import numpy as np

from retrieval.arrays import Ints, Mask, Vectors
from retrieval.data.config import iso_moment
from retrieval.workflows.evaluation.served.asking import Answered
from retrieval.workflows.evaluation.served.shards import BuildItems

STALE_USERS = "The user store was filled from other data than is evaluated here: `retrieval users load` fills it anew."
_SAME = 0.015
"""How far apart two vectors of an item may be to count as the same; unit vectors of cosine .9999 are .014 apart."""


def other_moments(measured: Ints, at_us: int) -> str:
    """Moments of the index that are not the build's."""
    if (measured == at_us).all():
        return ""
    return f"{iso_moment(at_us)} in place of {moments_in_words(measured)}"


def moments_in_words(moments: Ints) -> str:
    """From the first to the last."""
    first, last = int(moments.min()), int(moments.max())
    return iso_moment(first) if first == last else f"{iso_moment(first)} to {iso_moment(last)}"


def other_vectors(encoded: Vectors, held: BuildItems) -> str:
    """How many items of a build have another vector than the item tower gives them now."""
    apart = np.linalg.norm(encoded[held.rows] - held.vectors, axis=1)
    other = int((apart > _SAME).sum())
    return f"{other:,} of {len(held.rows):,} items have another vector" if other else ""


def other_items(measured: Mask, inside: Mask) -> str:
    """How many items are measured or indexed only, by masks bool [N]."""
    missing, more = int((measured & ~inside).sum()), int((inside & ~measured).sum())
    said = [f"{missing:,} items are measured but not indexed"] if missing else []
    said += [f"{more:,} are indexed but not measured"] if more else []
    return ", ".join(said)


def other_users(found: Answered) -> str:
    """How the store's users differ from the log's."""
    counts = {
        "users are not in the store": found.unknown,
        "histories are not the log's": found.histories,
        "vectors differ": found.vectors,
    }
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)


def other_lists(before: list[list[str]], after: list[list[str]]) -> str:
    """How many answers hold other items."""
    other = sum(set(one) != set(two) for one, two in zip(before, after, strict=True))
    return f"{other:,} lists differ" if other else ""
