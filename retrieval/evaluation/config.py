"""Settings of `[evaluation]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field, field_validator

from retrieval.config import Section
from retrieval.evaluation.baselines import BASELINES


class EvaluationConfig(Section):
    """What is measured after training, on the full corpus (see `[corpus]`) and exactly."""

    moved: ClassVar[Mapping[str, str]] = {
        "candidates": 'corpus.items ("engaged" or "catalog"; each as of the index that a target meets, so that "known" '
        'is "engaged")',
        "filter_seen": "corpus.allow_seen, which says the opposite",
        "reindex_minutes": "corpus.refresh_minutes",
    }

    ks: tuple[int, ...] = Field((10, 50, 200), min_length=1, description="Lengths K of the lists that are measured.")
    max_targets: int = Field(
        100_000, ge=1, description="Targets that are measured; evenly spaced ones are taken where there are more."
    )
    baselines: tuple[Annotated[str, BASELINES], ...] = Field(
        ("popularity", "recent_popularity", "covisitation", "live_covisitation_and_popularity"),
        description=f"What is measured beside the model. {BASELINES.summaries()}.",
    )
    recent_days: float = Field(
        7.0, gt=0, description="Window of recent popularity: the last days before the training events end."
    )
    covisitation_reach: int = Field(5, ge=1, le=100, description="Events after an item that count as visited with it.")
    covisitation_events: int = Field(
        10_000_000,
        ge=1,
        description="Events that co-visitation and what is counted up to each request are counted from; "
        "of more, those of users drawn at random.",
    )
    slices: tuple[str, ...] = Field(
        (), description="Columns to show separately, e.g. user.country, item.genres, context.device."
    )
    slice_values: int = Field(
        10, ge=2, le=1000, description="Values shown per column, the most frequent ones; numbers are cut in quarters."
    )
    served_targets: int = Field(
        10_000, ge=1, description="Targets that `evaluate --served` asks for; evenly spaced ones where there are more."
    )
    max_served_loss: float = Field(
        0.01,
        ge=0.0,
        le=1.0,
        description="HR@K, K the shortest length, that may be lost between the trained towers and the answer, in all "
        "and at any stage; `evaluate --served` fails where more is, by more than chance.",
    )
    block_mb: int = Field(64, ge=1, description="Memory for one block of scores, in MiB.")

    @field_validator("ks")
    @classmethod
    def _increasing(cls, ks: tuple[int, ...]) -> tuple[int, ...]:
        if any(k < 1 or k > 10_000 for k in ks) or list(ks) != sorted(set(ks)):
            raise ValueError("ks must be increasing whole numbers between 1 and 10,000")
        return ks
