"""The address of a version: the hash of all that decides it, by which it is found and not trained again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

import retrieval
from retrieval.data import Dataset, Split
from retrieval.training.loop import HOW_IT_IS_RUN
from retrieval.training.warm_start import WarmStart
from retrieval.workflows.training.own_code import own_code
from retrieval.workflows.workspace import Settings

# What decides a version besides settings and data: the source of these rooms.
_CODE = ("data", "features", "towers", "training")


def version_inputs_hash(settings: Settings, dataset: Dataset, split: Split, *, warm: WarmStart | None = None) -> str:
    """SHA-256 over all that decides a version: what is learned from, how, with which code and seed (rule 10).

    Settings count as they are written: what `precision = "auto"` or `device = "auto"` come to on a machine doesn't, so
    that the same inputs address the same version on every machine. The manifest says what they came to.
    """
    settled = {
        "features": settings.features.model_dump(mode="json"),
        "towers": settings.towers.model_dump(mode="json"),
        "training": settings.training.model_dump(mode="json", exclude=HOW_IT_IS_RUN),
        "positive_actions": settings.data.positive_actions,
        "corpus": settings.corpus.model_dump(mode="json"),  # validation, which chooses the weights, ranks its items
        "snapshot": dataset.snapshot,
        "split": split.name,
        "code": code_version(),
    }
    own = own_code(settings)
    if own:
        settled["own_code"] = own
    if warm is not None:
        settled["warm_start"] = warm.space_id
    digest = hashlib.sha256(json.dumps(settled, sort_keys=True).encode())
    for rows in (split.train_end, split.valid):
        digest.update(np.ascontiguousarray(rows).tobytes())
    return digest.hexdigest()


def code_version() -> str:
    """The package's version, and a hash of the source that decides what is learned."""
    digest = hashlib.sha256()
    root = Path(retrieval.__file__).parent
    for path in sorted(path for room in _CODE for path in (root / room).rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return f"{retrieval.__version__}+{digest.hexdigest()[:12]}"
