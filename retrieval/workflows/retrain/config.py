"""Settings of `[retrain]`."""

from __future__ import annotations

from pydantic import Field

from retrieval.config import Section


class RetrainConfig(Section):
    """The retraining chain: what it does by itself. Its gates are in `[gates]`."""

    warm_start: bool = Field(
        False,
        description="Training begins with the weights of the version that is live, where the settings of both are "
        "alike; else from scratch.",
    )
    warm_epochs: int | None = Field(
        None, ge=1, description="Epochs of a training that began warm; training.epochs when left out."
    )
    gates: bool = Field(True, description="Gates are asked, and what one refuses does not go live.")
    deploy: bool = Field(True, description="What passed is rolled out to the hosts; else the chain ends before that.")
    window_hours: float = Field(
        24.0, gt=0, description="The newest so many hours of events are compared with those before them."
    )
    keep_logs: int = Field(
        2, ge=1, le=1000, description="Built histories of the newest so many states of the log stay; older ones go."
    )
