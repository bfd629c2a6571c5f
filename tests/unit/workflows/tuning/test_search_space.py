"""What may be tried: parsing, refusals, and ranges."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from retrieval.errors import ConfigError
from retrieval.toml_text import toml_text
from retrieval.workflows.tuning.search_space import (
    Base,
    Choices,
    Span,
    check_tries,
    combinations,
    parse_tries,
    points_of,
)
from retrieval.workflows.workspace import Settings

BASE = Base.of(Settings(), Path("retrieval.toml"))


def checked(*flags: str, grid: bool = False) -> tuple[Choices | Span, ...]:
    return check_tries(BASE, parse_tries(flags, grid=grid))


def test_values_are_read_as_toml_or_as_text() -> None:
    (one,) = parse_tries(["towers.encoder=transformer, mean"], grid=False)
    assert one.ends == ("transformer", "mean")
    assert parse_tries(["towers.time_bias=true,false"], grid=False)[0].ends == (True, False)
    assert parse_tries(["towers.dim=64,128"], grid=False)[0].ends == (64, 128)
    assert parse_tries(["training.warmup=0.1"], grid=False)[0].ends == (0.1,)
    assert parse_tries(['towers.encoder="mean"'], grid=False)[0].ends == ("mean",)


def test_ranges() -> None:
    rate, dropout, blocks = checked(
        "training.learning_rate=1e-3..0.01:log", "towers.dropout=0..0.4", "towers.blocks=1..4"
    )
    assert isinstance(rate, Span)
    assert (rate.low, rate.high, rate.log, rate.whole) == (0.001, 0.01, True, False)
    assert isinstance(dropout, Span)
    assert not dropout.whole  # written with a whole number, but a real setting
    assert isinstance(blocks, Span)
    assert blocks.whole
    (points,) = checked("training.learning_rate=0.001..0.1:log:3")
    assert points.ends == (0.001, 0.01, 0.1)
    assert checked("towers.blocks=1..4", grid=True)[0].ends == (1, 2, 3, 4)
    assert checked("towers.blocks=1..9:3", grid=True)[0].ends == (1, 5, 9)


def test_combinations_cover_the_grid() -> None:
    tried = checked("towers.dim=32,64", "towers.blocks=1..3", grid=True)
    assert points_of(tried) == 6
    assert len({tuple(one.items()) for one in combinations(tried)}) == 6
    assert points_of(checked("towers.dropout=0.1..0.2")) is None


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("towers.dim", "expected KEY=V1,V2"),
        ("towers.dim=", "expected KEY=V1,V2"),
        ("dim=3,4", "expected a setting of features, towers, training"),
        ("index.shards=1,2", "expected a setting of features, towers, training"),
        ("towers.dmi=64,128", "did you mean 'dim'"),
        ("towers.dim=2,64", "--try towers.dim=2,64: towers.dim: .* greater than or equal to 4"),
        ("towers.dim=64,64", "twice"),
        ("towers.dim=0.5..2.5", "valid integer"),
        ("towers.encoder=lstm,mean", "'transformer', .*'mean'"),
        ("towers.encoder=1..2", "'transformer'"),
        ("training.learning_rate=0.1..0.01", "lower end comes first"),
        ("training.learning_rate=0..0.1:log", "above 0"),
        ("training.learning_rate=0..0.1", "greater than 0"),
        ("training.learning_rate=a..b", "not a range"),
        ("training.learning_rate=0.1..0.2:lin", "only :log and a number of points"),
        ("training.learning_rate=0.1..0.2:1", "2 or more"),
        ("training.batch_tokens=100..9000000:100000", "at most 2,000"),
        ("training.seed=1,2", "--seeds"),
        ("training.threads=1,2", "does not decide"),
        ("features.user=1,2", "features.user"),
        ("towers.heads=3,5", "must be an even whole number"),
    ],
)
def test_what_the_settings_do_not_allow_is_refused(flag: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        checked(flag)
    assert flag in str(refused.value)


def test_a_grid_needs_countable_values() -> None:
    with pytest.raises(ConfigError, match=r"number of points, e\.g\. towers\.dropout=0\.1\.\.0\.2:5"):
        checked("towers.dropout=0.1..0.2", grid=True)
    with pytest.raises(ConfigError, match="4,000 combinations"):
        checked("towers.blocks=1..4", "training.batch_tokens=1000..2000:1000", grid=True)
    with pytest.raises(ConfigError, match="--try is missing"):
        checked()
    with pytest.raises(ConfigError, match="tried twice"):
        checked("towers.dim=64,128", "towers.dim=32")


def test_values_that_are_valid_only_together_are_allowed() -> None:
    assert len(checked("towers.dim=48,96", "towers.heads=3,4")) == 2  # 3 heads do not fit the default width
    with pytest.raises(ConfigError, match=r"with towers\.dim=64, towers\.heads=3: .*even whole number"):
        checked("towers.dim=48,64", "towers.heads=3,4")


def test_settings_become_toml_and_are_read_back() -> None:
    data = {
        "name": 'say "ä"',
        "training": {"rate": 1e-05, "on": True, "select": None, "negatives": {"uniform": 3, "a b": 2}},
        "features": {"history": {"length": 9}, "user": [{"name": "a", "parts": ["x", "y"]}, {"name": "b"}], "item": []},
    }
    text = toml_text(data)
    del data["training"]["select"]  # type: ignore[attr-defined]
    assert tomllib.loads(text) == data
