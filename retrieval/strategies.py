"""Strategies by name or import path: encoders, losses, sources of negatives, feature kinds, index backends, baselines.

A room lists its own in one `Strategies`, a line each: name → where it lies, and what it is in a few words. Settings,
the template of a new workspace and the reference pages read their choices from there. Nothing is imported before it is
used, so that settings know the names without loading torch.

What is not listed is named by its import path, `package.module:Name`. Its package must be importable wherever the
strategy runs: installed there, or in a folder that PYTHONPATH names.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from retrieval.errors import ConfigError

IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


@dataclass(frozen=True, slots=True)
class Strategy:
    """One line of a room's list."""

    where: str
    """Its import path."""
    summary: str
    """What it is, as the settings' descriptions say it."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Its own options: the argument, and the key beside the choice that holds its value."""
    traits: Set[str] = frozenset()
    """What settings and callers must know of it before it is loaded."""


@dataclass(frozen=True, eq=False)
class Strategies:
    """The strategies that one setting chooses from. As an annotation, `Annotated[str, STRATEGIES]`, it checks the form.

    A value is one of the names, or an import path; whether that leads anywhere is seen by `load`, where it is used.
    """

    setting: str
    """The key that chooses, e.g. `towers.encoder`."""
    expects: str
    """What a strategy must be, for messages."""
    named: Mapping[str, Strategy]
    gives: tuple[str, ...] = ()
    """Attributes of what `make` returns."""
    section: str = ""
    """Where the keys of `Strategy.settings` lie, if not beside the setting."""

    def check(self, choice: object) -> str:
        """The choice itself, if it is one of the names or has the form of an import path. For pydantic."""
        if isinstance(choice, str) and self.allows(choice):
            return choice
        raise PydanticCustomError("strategy", "Input should be {allowed}", {"allowed": self.allowed()})

    def allowed(self) -> str:
        """What the setting may be, in words."""
        return f"{', '.join(map(repr, self.named))} or an import path 'package.module:Name'"

    def summaries(self) -> str:
        """Every name and what it is, for the setting's description."""
        return "; ".join(f"{name}: {one.summary}" for name, one in self.named.items())

    def has(self, choice: str | None, trait: str) -> bool:
        """Whether it is a listed strategy with that trait; of one by import path nothing is known."""
        one = None if choice is None else self.named.get(choice)
        return one is not None and trait in one.traits

    def allows(self, choice: str) -> bool:
        """Whether it is one of the names, or has the form of an import path."""
        return choice in self.named or is_import_path(choice)

    def is_listed(self, choice: str) -> bool:
        """Whether it is one of the names, not an import path."""
        return choice in self.named

    def arguments(self, choice: str, section: object, options: Mapping[str, Any]) -> dict[str, Any]:
        """Keyword arguments: those that the `section` has keys for, and over them the `options`."""
        one = self.named.get(choice)
        listed = {} if one is None else {name: getattr(section, key) for name, key in one.settings.items()}
        return {**listed, **options}

    def load(self, choice: str) -> Any:
        """Import the strategy. Raises ConfigError where there is none of that name, or nothing at that path."""
        if choice in self.named:
            return _imported(self.named[choice].where)
        if not is_import_path(choice):
            raise ConfigError(f"{self.setting} = {json.dumps(choice)}: expected {self.allowed()}")
        try:
            return _imported(choice)
        except _NothingThereError as error:
            raise ConfigError(f"{self.setting} = {json.dumps(choice)}: {error}") from error.__cause__

    def to_call(self, choice: str, /, *arguments: Any, **options: Any) -> Any:
        """Import a strategy that is to be called so. Raises ConfigError where it can't be."""
        found = self.load(choice)
        if not callable(found):
            raise self.misfit(choice, f"found {type(found).__name__} {found!r}")
        try:
            inspect.signature(found).bind(*arguments, **options)
        except TypeError as error:
            raise self.misfit(choice, f"called with {_shown(arguments, options)}: {error}") from error
        except ValueError:  # built into Python, and says nothing of its arguments
            pass
        return found

    def make(self, choice: str, /, *arguments: Any, **options: Any) -> Any:
        """Call the strategy. Raises ConfigError where it can't be called so, or gives something of another shape."""
        made = self.to_call(choice, *arguments, **options)(*arguments, **options)
        missing = [name for name in self.gives if not hasattr(made, name)]
        if missing:
            raise self.misfit(choice, f"made {type(made).__name__} without {', '.join(missing)}")
        return made

    def misfit(self, choice: str, found: str) -> ConfigError:
        """The error for a strategy that is not of the shape that is needed."""
        return ConfigError(f"{self.setting} = {json.dumps(choice)}: expected {self.expects}; {found}")

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Checked, and of the annotated type."""
        return core_schema.no_info_before_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """One of the names, or text that may be an import path."""
        path = {**handler(schema), "pattern": f"^{IMPORT_PATH.pattern}$"}
        return {"anyOf": [{"enum": list(self.named)}, path]}


def own_choices(section: BaseModel, key: str) -> Iterator[tuple[str, Strategies, str]]:
    """What a section of settings (named `key`) and those within it choose by import path: key, strategies, path."""
    for name, field_info in type(section).model_fields.items():
        value, within = getattr(section, name), f"{key}.{name}"
        items = [one for argument in get_args(field_info.annotation) for one in getattr(argument, "__metadata__", ())]
        choosing = [one for one in (*field_info.metadata, *items) if isinstance(one, Strategies)]
        for place, one in enumerate(value if isinstance(value, tuple) else (value,)):
            where = f"{within}[{place}]" if isinstance(value, tuple) else within
            if isinstance(one, BaseModel):
                yield from own_choices(one, where)
            yield from ((where, strategies, one) for strategies in choosing if not strategies.is_listed(one))


class _NothingThereError(Exception):
    """Why an import path leads nowhere."""


def _imported(path: str) -> Any:
    module, _, names = path.partition(":")
    try:
        found: Any = importlib.import_module(module)
    except Exception as error:
        absent = isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}.")
        advice = "; install its package where this runs, or name its folder in PYTHONPATH" if absent else ""
        raise _NothingThereError(f"can't import {module}: {type(error).__name__}: {error}{advice}") from error
    for name in names.split("."):
        try:
            found = getattr(found, name)
        except AttributeError as error:
            public = [known for known in vars(found) if not known.startswith("_")]
            raise _NothingThereError(f"{module} has no {name}; it has {', '.join(public) or 'nothing'}") from error
    return found


def _shown(arguments: Sequence[Any], options: Mapping[str, Any]) -> str:
    given = [type(one).__name__ for one in arguments] + [f"{name}={value!r}" for name, value in options.items()]
    return f"({', '.join(given)})"


def is_import_path(value: object) -> bool:
    """Whether it has the form of an import path."""
    return isinstance(value, str) and IMPORT_PATH.fullmatch(value) is not None


def source_hash(path: str) -> str:
    """SHA-256 (hex) of the source that an import path leads into: all of its package, or the one module outside any.

    The whole package, since what is named may use any part of it. Raises ConfigError where it leads nowhere.
    """
    try:
        _imported(path)
    except _NothingThereError as error:
        raise ConfigError(f"{path}: {error}") from error.__cause__
    files = list(_source_files(path.partition(":")[0]))
    digest = hashlib.sha256()
    for name, file in sorted(files):
        digest.update(name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _source_files(module: str) -> Iterator[tuple[str, Path]]:
    """Names and files of the outermost package with a file of its own (a namespace has none), or of the module."""
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        found: ModuleType = importlib.import_module(".".join(parts[:count]))
        if found.__file__ is None:
            continue
        file = Path(found.__file__)
        if not hasattr(found, "__path__"):
            yield file.name, file
            return
        yield from ((one.relative_to(file.parent).as_posix(), one) for one in file.parent.rglob("*.py"))
        return
