"""Which targets are asked for, and what training recorded of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retrieval.arrays import Ints
from retrieval.data.config import iso_moment
from retrieval.data.splits import evenly_spaced
from retrieval.errors import DataError
from retrieval.types import ModelVersion
from retrieval.workflows.evaluation.evaluate import EvaluationSetup
from retrieval.workflows.evaluation.recorded_ranks import RecordedRanks, measured_under, read_ranks
from retrieval.workflows.evaluation.served.remarks import moments_in_words


@dataclass(frozen=True)
class AskedTargets:
    """Which targets are asked for."""

    rows: Ints
    """int64 [T]: event rows."""
    available: int
    """Of how many they were taken."""
    recorded: RecordedRanks | None
    """What training measured of them, where it can be compared with."""
    remarks: tuple[str, ...]


def asked_targets(setup: EvaluationSetup, version: ModelVersion, at_us: int) -> AskedTargets:
    """Those that are asked for of a version, with an index of this moment. Raises DataError where there are none."""
    recorded, why = comparable_ranks(setup, version)
    rows, remark = targets_of(setup, at_us)
    if recorded is not None:
        rows = rows[np.isin(rows, recorded.targets)]
    if not len(rows):
        raise DataError("evaluation: this split has no targets")
    chosen = evenly_spaced(rows, setup.config.served_targets)
    return AskedTargets(chosen, len(rows), recorded, tuple(text for text in (why, remark) if text))


def comparable_ranks(setup: EvaluationSetup, version: ModelVersion) -> tuple[RecordedRanks | None, str]:
    """What training measured, where it can be compared with; else why not."""
    if setup.targets != "test":
        return None, "Training keeps no record of validation targets, so the first stage is the exported towers."
    recorded = read_ranks(setup.workspace.store(), version)
    if recorded is None:
        return None, f"{version} was trained without a test, so the first stage is the exported towers."
    expected = measured_under(setup.workspace.settings, setup.dataset.snapshot)
    other = [name for name in expected if recorded.protocol.get(name) != expected[name]]
    if other:
        return None, (
            f"Training measured {version} under another protocol ({', '.join(other)}), so the first stage is the "
            "exported towers."
        )
    return recorded, ""


def targets_of(setup: EvaluationSetup, at_us: int) -> tuple[Ints, str]:
    """The targets of requests that meet an index of this moment; all of them where there are none."""
    rows = setup.split.test if setup.targets == "test" else setup.split.valid
    moments = setup.corpus.moments(setup.dataset.histories.timestamps[rows])
    meet = moments == at_us
    if meet.all() or not len(rows):
        return rows, ""
    if meet.any():
        return rows[meet], f"Asked for are the targets that meet an index of {iso_moment(at_us)}."
    return rows, (
        f"No target meets an index of {iso_moment(at_us)}: evaluation's are of {moments_in_words(moments)}. What that "
        "changes stands at the stage 'moment'; `retrieval index build --set index.as_of=…` builds one of such a moment."
    )
