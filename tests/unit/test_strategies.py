from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from retrieval.errors import ConfigError
from retrieval.evaluation import EvaluationConfig
from retrieval.features.kinds import KINDS, declaration_class
from retrieval.index.backends import BACKENDS
from retrieval.index.config import IndexConfig
from retrieval.strategies import Strategies, Strategy, own_choices, source_hash
from retrieval.towers.config import TowerConfig
from retrieval.towers.encoders import ENCODERS
from retrieval.training.config import MoreNegatives, NegativesConfig, TrainingConfig
from retrieval.training.losses import LOSSES
from retrieval.training.negatives import SOURCES
from retrieval.training.popularity import ESTIMATORS

ALL: dict[str, tuple[Strategies, type[Any], str]] = {
    "encoders": (ENCODERS, TowerConfig, "encoder"),
    "losses": (LOSSES, TrainingConfig, "loss"),
    "sources": (SOURCES, MoreNegatives, "source"),
    "estimators": (ESTIMATORS, NegativesConfig, "correction"),
    "backends": (BACKENDS, IndexConfig, "ann"),
}
REST: dict[str, dict[str, Any]] = {"sources": {"number": 1}}
EACH = [(room, name) for room, (strategies, _, _) in ALL.items() for name in strategies.named]


def test_every_kind_of_feature_is_where_its_line_says_under_its_own_name() -> None:
    for kind in KINDS.named:
        declared = declaration_class(kind)
        assert declared.model_fields["kind"].default == kind
        assert declared.__doc__
        assert declared.examples, "the settings of a new workspace show one of each"


def of_settings(room: str, choice: str) -> Any:
    _, section, key = ALL[room]
    return section(**{key: choice}, **REST.get(room, {}))


@pytest.mark.parametrize(("room", "name"), EACH)
def test_every_listed_strategy_is_where_its_line_says_and_settings_take_it(room: str, name: str) -> None:
    strategies, _, key = ALL[room]
    assert strategies.load(name).__doc__
    assert getattr(of_settings(room, name), key) == name


@pytest.mark.parametrize(("room", "name"), EACH)
def test_options_that_a_line_names_have_settings_and_are_taken(room: str, name: str) -> None:
    import inspect

    strategies, section, _ = ALL[room]
    if not callable(strategies.load(name)):  # a backend
        return
    holder = NegativesConfig if room == "sources" else section
    line = strategies.named[name]
    assert set(line.settings.values()) <= set(holder.model_fields)
    assert set(line.settings) <= set(inspect.signature(strategies.load(name)).parameters)


@pytest.mark.parametrize("room", ALL)
def test_settings_name_every_choice_and_take_an_import_path(room: str) -> None:
    strategies, section, key = ALL[room]
    described = section.model_fields[key].description
    assert all(f"{name}: {one.summary}" in described for name, one in strategies.named.items())
    assert getattr(of_settings(room, "some.package:Thing"), key) == "some.package:Thing"
    for wrong in ("HSTU", "some.package", "some.package:", ":Thing", "some package:Thing", "a:b:c", "../a:b"):
        with pytest.raises(ValidationError) as refused:
            of_settings(room, wrong)
        assert all(repr(name) in str(refused.value) for name in strategies.named)
        assert "import path" in str(refused.value)


def test_settings_know_the_names_without_torch() -> None:
    code = "import sys, retrieval.training.config, retrieval.towers.config, retrieval.index.config; "
    code += "sys.exit(bool({'torch', 'hnswlib', 'retrieval.index._native'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_source_that_is_listed_has_a_number_of_its_own() -> None:
    assert set(SOURCES.named) <= set(NegativesConfig.model_fields)


def test_own_choices_are_found_wherever_settings_make_one() -> None:
    negatives = NegativesConfig(
        more=(MoreNegatives(source="a.b:C", number=1), MoreNegatives(source="memory", number=1))
    )
    found = own_choices(TrainingConfig(loss="d:E", negatives=negatives), "training")
    assert [(key, path) for key, _, path in found] == [
        ("training.loss", "d:E"),
        ("training.negatives.more[0].source", "a.b:C"),
    ]
    measured = own_choices(EvaluationConfig(baselines=("popularity", "f.g:h")), "evaluation")
    assert [(key, path) for key, _, path in measured] == [("evaluation.baselines[1]", "f.g:h")]


# -- import paths

SHAPES = Strategies(
    "room.shape", "a class called with (size)", {"square": Strategy("shapes_of_tests:Square", "four sides")}, ("area",)
)
SQUARE = """
class Square:
    def __init__(self, size, *, scale=1):
        self.area = (scale * size) ** 2

class Line:
    def __init__(self, size):
        pass

number = 3
"""


@pytest.fixture
def shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("shapes_of_tests", "shapes", "shapes.inner", "shapes.inner.square", "broken_shapes"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "shapes_of_tests.py").write_text(SQUARE)
    (tmp_path / "broken_shapes.py").write_text("raise ValueError('not today')")
    inner = tmp_path / "shapes" / "inner"
    inner.mkdir(parents=True)
    for folder in (inner.parent, inner):
        (folder / "__init__.py").touch()
    (inner / "square.py").write_text("from shapes.sides import SIDES\nclass Square: pass\nclass Other: pass\n")
    (inner.parent / "sides.py").write_text("SIDES = 4\n")
    return tmp_path


def test_one_by_name_and_one_by_path_are_made_alike(shapes: Path) -> None:
    assert SHAPES.make("square", 3).area == SHAPES.make("shapes_of_tests:Square", 3).area == 9
    assert SHAPES.make("shapes_of_tests:Square", 3, scale=2).area == 36


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ("missing_package.mine:Shape", r"can't import missing_package\.mine: .*PYTHONPATH"),
        ("broken_shapes:Square", r"can't import broken_shapes: ValueError: not today$"),
        ("shapes_of_tests:Circle", r"shapes_of_tests has no Circle; it has Square, Line, number"),
        ("shapes_of_tests:number", r"expected a class called with \(size\); found int 3"),
        ("shapes_of_tests:Line", r"expected a class called with \(size\); made Line without area"),
        ("circle", r"expected 'square' or an import path"),
    ],
)
def test_a_path_that_leads_nowhere_or_to_another_shape_is_refused(shapes: Path, choice: str, said: str) -> None:
    with pytest.raises(ConfigError, match=rf'room\.shape = "{choice}": {said}'):
        SHAPES.make(choice, 3)


def test_an_option_that_a_strategy_does_not_take_is_refused(shapes: Path) -> None:
    with pytest.raises(ConfigError, match=r"called with \(int, colour='red'\): got an unexpected keyword.*'colour'"):
        SHAPES.make("square", 3, colour="red")


def test_the_hash_of_a_source_sees_all_of_its_package_and_nothing_else(shapes: Path) -> None:
    inside, alone = source_hash("shapes.inner.square:Square"), source_hash("shapes_of_tests:Square")
    assert inside == source_hash("shapes.inner.square:Other")
    (shapes / "shapes" / "sides.py").write_text("SIDES = 5\n")
    assert source_hash("shapes.inner.square:Square") != inside
    assert source_hash("shapes_of_tests:Square") == alone
    (shapes / "shapes_of_tests.py").write_text(SQUARE + "\n")
    assert source_hash("shapes_of_tests:Square") != alone


def test_the_hash_of_what_is_not_there_is_refused(shapes: Path) -> None:
    with pytest.raises(ConfigError, match="not_there:Square: can't import not_there"):
        source_hash("not_there:Square")
