"""Evaluation: exact ranking of the full corpus, metrics, slices, and the baselines beside them."""

from retrieval.evaluation.config import EvaluationConfig
from retrieval.evaluation.evaluate import candidate_items, evaluate_baselines, evaluate_vectors, hit_rate_and_ndcg
from retrieval.evaluation.report import EvaluationReport, ModelScores, SliceScores

__all__ = [
    "EvaluationConfig",
    "EvaluationReport",
    "ModelScores",
    "SliceScores",
    "candidate_items",
    "evaluate_baselines",
    "evaluate_vectors",
    "hit_rate_and_ndcg",
]
