"""Settings of `[training]`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from retrieval.config import Section, is_empty
from retrieval.training.losses import LOSSES, NEEDS_CORRECTION
from retrieval.training.negatives import SOURCES
from retrieval.training.popularity import ESTIMATORS, UNCORRECTED


class MoreNegatives(Section):
    """`[[training.negatives.more]]`: one more source of negatives."""

    source: Annotated[str, SOURCES] = Field(description=f"Where they come from. {SOURCES.summaries()}.")
    number: int = Field(ge=1, description="How many are drawn for a batch.")
    options: dict[str, Any] = Field({}, description="Options of the source; it is called with them.")


class NegativesConfig(Section):
    """`[training.negatives]`: what the positives are compared with."""

    in_batch: int = Field(1024, ge=0, description="Positives of the same batch, shared as negatives (0: none).")
    uniform: int = Field(2048, ge=0, description="Items drawn uniformly from those seen in training (0: none).")
    memory: int = Field(0, ge=0, description="Positives of earlier batches, drawn from a memory of them (0: none).")
    memory_size: int = Field(16_384, ge=1, description="memory: how many positives of earlier batches are remembered.")
    more: tuple[MoreNegatives, ...] = Field(
        (), exclude_if=is_empty, description="Further sources of negatives, a table [[training.negatives.more]] each."
    )
    correction: Annotated[str, ESTIMATORS] = Field(
        "counts", description=f"Popularity correction (logQ). {ESTIMATORS.summaries()}."
    )
    correction_options: dict[str, Any] = Field(
        {},
        exclude_if=is_empty,
        description="Options of a correction that have no setting of their own; it is called with them.",
    )
    streaming_rate: float = Field(
        0.05, gt=0.0, le=1.0, description="streaming: weight of a new gap in the moving average (alpha)."
    )
    streaming_buckets: int = Field(
        131_072, ge=2, le=2**28, description="streaming: places that items are hashed into, a power of two."
    )
    streaming_hashes: int = Field(
        2, ge=1, le=16, description="streaming: hashes; the least crowded of an item's places gives its estimate."
    )

    @model_validator(mode="after")
    def _some(self) -> NegativesConfig:
        numbers = [getattr(self, name, 0) for name in SOURCES.named] + [one.number for one in self.more]
        if not any(numbers):
            raise ValueError("in_batch, uniform and memory are all 0: there is nothing to compare the positives with")
        if self.memory > self.memory_size:
            raise ValueError(
                f"memory = {self.memory} negatives can't be drawn from memory_size = {self.memory_size} remembered ones"
            )
        if self.streaming_buckets & (self.streaming_buckets - 1):
            raise ValueError(f"streaming_buckets must be a power of two, found {self.streaming_buckets}")
        return self


class TargetsConfig(Section):
    """`[training.targets]`: what is to be predicted from each position of a history."""

    method: Literal["next", "window"] = Field(
        "next",
        description="next: the next event; window: events drawn from what the user does over the next days, so that a "
        "vector holds for longer (PinnerFormer's dense all action).",
    )
    days: float = Field(14.0, gt=0, le=3650, description="window: how far it reaches in time after the next event.")
    events: int = Field(32, ge=1, le=10_000, description="window: how many events it holds at most.")
    per_position: int = Field(2, ge=1, le=100, description="window: targets drawn from it, from every position.")

    @model_validator(mode="after")
    def _enough(self) -> TargetsConfig:
        if self.method == "window" and self.per_position > self.events:
            raise ValueError(
                f"per_position = {self.per_position} targets can't be drawn from a window of events = {self.events}"
            )
        return self


class TrainingConfig(Section):
    """How the towers are trained."""

    seed: int = Field(1, ge=0, lt=2**31, description="Same seed, same data, same settings: same weights.")
    epochs: int = Field(16, ge=1, description="At most so many passes over the training events.")
    patience: int = Field(4, ge=1, description="Stop after so many validations without a better one.")
    validate_every: int = Field(2, ge=1, description="Epochs between two validations; the best checkpoint is kept.")
    loss: Annotated[str, LOSSES] = Field("sampled_softmax", description=f"What is minimised. {LOSSES.summaries()}.")
    loss_options: dict[str, Any] = Field(
        {},
        exclude_if=is_empty,
        description="Options of a loss that have no setting of their own; it is called with them.",
    )
    gbce_t: float = Field(
        0.75, ge=0.0, le=1.0, description="gbce: calibration; 0: plain binary cross-entropy, 1: overconfidence undone."
    )
    targets: TargetsConfig = Field(TargetsConfig(), description="What is to be predicted from each position.")
    action_weights: dict[str, Annotated[float, Field(ge=0.0, allow_inf_nan=False)]] = Field(
        {}, description="How much a target counts by its action, 1 unless given; 0: history only, never a target."
    )
    sample_weight_column: str = Field(
        "", description="Column of numbers among data.context_columns that each target's weight is multiplied with."
    )
    negatives: NegativesConfig = Field(NegativesConfig(), description="What the positives are compared with.")
    windows: Literal["all", "last", "by_time"] = Field(
        "all",
        description="Long histories: cut into windows that cover everything, the last window only, or by_time: targets "
        "of one period to a batch, with negatives, popularity and time-varying item features as of then.",
    )
    period_minutes: float = Field(60.0, gt=0, le=525_600, description="by_time: length of a period.")
    recent_days: float = Field(
        0.0, ge=0, description="by_time: only the last so many days hold targets, older events are history; 0: all."
    )
    batch_tokens: int = Field(6_400, ge=16, description="History tokens in a batch, padding included.")
    accumulate: int = Field(
        1,
        ge=1,
        description="Batches per optimiser step: the gradient is that of the mean over the positions of all of them; "
        "negatives are each batch's own.",
    )
    min_batches: int = Field(
        50, ge=1, description="Small logs: batches are made smaller until an epoch has about so many steps."
    )
    learning_rate: float = Field(0.004, gt=0.0, le=1.0, description="Peak learning rate of AdamW.")
    weight_decay: float = Field(0.01, ge=0.0, le=10.0, description="Weight decay of AdamW, on matrices only.")
    warmup: float = Field(0.02, ge=0.0, le=0.5, description="Share of the steps in which the rate rises to its peak.")
    final_rate: float = Field(0.05, ge=0.0, le=1.0, description="Rate at the end of the cosine decay, as a share.")
    clip: float = Field(1.0, gt=0.0, description="Largest norm of the gradient.")
    ema: float = Field(
        0.0, ge=0.0, lt=1.0, description="Decay per step of a running mean of the weights, the one that counts; 0: off."
    )
    precision: Literal["auto", "float32", "bf16"] = Field(
        "auto",
        description="Precision inside matrix products; weights and sums are always float32. auto: bf16 where the "
        "device has units for it (CUDA, processors with AMX), float32 elsewhere; the manifest says which it was.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: CUDA where there is one.")
    processes: int = Field(
        1,
        ge=1,
        le=64,
        description="Processes that share every step, on CUDA each with a device of its own; loss and weights don't "
        "depend on their number, but for rounding. Started by torchrun, its processes are used instead.",
    )
    threads: int = Field(0, ge=0, le=1024, description="CPU threads per process; 0: its share of the cores.")
    refit: bool = Field(
        False,
        description="Once validation has chosen the number of epochs, train anew for so many on what was held out for "
        "it, too: the newest events are the best to learn from. Takes as long again.",
    )
    select: str = Field("ndcg@10", min_length=1, description="Validation metric that chooses the best checkpoint.")
    validation_targets: int = Field(
        10_000, ge=1, description="Validation targets measured while training, evenly spaced where there are more."
    )
    checkpoint_seconds: float = Field(60.0, ge=0.0, description="Seconds between two checkpoints.")

    @model_validator(mode="after")
    def _recent_days_by_time(self) -> TrainingConfig:
        if self.recent_days and self.windows != "by_time":
            raise ValueError(f'recent_days = {self.recent_days:g} needs windows = "by_time", found "{self.windows}"')
        return self

    @model_validator(mode="after")
    def _loss_fits(self) -> TrainingConfig:
        uncorrected = ESTIMATORS.has(self.negatives.correction, UNCORRECTED)
        if uncorrected and LOSSES.has(self.loss, NEEDS_CORRECTION):
            raise ValueError(
                f'loss = "{self.loss}" is a way of correcting: it needs negatives.correction = "counts" or "streaming"'
            )
        return self

    @model_validator(mode="after")
    def _memory_of_one_time(self) -> TrainingConfig:
        remembered = self.negatives.memory or any(one.source == "memory" for one in self.negatives.more)
        if remembered and self.windows == "by_time":
            raise ValueError(
                'negatives of "memory" come from batches of other periods, where items were popular otherwise, and '
                'windows = "by_time" corrects for one period; choose one of them'
            )
        return self

    @model_validator(mode="after")
    def _popularity_of_one_time(self) -> TrainingConfig:
        if self.negatives.correction == "streaming" and self.windows == "by_time":
            raise ValueError(
                'negatives.correction = "streaming" knows how popular items were in the batches before, which '
                'windows = "by_time" takes of other periods; its correction is "counts"'
            )
        return self

    @model_validator(mode="after")
    def _window_targets_of_any_time(self) -> TrainingConfig:
        if self.targets.method == "window" and self.windows == "by_time":
            raise ValueError(
                'targets.method = "window" draws targets of later days, windows = "by_time" wants those of one period; '
                "choose one of them"
            )
        return self
