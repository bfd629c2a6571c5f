"""Evaluation: exact ranking of the full corpus, metrics, slices, and the baselines beside them."""

from typing import TYPE_CHECKING

from retrieval.lazy import lazy_names

if TYPE_CHECKING:
    from retrieval.evaluation.config import EvaluationConfig
    from retrieval.evaluation.evaluate import evaluate_baselines, evaluate_vectors, hit_rate_and_ndcg
    from retrieval.evaluation.report import EvaluationReport, ModelScores, SliceScores

__all__ = [
    "EvaluationConfig",
    "EvaluationReport",
    "ModelScores",
    "SliceScores",
    "evaluate_baselines",
    "evaluate_vectors",
    "hit_rate_and_ndcg",
]

__getattr__ = lazy_names(
    __name__,
    {
        "retrieval.evaluation.config": ("EvaluationConfig",),
        "retrieval.evaluation.evaluate": (
            "evaluate_baselines",
            "evaluate_vectors",
            "hit_rate_and_ndcg",
        ),
        "retrieval.evaluation.report": ("EvaluationReport", "ModelScores", "SliceScores"),
    },
)
