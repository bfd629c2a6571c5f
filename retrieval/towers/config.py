"""Settings of `[towers]`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from retrieval.config import Section, is_empty
from retrieval.towers.encoders import ATTENTION, ENCODERS


class TowerConfig(Section):
    """The shape of the two towers."""

    dim: int = Field(64, ge=4, le=1024, description="Width of the embeddings and of everything inside the towers.")
    encoder: Annotated[str, ENCODERS] = Field("hstu", description=f"What reads the history. {ENCODERS.summaries()}.")
    encoder_options: dict[str, Any] = Field(
        {},
        exclude_if=is_empty,
        description="Options of an encoder that have no setting of their own; it is called with them.",
    )
    time_bias: bool = Field(
        True, description="Attention knows how long ago each event was; only where features.history.time is on."
    )
    interests: int = Field(
        1,
        ge=1,
        le=16,
        description="Vectors of each user; an item's score is that of the nearest. Serving searches with each of them.",
    )
    blocks: int = Field(2, ge=1, le=24, description="Blocks of the encoder.")
    heads: int = Field(2, ge=1, le=32, description="Attention heads; dim / heads must be an even number.")
    expansion: int = Field(4, ge=1, le=8, description="Width of the feed-forward layers, as a multiple of dim.")
    dropout: float = Field(0.2, ge=0.0, lt=1.0, description="Share of activations dropped while training.")
    item_features_in_history: bool = Field(
        True, description="History tokens carry the item's features, not its id alone."
    )
    id_dropout: float = Field(
        0.05,
        ge=0.0,
        lt=1.0,
        description="Share of candidate items whose id is hidden while training, so that features alone carry "
        "new items; only where items have features.",
    )
    history_id_dropout: float = Field(
        0.05,
        ge=0.0,
        lt=1.0,
        description="Share of items whose id is hidden in a batch's histories while training, so that features alone "
        "carry those that training never met; only where history tokens have features.",
    )
    profile_dropout: float = Field(
        0.1,
        ge=0.0,
        lt=1.0,
        description="Share of users whose profile is hidden while training, for the sake of unknown users.",
    )
    temperature: float = Field(0.07, gt=0.001, le=2.0, description="T in the logit cosine / T (where it starts).")
    learn_temperature: bool = Field(True, description="Learn T along with the weights.")

    @model_validator(mode="after")
    def _heads_divide(self) -> TowerConfig:
        if ENCODERS.has(self.encoder, ATTENTION) and self.dim % (2 * self.heads):
            raise ValueError(f"dim {self.dim} / heads {self.heads} must be an even whole number")
        return self
