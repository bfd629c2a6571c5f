"""What a search may try: `--try key=values`, parsed, and checked against the settings before anything is trained."""

from __future__ import annotations

import itertools
import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from retrieval.config import explain, laid_over
from retrieval.errors import ConfigError
from retrieval.training.loop import HOW_IT_IS_RUN
from retrieval.workflows.workspace import Settings

SECTIONS = ("features", "towers", "training")
"""Sections whose settings may be tried: those that decide what is learned from the same data."""
MOST_POINTS = 2_000
"""The largest grid; combinations checked before the first trial."""
_EXPECTED = "expected KEY=V1,V2,… or KEY=LOW..HIGH[:log][:POINTS], e.g. training.learning_rate=0.001..0.01:log"
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})((?::[a-z0-9]+)*)")
_SAME_FOR_ALL = {
    "training.seed": "--seeds trains every trial with several",
    "training.select": "it is what trials are compared by; --set it for all",
    "training.validation_targets": "trials are compared on the same targets; --set it for all",
    **{f"training.{name}": "it does not decide what is learned; --set it for all" for name in HOW_IT_IS_RUN},
}


@dataclass(frozen=True, slots=True)
class Choices:
    """A setting and the values to try."""

    key: str
    flag: str
    values: tuple[Any, ...]

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values that must be allowed."""
        return self.values


@dataclass(frozen=True, slots=True)
class Span:
    """A numeric setting and the range to draw from, ends included; `whole` numbers or real ones."""

    key: str
    flag: str
    low: float
    high: float
    log: bool
    whole: bool

    @property
    def ends(self) -> tuple[float, float]:
        """Values that must be allowed."""
        return self.low, self.high


Tried = Choices | Span


def parse_tries(flags: Sequence[str], *, grid: bool) -> tuple[Tried, ...]:
    """Parse `--try` flags; with `grid`, every range must have countable values. Raises ConfigError naming the flag."""
    if not flags:
        raise ConfigError(f"--try is missing: what to search? {_EXPECTED}")
    tried = tuple(_parse(flag, grid=grid) for flag in flags)
    keys = [one.key for one in tried]
    for one in tried:
        if keys.count(one.key) > 1:
            raise ConfigError(f"--try {one.flag}: {one.key} is tried twice; give all its values in one --try")
    points = points_of(tried) if grid else None
    if points is not None and points > MOST_POINTS:
        raise ConfigError(
            f"--sampler grid: {points:,} combinations, at most {MOST_POINTS:,}; try fewer values, or random"
        )
    return tried


def _parse(flag: str, *, grid: bool) -> Tried:
    key, separator, text = (part.strip() for part in flag.partition("="))
    if not separator or not key or not text:
        raise ConfigError(f"--try {flag!r}: {_EXPECTED}")
    if key in _SAME_FOR_ALL:
        raise ConfigError(f"--try {flag}: {key} can't be tried: {_SAME_FOR_ALL[key]}")
    if key.partition(".")[0] not in SECTIONS or "." not in key:
        raise ConfigError(f"--try {flag}: {key!r} can't be tried; expected a setting of {', '.join(SECTIONS)}")
    found = _RANGE.fullmatch(text)
    if found is not None:
        return _range(key, flag, found, grid=grid)
    values = _values(text)
    if any(isinstance(value, str) and ".." in value for value in values):
        raise ConfigError(f"--try {flag}: not a range; {_EXPECTED}")
    if len({json.dumps(value) for value in values}) < len(values):
        raise ConfigError(f"--try {flag}: a value is given twice")
    return Choices(key, flag, values)


def _values(text: str) -> tuple[Any, ...]:
    """The values of `a,b,…`: TOML where it reads as such, otherwise text."""
    try:
        return tuple(tomllib.loads(f"values = [{text}]")["values"])
    except tomllib.TOMLDecodeError:
        return tuple(_value(part.strip()) for part in text.split(","))


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _range(key: str, flag: str, found: re.Match[str], *, grid: bool) -> Tried:
    low, high, extras = _number(found[1]), _number(found[2]), found[3].split(":")[1:]
    log = "log" in extras
    counts = [extra for extra in extras if extra != "log"]
    if len(extras) > log + 1 or any(not count.isdigit() or int(count) < 2 for count in counts):
        raise ConfigError(f"--try {flag}: after the range only :log and a number of points, 2 or more; {_EXPECTED}")
    if low >= high:
        raise ConfigError(f"--try {flag}: the range is empty; the lower end comes first")
    if log and low <= 0:
        raise ConfigError(f"--try {flag}: :log needs a range above 0")
    whole = isinstance(low, int) and isinstance(high, int)
    if not counts and not grid:
        return Span(key, flag, low, high, log, whole)
    if not counts and not whole:
        raise ConfigError(f"--try {flag}: a grid needs a number of points, e.g. {key}={found[0]}:5")
    number = int(counts[0]) if counts else int(high - low) + 1
    if number > MOST_POINTS:
        raise ConfigError(f"--try {flag}: {number:,} values, at most {MOST_POINTS:,}; add a number of points, e.g. :10")
    spaced = np.geomspace(low, high, number) if log else np.linspace(low, high, number)
    values = [round(point) if whole else short(point, low, high) for point in spaced.tolist()]
    return Choices(key, flag, tuple(dict.fromkeys(values)))


def _number(text: str) -> float:
    """A whole number where it is written as one."""
    return int(text) if re.fullmatch(r"[-+]?\d+", text) else float(text)


def short(value: float, low: float, high: float) -> float:
    """The value to 4 digits, so that what is shown is what was tried; never out of the range."""
    return min(max(float(f"{value:.4g}"), low), high)


def points_of(tried: Sequence[Tried]) -> int | None:
    """How many combinations there are; None where a range is drawn from."""
    counts = [len(one.values) for one in tried if isinstance(one, Choices)]
    return math.prod(counts) if len(counts) == len(tried) else None


def combinations(tried: Sequence[Tried]) -> Iterator[dict[str, Any]]:
    """Every combination of choices (of ranges, their ends), the last key changing fastest."""
    for values in itertools.product(*(one.ends for one in tried)):
        yield {one.key: value for one, value in zip(tried, values, strict=True)}


@dataclass(frozen=True, slots=True)
class Base:
    """The settings that every trial starts from: what was set, and the file that set it, for messages."""

    data: Mapping[str, Any]
    path: Path

    @classmethod
    def of(cls, settings: Settings, path: Path) -> Base:
        """From validated settings; defaults are left out, so that they stay defaults."""
        return cls(settings.model_dump(mode="json", exclude_unset=True), path)

    def laid(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The settings' data with `section.key` values over it."""
        data: dict[str, Any] = dict(self.data)
        for key, value in values.items():
            data = laid_over(data, nested(key, value))
        return data

    def settings(self, values: Mapping[str, Any]) -> Settings:
        """Validated settings with `section.key` values over them. Raises pydantic's ValidationError."""
        return Settings.model_validate_json(json.dumps(self.laid(values)))

    def explained(self, error: ValidationError, values: Mapping[str, Any], flags: Sequence[str]) -> str:
        """The error in words, naming the flags."""
        sources = {tuple(key.split(".")): f"--try {flag}" for key, flag in zip(values, flags, strict=True)}
        text = self.path.read_text(encoding="utf-8") if self.path.is_file() else ""
        return explain(error, Settings, path=self.path, text=text, data=self.laid(values), sources=sources)


def nested(key: str, value: Any) -> dict[str, Any]:
    """`a.b = 1` as {"a": {"b": 1}}."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return dict(value)


def check_tries(base: Base, tried: Sequence[Tried]) -> tuple[Tried, ...]:
    """The same, ranges of real settings made real, once every value and combination was validated.

    Values are validated one by one, then together (of more than 2,000 combinations, so many evenly spaced ones).
    Raises ConfigError that names the flag, the key, what was found and what is allowed.
    """
    for one in tried:
        for value in one.ends:
            _check_alone(base, one, value)
    total = math.prod(len(one.ends) for one in tried)
    step = max(1, total // MOST_POINTS)
    valid: Settings | None = None
    for values in itertools.islice(combinations(tried), 0, None, step):
        try:
            valid = base.settings(values)
        except ValidationError as error:
            shown = ", ".join(f"{key}={value}" for key, value in values.items())
            flags = [one.flag for one in tried]
            raise ConfigError(f"with {shown}: {base.explained(error, values, flags)}") from error
    assert valid is not None
    return tuple(_typed(valid, one) for one in tried)


def _check_alone(base: Base, one: Tried, value: Any) -> None:
    values = {one.key: value}
    keys = tuple(one.key.split("."))
    try:
        base.settings(values)
    except ValidationError as error:
        # an error of a whole section (shorter than the key) may go away with the other values that are tried
        if any(len(problem["loc"]) >= len(keys) for problem in error.errors()):
            raise ConfigError(base.explained(error, values, [one.flag])) from error


def _typed(valid: Settings, one: Tried) -> Tried:
    found: Any = valid
    for part in one.key.split("."):
        found = getattr(found, part, None)
    if isinstance(one, Choices) or isinstance(found, int) == one.whole:
        return one
    return Span(one.key, one.flag, float(one.low), float(one.high), one.log, whole=False)
