"""The kinds of features: one small file each, and one line each here."""

from __future__ import annotations

from inspect import isabstract
from typing import TYPE_CHECKING

from retrieval.strategies import Strategies, Strategy

if TYPE_CHECKING:
    from retrieval.features.declaration import Declaration

_HERE = "retrieval.features.kinds"

KINDS = Strategies(
    setting="features.*.kind",
    expects="a subclass of features.declaration.Declaration with `fit` and `restore`",
    named={
        "id": Strategy(f"{_HERE}.id:IdFeature", "a raw id"),
        "categorical": Strategy(f"{_HERE}.categorical:CategoricalFeature", "one category out of few"),
        "multi_categorical": Strategy(f"{_HERE}.multi_categorical:MultiCategoricalFeature", "several categories"),
        "numeric": Strategy(f"{_HERE}.numeric:NumericFeature", "a number"),
        "age": Strategy(f"{_HERE}.age:AgeFeature", "how long ago a time was"),
        "text": Strategy(f"{_HERE}.text:TextFeature", "free text as hashed words"),
        "vector": Strategy(f"{_HERE}.vector:VectorFeature", "a dense vector that another model made"),
        "activity": Strategy(f"{_HERE}.activity:ActivityFeature", "an item's share of all recent events"),
        "first_seen": Strategy(f"{_HERE}.first_seen:FirstSeenFeature", "how long ago an item had its first event"),
        "time": Strategy(f"{_HERE}.time:TimeFeature", "calendar parts of a time"),
        "since_last": Strategy(f"{_HERE}.since_last:SinceLastFeature", "time since the user's last event"),
    },
)


def declaration_class(kind: str) -> type[Declaration]:
    """The class that declares features of a kind. Raises ConfigError where there is none, or it isn't one."""
    from retrieval.features.declaration import Declaration

    found = KINDS.load(kind)
    if not (isinstance(found, type) and issubclass(found, Declaration)):
        raise KINDS.misfit(kind, f"found {found!r}")
    if isabstract(found):
        raise KINDS.misfit(kind, f"{found.__name__} lacks {', '.join(sorted(found.__abstractmethods__))}")
    return found
