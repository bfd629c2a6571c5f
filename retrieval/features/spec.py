"""Settings of `[features]`: what is known about users, items and requests, and how it becomes numbers.

A feature is declared once, here; training, indexing and serving all encode it from this declaration. What there is to
declare of each kind stands in its file, in `kinds/`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, SerializeAsAny, ValidationInfo, ValidatorFunctionWrapHandler, WrapValidator, model_validator
from pydantic_core import PydanticCustomError

from retrieval.config import Section
from retrieval.errors import ConfigError
from retrieval.features.declaration import SIDES, Declaration, Side
from retrieval.features.kinds import KINDS, declaration_class

ITEM_ID = "item_id"
"""Name of the id feature that the item side always has; histories share its vocabulary."""


def _of_its_kind(value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Declaration:  # noqa: ARG001
    """A declared feature, validated by the class of its kind."""
    if isinstance(value, Declaration):
        return value
    kind = value.get("kind") if isinstance(value, Mapping) else None
    if not isinstance(kind, str):
        raise PydanticCustomError("feature", "a feature needs a kind: {allowed}", {"allowed": KINDS.allowed()})
    try:
        declared = declaration_class(kind)
    except ConfigError as error:
        raise PydanticCustomError("feature", "{error}", {"error": str(error)}) from error
    return declared.model_validate_json(json.dumps(value)) if info.mode == "json" else declared.model_validate(value)


Feature = Annotated[SerializeAsAny[Declaration], WrapValidator(_of_its_kind)]


class HistorySpec(Section):
    """`[features.history]`: what of a user's engagement sequence the user tower sees."""

    length: int = Field(200, ge=1, le=20_000, description="Newest events that are read one by one")
    older: int = Field(
        0,
        ge=0,
        le=100_000,
        description="Events before these that are read in chunks: the nearest of 64 events, each one before it twice "
        "as long, one token each (16,000 events: 8 tokens); 0 = none",
    )
    actions: bool = Field(True, description="Whether the action (click, save, …) is an input")
    time: bool = Field(True, description="Whether the time between events is an input")

    @property
    def events(self) -> int:
        """Newest events that are read at all."""
        return self.length + self.older


class FeatureSpec(Section):
    """What is known about users, items and requests, and how it becomes numbers."""

    history: HistorySpec = Field(HistorySpec(), description="The user's engagement sequence")
    user: tuple[Feature, ...] = Field((), description="Features of the user's profile")
    item: tuple[Feature, ...] = Field((), description="Features of items, besides the implied id feature 'item_id'")
    context: tuple[Feature, ...] = Field((), description="Features known at request time")

    def declared(self, side: Side) -> tuple[Declaration, ...]:
        """The features of one side, with the implied `item_id` first on the item side."""
        given: tuple[Declaration, ...] = getattr(self, side)
        if side != "item" or any(feature.name == ITEM_ID for feature in given):
            return given
        return (declaration_class("id")(name=ITEM_ID, kind="id"), *given)

    @property
    def of_columns(self) -> bool:
        """Whether any of them reads a column of the data."""
        return any(feature.stored for side in SIDES for feature in getattr(self, side))

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for side in SIDES:
            if not getattr(self, side):  # nothing but, at most, the implied id
                continue
            names = [name for feature in self.declared(side) for name in feature.input_names]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"features.{side}: {', '.join(twice)} declared more than once")
            for feature in self.declared(side):
                self._check(side, feature)
        return self

    def _check(self, side: Side, feature: Declaration) -> None:
        where = f"features.{side}: {feature.name!r}"
        if side == "item" and feature.name == ITEM_ID and not isinstance(feature, declaration_class("id")):
            raise ValueError(f"{where} must be of kind 'id', found {feature.kind!r}")
        try:
            feature.check(side, self.history)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
