"""Reading and checking settings: one TOML file, overridden by environment variables and flags, validated whole.

The classes that describe a section live beside what they configure; this module knows only how to read them in.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from retrieval.errors import ConfigError, NotFoundError

FILE_NAME = "retrieval.toml"
ENV_PREFIX = "RETRIEVAL_"
# Environment variables with the prefix that are not settings.
ENV_RESERVED = frozenset({"RETRIEVAL_WORKSPACE"})
ENV_RESERVED_PREFIX = "RETRIEVAL_TEST_"


class Section(BaseModel):
    """Base of every settings section: frozen, keyword-only, unknown keys refused, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    moved: ClassVar[Mapping[str, str]] = {}
    """Keys that the section had once, and what to set in their place."""


def is_empty(value: Collection[Any]) -> bool:
    """Whether a setting holds nothing. Settings newer than the formats are not written down while unused."""
    return not value


SectionT = TypeVar("SectionT", bound=Section)

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LENGTH = re.compile(r"(?P<number>\d+(\.\d+)?)(?P<unit>[smhd]?)", re.ASCII)


def parse_seconds(text: str) -> float:
    """Seconds from `30s`, `5m`, `1.5h`, `1d`, or a plain number of seconds; more than 0. Raises ValueError."""
    found = _LENGTH.fullmatch(text.strip())
    if found is None or not float(found["number"]):
        raise ValueError("expected a length of time, as 30s, 5m or 1.5h")
    return float(found["number"]) * _UNITS[found["unit"]]


def find_workspace(start: Path) -> Path:
    """The nearest folder at or above `start` that holds a retrieval.toml. Raises NotFoundError."""
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / FILE_NAME).is_file():
            return folder
    raise NotFoundError(f"no {FILE_NAME} in {start} or above it; make a workspace with `retrieval init DIR`")


def load_settings(
    path: Path,
    schema: type[SectionT],
    *,
    under: Mapping[str, Any] | None = None,
    flags: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> SectionT:
    """Read `path`, lay environment variables and `--set section.key=value` flags over it, and validate it whole.

    `RETRIEVAL_TRAINING__EPOCHS=3` sets `training.epochs`; a flag wins over the environment, both win over the file, and
    the file wins over what is laid `under` it (a recipe), key by key.
    Raises ConfigError that names the file, the line, the key and what is allowed.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read: {error}") from error
    return parse_settings(text, path, schema, under=under, flags=flags, environment=environment)


def parse_settings(
    text: str,
    path: Path,
    schema: type[SectionT],
    *,
    under: Mapping[str, Any] | None = None,
    flags: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> SectionT:
    """Validate the text of a settings file that is, or shall be, at `path`; otherwise as `load_settings`."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    data = laid_over(under or {}, data)
    sources: dict[tuple[str, ...], str] = {}
    for name, value in sorted((os.environ if environment is None else environment).items()):
        if name.startswith(ENV_PREFIX) and name not in ENV_RESERVED and not name.startswith(ENV_RESERVED_PREFIX):
            keys = tuple(name.removeprefix(ENV_PREFIX).lower().split("__"))
            _override(data, keys, value, f"environment variable {name}")
            sources[keys] = f"environment variable {name}"
    for flag in flags:
        key, separator, value = flag.partition("=")
        if not separator:
            raise ConfigError(f"--set {flag!r}: expected section.key=value")
        keys = tuple(key.strip().split("."))
        _override(data, keys, value, f"--set {flag}")
        sources[keys] = f"--set {flag}"
    try:
        # JSON mode: strict about types, yet a TOML array may fill a tuple
        return schema.model_validate_json(json.dumps(data, default=str))
    except ValidationError as error:
        raise ConfigError(explain(error, schema, path=path, text=text, data=data, sources=sources)) from error


def laid_over(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Both, key by key; where both have a value that of `over`, tables merged in turn."""
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        merged[key] = laid_over(below, value) if both and below is not None else value
    return merged


def _override(data: dict[str, Any], keys: tuple[str, ...], value: str, source: str) -> None:
    if not all(keys):
        raise ConfigError(f"{source}: no key; expected section.key=value")
    target: Any = data
    for key in keys[:-1]:
        target = target.setdefault(key, {})
        if not isinstance(target, dict):
            raise ConfigError(f"{source}: {'.'.join(keys)} can't be set this way; change it in the file")
    target[keys[-1]] = _parse_value(value)


def _parse_value(value: str) -> Any:
    """A TOML value where it reads as one (3, true, [1, 2], "text"); otherwise the text itself."""
    try:
        parsed = tomllib.loads(f"value = {value}")
    except tomllib.TOMLDecodeError:
        return value
    return parsed["value"] if parsed.keys() == {"value"} else value


def explain(
    error: ValidationError,
    schema: type[BaseModel],
    *,
    path: Path,
    text: str,
    data: Mapping[str, Any],
    sources: Mapping[tuple[str, ...], str] | None = None,
) -> str:
    """What is wrong, line by line: where it was set, which key, what is allowed there."""
    lines = []
    for problem in error.errors():
        location = _in_file(problem["loc"], data)
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = f"no such setting{_known_here(schema, location)}"
        found = problem.get("input")
        shown = "" if isinstance(found, dict) or problem["type"] == "missing" else f" (found {found!r})"
        origin = _origin(location, path, text, sources or {})
        lines.append(f"{origin}: {'.'.join(map(str, location)) or 'settings'}: {message}{shown}")
    return "\n".join(lines)


def _in_file(location: Sequence[str | int], data: Any) -> tuple[str | int, ...]:
    """The location without what only the schema knows of: pydantic names the chosen kind of a union in it."""
    kept: list[str | int] = []
    for part in location:
        if isinstance(data, dict) and part not in data and part == data.get("kind"):
            continue
        kept.append(part)
        if isinstance(data, dict):
            data = data.get(str(part))
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
    return tuple(kept)


def _origin(location: Sequence[str | int], path: Path, text: str, sources: Mapping[tuple[str, ...], str]) -> str:
    """Where the value at `location` was set: a flag, an environment variable, or a line of the file."""
    wanted = tuple(map(str, location))
    inside = [source for keys, source in sources.items() if keys[: len(wanted)] == wanted]
    around = [source for keys, source in sources.items() if wanted[: len(keys)] == keys]
    if around or (inside and line_of(text, location) is None):
        return ", ".join(around or inside)
    number = line_of(text, location)
    origin = f"{path}:{number}" if number else str(path)
    return f"{origin} with {', '.join(inside)}" if inside else origin


def _known_here(schema: type[BaseModel], location: Sequence[str | int]) -> str:
    """What is allowed in place of an unknown key: where it has gone, or what there is, the likeliest first."""
    section: Any = schema
    for part in location[:-1]:
        field = section.model_fields.get(part) if hasattr(section, "model_fields") else None
        section = field.annotation if field else None
    if not (isinstance(section, type) and issubclass(section, BaseModel)):
        return ""
    if issubclass(section, Section) and location[-1] in section.moved:
        return f" any more; set {section.moved[str(location[-1])]}"
    known = list(section.model_fields)
    close = difflib.get_close_matches(str(location[-1]), known, n=1)
    meant = f"; did you mean {close[0]!r}?" if close else ""
    return f"{meant}; known here: {', '.join(known)}"


def line_of(text: str, location: Sequence[str | int]) -> int | None:
    """The 1-based line of the TOML text where the key at `location` (keys and list positions) stands, or None."""
    seen: dict[tuple[str, ...], int] = {}
    best: tuple[int, int | None] = (0, None)
    table: tuple[str | int, ...] = ()
    wanted = tuple(part for part in location)
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*(\[\[?)\s*([A-Za-z0-9_.\-\" ]+?)\s*\]\]?", line)
        if header:
            names = tuple(part.strip().strip('"') for part in header.group(2).split("."))
            if header.group(1) == "[[":
                seen[names] = seen.get(names, -1) + 1
                table = (*names, seen[names])
            else:
                table = names
            path: tuple[str | int, ...] = table
        else:
            key = re.match(r"\s*([A-Za-z0-9_\-\".]+)\s*=", line)
            if not key:
                continue
            path = (*table, *(part.strip('"') for part in key.group(1).split(".")))
        shared = _shared(path, wanted)
        if shared == len(path) and shared > best[0]:
            best = (shared, number)
    return best[1]


def _shared(path: Sequence[str | int], wanted: Sequence[str | int]) -> int:
    count = 0
    for have, want in zip(path, wanted, strict=False):
        if have != want:
            break
        count += 1
    return count
