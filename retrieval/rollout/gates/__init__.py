"""Gates: what must hold before a version goes live, in the order in which it is asked.

A line each: the name, which is also its key in `[gates]`, and the file that makes it. To add one, write a file that
makes a `GATE` (see `gate.py`), and add its line here.
"""

from __future__ import annotations

from collections.abc import Mapping

from retrieval.rollout.gates import (
    action_mix,
    against_live,
    against_popularity,
    corpus_share,
    coverage,
    duplicate_vectors,
    effective_rank,
    empty_answers,
    feature_drift,
    finite_loss,
    freshness,
    hit_rate,
    index_recall,
    kept_events,
    kept_items,
    kept_lift,
    latency,
    missing_columns,
    rejected,
    repeated_events,
    replay_overlap,
    served_loss,
    sound_build,
    tower_parity,
    vector_lengths,
    version_skew,
    volume,
    worst_slice,
    wrong_unit,
)
from retrieval.rollout.gates.gate import Gate

GATES: Mapping[str, Gate] = {
    "missing_columns": missing_columns.GATE,
    "wrong_unit": wrong_unit.GATE,
    "freshness": freshness.GATE,
    "volume": volume.GATE,
    "kept_events": kept_events.GATE,
    "rejected": rejected.GATE,
    "repeated_events": repeated_events.GATE,
    "action_mix": action_mix.GATE,
    "feature_drift": feature_drift.GATE,
    "finite_loss": finite_loss.GATE,
    "vector_lengths": vector_lengths.GATE,
    "effective_rank": effective_rank.GATE,
    "duplicate_vectors": duplicate_vectors.GATE,
    "against_live": against_live.GATE,
    "hit_rate": hit_rate.GATE,
    "against_popularity": against_popularity.GATE,
    "kept_lift": kept_lift.GATE,
    "worst_slice": worst_slice.GATE,
    "coverage": coverage.GATE,
    "sound_build": sound_build.GATE,
    "index_recall": index_recall.GATE,
    "corpus_share": corpus_share.GATE,
    "kept_items": kept_items.GATE,
    "tower_parity": tower_parity.GATE,
    "served_loss": served_loss.GATE,
    "version_skew": version_skew.GATE,
    "replay_overlap": replay_overlap.GATE,
    "empty_answers": empty_answers.GATE,
    "latency": latency.GATE,
}
