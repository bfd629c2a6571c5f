"""How often every item is a target: exact counts of the training window, or a streaming estimate."""

from __future__ import annotations

from retrieval.training.popularity.base import Popularity
from retrieval.training.popularity.counts import Counts, count_items
from retrieval.training.popularity.streaming import Streaming

__all__ = ["Counts", "Popularity", "Streaming", "count_items"]
