"""Where each test target stood when a version was trained: the figure that training reported, target by target.

It lies beside the version's towers, so that what is served later can be compared with it on the same targets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from retrieval.arrays import Ints
from retrieval.errors import ArtifactError
from retrieval.evaluation import EvaluationReport
from retrieval.storage import ArtifactStore
from retrieval.storage.arrow import read_arrow, write_arrow
from retrieval.storage.keys import version_key
from retrieval.towers.artifact import VERSION_KIND
from retrieval.types import ModelVersion
from retrieval.workflows.workspace import Settings

FILE = "test_ranks.arrow"
_PROTOCOL = b"protocol"


@dataclass(frozen=True)
class RecordedRanks:
    """Ranks of the trained towers, by exact search, before they were exported."""

    targets: Ints
    """int64 [T]: event rows of the data snapshot that the protocol names."""
    ranks: Ints
    """int64 [T]: 0-based; UNREACHABLE where a target could not be found at any length."""
    protocol: Mapping[str, Any]

    def of(self, rows: Ints) -> Ints:
        """Ranks of some of the targets, event rows int64 [n]."""
        order = np.argsort(self.targets)
        ranks: Ints = self.ranks[order[np.searchsorted(self.targets, rows, sorter=order)]]
        return ranks


def measured_under(settings: Settings, snapshot: str) -> dict[str, Any]:
    """What has to be the same for ranks to be compared: the data, and which items are ranked for whom."""
    return {"snapshot": snapshot, **settings.corpus.model_dump(mode="json")}


def write_ranks(path: Path, report: EvaluationReport, protocol: Mapping[str, Any]) -> None:
    """Write the ranks of a report's model. Raises OSError."""
    assert report.evidence is not None
    assert report.model is not None
    ranks = report.evidence.rankings[report.model.name].ranks
    table = pa.table({"target": report.evidence.targets, "rank": ranks})
    write_arrow(path, table.replace_schema_metadata({_PROTOCOL: json.dumps(dict(protocol))}))


def read_ranks(store: ArtifactStore, version: ModelVersion) -> RecordedRanks | None:
    """What a version's training wrote; None where it measured no test targets. Raises NotFoundError, ArtifactError."""
    path = store.open_artifact(version_key(version), kind=VERSION_KIND) / FILE
    if not path.is_file():
        return None
    try:
        table = read_arrow(path)
        targets, ranks = (np.asarray(table[name], np.int64) for name in ("target", "rank"))
        protocol = json.loads(table.schema.metadata[_PROTOCOL])
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path}: not the ranks of a test: {error}") from error
    return RecordedRanks(targets, ranks, protocol)
