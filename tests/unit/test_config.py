from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, model_validator

from retrieval.config import FILE_NAME, Section, find_workspace, line_of, load_settings
from retrieval.errors import ConfigError, NotFoundError


class Round(Section):
    kind: Literal["round"] = "round"
    radius: float = Field(ge=0)


class Square(Section):
    kind: Literal["square"] = "square"
    side: int = 1


class Inner(Section):
    epochs: int = Field(3, ge=1, le=10)
    rate: float = Field(0.1, gt=0.0)
    name: str = "x"
    loss: Literal["a", "b"] = "a"
    parts: tuple[str, ...] = ()
    low: int = 0
    high: int = 5

    @model_validator(mode="after")
    def _ordered(self) -> Inner:
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")
        return self


class Outer(Section):
    training: Inner = Inner()
    shapes: tuple[Annotated[Round | Square, Field(discriminator="kind")], ...] = ()


FILE = """\
# a comment
[training]
epochs = 4
parts = ["one", "two"]

[[shapes]]
kind = "square"
side = 2

[[shapes]]
kind = "round"
radius = 1.5
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / FILE_NAME
    made.write_text(FILE, encoding="utf-8")
    return made


def load(path: Path, *flags: str, **environment: str) -> Outer:
    return load_settings(path, Outer, flags=flags, environment=environment)


def refused(path: Path, *flags: str, **environment: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, *flags, **environment)
    return str(caught.value)


def test_the_file_fills_what_it_names_and_defaults_the_rest(path: Path) -> None:
    settings = load(path)
    assert settings.training.epochs == 4
    assert settings.training.parts == ("one", "two")
    assert settings.training.rate == 0.1
    assert settings.shapes == (Square(side=2), Round(radius=1.5))


def test_the_environment_goes_before_the_file_and_a_flag_before_both(path: Path) -> None:
    assert load(path, RETRIEVAL_TRAINING__EPOCHS="5").training.epochs == 5
    assert load(path, "training.epochs=6", RETRIEVAL_TRAINING__EPOCHS="5").training.epochs == 6
    assert load(path, 'training.parts=["z"]').training.parts == ("z",)
    assert load(path, "training.name=plain text").training.name == "plain text"
    assert load(path, 'training.name="3"').training.name == "3"
    assert load(path, RETRIEVAL_WORKSPACE="/w", RETRIEVAL_TEST_POSTGRES="u", OTHER="1").training.epochs == 4


def test_the_process_environment_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETRIEVAL_TRAINING__RATE", "0.5")
    assert load_settings(path, Outer).training.rate == 0.5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "epochs = 4",
            "epoch = 4",
            r":3: training.epoch: no such setting; did you mean 'epochs'\?; known here: e",
        ),
        ("epochs = 4", "epochs = 4.5", r":3: training.epochs: .*integer.* \(found 4.5\)"),
        ("epochs = 4", 'epochs = "4"', r":3: training.epochs: .*integer.* \(found '4'\)"),
        ("epochs = 4", "epochs = true", r":3: training.epochs: .*integer.* \(found True\)"),
        ("epochs = 4", "epochs = 11", r":3: training.epochs: .*less than or equal to 10 \(found 11\)"),
        ("epochs = 4", "rate = nan", r":3: training.rate: .*greater than 0"),
        ("epochs = 4", 'loss = "c"', r":3: training.loss: Input should be 'a' or 'b' \(found 'c'\)"),
        ('"one", "two"', '"one", 2', r":4: training.parts.1: .*string \(found 2\)"),
        ("epochs = 4", "low = 9", r":2: training: low 9 is above high 5"),
        ("side = 2", "sides = 2", r":8: shapes.0.sides: no such setting"),
        ("radius = 1.5", "radius = -1", r":12: shapes.1.radius: .*greater than or equal to 0"),
        ("radius = 1.5", "", r":10: shapes.1.radius: Field required"),
        ('kind = "round"', 'kind = "oval"', r":1\d: shapes.1: .*'round', 'square'"),
        ("[training]", "[trainings]", r":2: trainings: no such setting; did you mean 'training'\?"),
    ],
)
def test_what_is_wrong_is_named_with_its_line_and_what_is_allowed(path: Path, old: str, new: str, message: str) -> None:
    path.write_text(FILE.replace(old, new, 1), encoding="utf-8")
    said = refused(path)
    assert re.search(re.escape(FILE_NAME) + message, said), said


def test_everything_that_is_wrong_is_said_at_once(path: Path) -> None:
    path.write_text(FILE.replace("epochs = 4", "epochs = 0\nrate = 0.0"), encoding="utf-8")
    assert [line.split(": ")[1] for line in refused(path).splitlines()] == ["training.epochs", "training.rate"]


def test_an_override_that_is_wrong_is_blamed_and_not_the_file(path: Path) -> None:
    assert refused(path, "training.epochs=0").startswith("--set training.epochs=0: training.epochs: ")
    said = refused(path, RETRIEVAL_TRAINING__EPOCHS="many")
    assert said.startswith("environment variable RETRIEVAL_TRAINING__EPOCHS: training.epochs: ")
    said = refused(path, RETRIEVAL_TRAINIGN__EPOCHS="3")
    assert said.startswith("environment variable RETRIEVAL_TRAINIGN__EPOCHS: trainign: no such setting; did you mean")
    said = refused(path, "training.low=9")
    assert said.startswith(f"{path}:2 with --set training.low=9: training: low 9 is above high 5")
    assert refused(path, "training.nothing=1").startswith("--set training.nothing=1: training.nothing: no such setting")


@pytest.mark.parametrize("flag", ["training.epochs", "=3", "training.=3", ".epochs=3"])
def test_a_flag_without_key_or_value_is_refused(path: Path, flag: str) -> None:
    assert "expected section.key=value" in refused(path, flag)


def test_a_flag_cannot_reach_through_a_plain_value(path: Path) -> None:
    assert "can't be set this way" in refused(path, "training.epochs.more=1")
    assert "can't be set this way" in refused(path, "shapes.0.side=1")


def test_a_value_cannot_smuggle_in_other_keys(path: Path) -> None:
    said = refused(path, "training.epochs=3\nrate = 1")
    assert "training.epochs" in said


def test_a_file_that_is_no_toml_or_no_file_is_named(path: Path, tmp_path: Path) -> None:
    path.write_text("[training\nepochs = 3", encoding="utf-8")
    assert "not valid TOML" in refused(path)
    assert "line 1" in refused(path)
    path.write_bytes(b"\xff\xfe\x00")
    assert "can't be read" in refused(path)
    assert "can't be read" in refused(tmp_path / "absent.toml")


def test_settings_are_frozen(path: Path) -> None:
    settings = load(path)
    with pytest.raises(ValueError, match="frozen"):
        settings.training.epochs = 5  # type: ignore[misc]


def test_a_workspace_is_found_upwards(path: Path) -> None:
    deep = path.parent / "a" / "b"
    deep.mkdir(parents=True)
    assert find_workspace(deep) == path.parent.resolve()
    path.unlink()
    with pytest.raises(NotFoundError, match="retrieval init"):
        find_workspace(deep)


@pytest.mark.parametrize(
    ("location", "line"),
    [(("training",), 2), (("training", "epochs"), 3), (("shapes", 1, "radius"), 12), (("nowhere",), None)],
)
def test_lines_of_keys(location: tuple[str | int, ...], line: int | None) -> None:
    assert line_of(FILE, location) == line
