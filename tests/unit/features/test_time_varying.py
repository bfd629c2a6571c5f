"""Time-varying item features."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from retrieval.arrays import Ints
from retrieval.data import Activity
from retrieval.features import Features, FeatureSpec, needs_activity, time_varying_columns
from retrieval.features.columns import Column
from retrieval.features.declaration import SIDES, Declaration, Side
from retrieval.features.inputs import Encoded, FeatureInput
from retrieval.features.kinds.activity import CARDINALITY, ActivityFeature, ActivityShare
from retrieval.features.kinds.age import AgeFeature
from retrieval.features.kinds.categorical import CategoricalFeature, Category
from retrieval.features.kinds.first_seen import FirstSeenFeature
from retrieval.features.kinds.transform import State, Transform
from retrieval.features.vocabulary import Counter, Vocabulary

HOUR = 3_600_000_000
SPEC = FeatureSpec(
    item=(ActivityFeature(name="hour", hours=1.0), ActivityFeature(name="day"), FirstSeenFeature(name="born"))
)


def activity() -> Activity:
    """Item 0: events at hours 1, 2, 3; item 1: at hour 3 five times; item 2: none."""
    times = np.array([1, 2, 3, 3, 3, 3, 3, 3]) * HOUR
    return Activity(np.array([0, 3, 8, 8]), times, np.array([1, 2, 3]) * HOUR, np.array([0, 1, 2, 8]))


def test_columns_are_shares_of_what_happened_before() -> None:
    columns = time_varying_columns(SPEC, activity(), np.arange(3), int(3.5 * HOUR))
    assert columns["activity:1h"].to_pylist() == pytest.approx([1 / 6, 5 / 6, 0.0])
    assert columns["activity:24h"].to_pylist() == pytest.approx([3 / 8, 5 / 8, 0.0])
    assert columns["first_event_at"].to_pylist() == [HOUR, 3 * HOUR, None]
    earlier = time_varying_columns(SPEC, activity(), np.arange(3), 3 * HOUR)
    assert earlier["activity:1h"].to_pylist() == [1.0, 0.0, 0.0]
    assert earlier["first_event_at"].to_pylist() == [HOUR, None, None]


def test_before_the_log_begins_nothing_is_known() -> None:
    columns = time_varying_columns(SPEC, activity(), np.arange(3), HOUR)
    assert all(column.null_count == 3 for column in columns.values())


def test_buckets_double_with_four_steps_and_tell_none_from_unknown() -> None:
    made = ActivityShare(ActivityFeature(name="hour"))
    shares = pa.array([None, 0.0, 1e-12, 2.0**-24, 2.0**-23, 0.25, 0.5, 1.0])
    codes = made.encode(Column.of("hour", shares, 8), None)["hour"].tolist()
    assert codes[:3] == [0, 1, 2]
    assert codes[4] - codes[3] == 4
    assert codes[6] - codes[5] == 4
    assert codes[7] == CARDINALITY - 1


def test_inputs_that_vary_with_time_say_so_and_survive_saving(tmp_path: Path) -> None:
    features = Features(SPEC, {"user": (), "context": (), "item": _fitted()}, _vocabulary())
    varying = {one.name: one.time_varying for one in features.inputs("item")}
    assert varying == {"item_id": False, "hour": True, "day": True, "born": True}
    features.save(tmp_path)
    again = Features.load(tmp_path)
    assert again.inputs("item") == features.inputs("item")
    assert again.fingerprint == features.fingerprint
    assert needs_activity(again.spec)


def test_only_what_varies_with_time_is_told_the_time_outside_of_the_context() -> None:
    varying, fixed = Told(AgeFeature(name="age")), Told(CategoricalFeature(name="colour"))
    features = Features(SPEC, dict.fromkeys(SIDES, (varying, fixed)), _vocabulary())
    at = np.array([7])
    sides: tuple[Side, ...] = ("user", "item")
    for side in sides:
        assert features.encode(side, {}, 1, at) == {"age": 7, "colour": 0}
        assert features.encode(side, {}, 1, at, time_varying=True) == {"age": 7}
        assert features.encode(side, {}, 1, time_varying=False) == {"colour": 0}
    assert features.encode("context", {}, 1, at) == {"age": 7, "colour": 7}


@pytest.mark.parametrize(
    ("side", "feature", "message"),
    [
        ("user", ActivityFeature(name="hour"), "is for items"),
        ("context", FirstSeenFeature(name="born"), "is for items"),
        ("item", ActivityFeature(name="hour", column="clicks"), "it has no column"),
    ],
)
def test_what_makes_no_sense_is_refused(side: str, feature: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FeatureSpec.model_validate({side: (feature,)})


@dataclass(frozen=True)
class Told:
    """Encodes to the time that it is told, 0 where it is told none."""

    declaration: Declaration

    def inputs(self, side: Side) -> tuple[FeatureInput, ...]:
        return (FeatureInput(self.declaration.name, side, "codes", 10, 1, None),)

    def encode(self, column: Column, at: Ints | None) -> Encoded:
        return {self.declaration.name: np.zeros(column.n, np.int64) if at is None else at}

    def state(self) -> State:
        return State()


def _vocabulary() -> Vocabulary:
    counter = Counter()
    counter.add({"a": 2, "b": 1})
    return counter.vocabulary(min_count=1, max_size=None, oov_buckets=1)


def _fitted() -> tuple[Transform, ...]:
    made = [Category(SPEC.declared("item")[0], _vocabulary())]
    return tuple(made) + tuple(one.fit(iter(())) for one in SPEC.item)
