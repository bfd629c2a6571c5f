"""Names for what passes between rooms. Raw ids are text; encoded ids are integers; neither is ever the other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NewType

from retrieval.errors import ConfigError

SpaceId = NewType("SpaceId", str)
"""Names an embedding space: a SHA-256 (hex) over both towers' weights and the feature spec."""

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
"""Times are whole µs since 1970, in UTC."""

MODEL_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


@dataclass(frozen=True, slots=True, order=True)
class ModelVersion:
    """A model version, shown as `homefeed@12`."""

    model: str
    version: int

    def __str__(self) -> str:
        return f"{self.model}@{self.version}"

    @classmethod
    def parse(cls, text: str, *, model: str | None = None) -> ModelVersion:
        """`homefeed@12`, or `12` where the model is known. Raises ConfigError on anything else."""
        name, _, number = text.rpartition("@")
        return cls(*_named(name or model, number, text, "homefeed@12"))


@dataclass(frozen=True, slots=True, order=True)
class BuildId:
    """An index build, numbered per model, shown as `homefeed-b3`."""

    model: str
    number: int

    def __str__(self) -> str:
        return f"{self.model}-b{self.number}"

    @classmethod
    def parse(cls, text: str, *, model: str | None = None) -> BuildId:
        """`homefeed-b3`, or `b3`/`3` where the model is known. Raises ConfigError on anything else."""
        name, _, number = text.rpartition("-")
        return cls(*_named(name or model, number.removeprefix("b"), text, "homefeed-b3"))


def _named(model: str | None, number: str, text: str, example: str) -> tuple[str, int]:
    if model is None or not MODEL_NAME.fullmatch(model) or not re.fullmatch(r"[0-9]{1,12}", number) or int(number) < 1:
        raise ConfigError(f"{text!r} does not name one; expected the form {example!r}")
    return model, int(number)
