"""Settings of `[evaluation]`."""

from __future__ import annotations

from retrieval.config import Section


class EvaluationConfig(Section):
    """What is measured after training."""
