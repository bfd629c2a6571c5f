"""The same through the system: index, users, services and `retrieval evaluate --served`, as a user types them.

An index is right for its moment: where the protocol has it built for a window, or refreshed within it, it is built as
of the moment that the middle one of the targets meets, and asked for the targets that meet the same.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from retrieval.data.config import iso_moment
from retrieval.data.corpus import end_of_log, measured_corpus
from retrieval.workflows.workspace import Workspace
from tests.bench.quality.runs import Run
from tests.bench.report import Row
from tests.serving_fleet import running_fleet
from tests.whole_path import retrieval

_OVER_THE_LIMIT = 8  # exit status; the row says where


def serve_and_measure(job: Run, root: Path) -> Row:
    """HR@10 of the answers over gRPC beside what training reported of the same targets, and each stage's loss."""
    as_of = _as_of(Workspace.open(root))
    built = retrieval(root, "index", "build", *(("--set", f"index.as_of={as_of}") if as_of else ()))
    retrieval(root, "users", "load")
    retrieval(root, "deploy", built["build"], "--without-hosts", "--supersede")
    with running_fleet(root, patience_s=600.0):
        found = retrieval(
            *(root, "evaluate", "--served", "--set", f"evaluation.served_targets={job.most}"),
            code=(0, _OVER_THE_LIMIT),
        )
    stages = found["stages"]
    return {
        "kind": "served",
        "HR@10": round(stages[-1]["hit_rate"], 5),
        "HR@10_reported": round(stages[0]["hit_rate"], 5),
        "HR@10_difference": round(-found["whole"]["value"], 5),
        "lost": {
            stage["name"]: [round(number, 5) for number in (stage["loss"]["value"], *stage["loss"]["interval"])]
            for stage in stages
            if stage["loss"] is not None
        },
        "remarks": [*found["remarks"], *(f"{one['name']}: {one['remark']}" for one in stages if one["remark"])],
        "problems": found["problems"],
        "recall_of_index": round(built["recall"], 4),
        "targets": found["targets"],
        "items": built["items"],
        "version": found["version"],
        "build": found["build"],
        **({"index_as_of": as_of} if as_of else {}),
    }


def _as_of(workspace: Workspace) -> str:
    """index.as_of for the middle one of the test targets; empty for what `index build` does by itself."""
    dataset = workspace.dataset(show=False)
    split = workspace.split(dataset)
    corpus = measured_corpus(workspace.settings.corpus, dataset, split)
    middle = int(np.median(dataset.histories.timestamps[split.test]))
    (moment,) = corpus.moments(np.array([middle])).tolist()
    return "" if moment == end_of_log(dataset.histories) else iso_moment(moment)
