"""Writes a new workspace's retrieval.toml from the settings themselves: every key, its meaning, bounds and default.

Line by line, not as a tomlkit document: most keys stand in it as comments, and tomlkit knows no keys in comments.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import annotated_types
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from retrieval.config import FILE_NAME, Section
from retrieval.errors import ConflictError
from retrieval.features.declaration import SIDES
from retrieval.features.kinds import KINDS, declaration_class
from retrieval.strategies import Strategies
from retrieval.toml_text import value_text
from retrieval.workflows.workspace.settings import Settings

_WIDTH = 110
_HEAD = """\
Settings of this workspace. Every key is listed with its default; take the # away to change one.
`RETRIEVAL_TRAINING__EPOCHS=3` in the environment or `--set training.epochs=3` on a command go before this file.
"""


def write_template(folder: Path, model: str | None = None, recipe: Mapping[str, Any] | None = None) -> Path:
    """Make `folder` a workspace: write its retrieval.toml. Raises ConflictError where there is one."""
    path = folder / FILE_NAME
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as out:
            out.write(settings_template(model, recipe))
    except FileExistsError:
        raise ConflictError(f"{path} exists; it is left as it is") from None
    return path


def settings_template(model: str | None = None, recipe: Mapping[str, Any] | None = None) -> str:
    """The text of a retrieval.toml that changes nothing but the model's name and the `recipe`'s settings, if given."""
    given = {**(recipe or {}), **({"model": {"name": model}} if model else {})}
    lines = [*_comment(_HEAD), ""]
    for name, field in Settings.model_fields.items():
        lines += _section((name,), _section_class(field), given.get(name, {}))
    return "\n".join(lines).rstrip() + "\n"


def _section(path: tuple[str, ...], section: type[Section], given: Mapping[str, Any]) -> Iterator[str]:
    yield from _comment(_purpose(section))
    yield f"[{'.'.join(path)}]"
    nested = {name: field for name, field in section.model_fields.items() if _is_section(field)}
    for name, field in section.model_fields.items():
        if name in nested or (path == ("features",) and name in SIDES):
            continue
        yield from _comment(_explained(field))
        yield _assignment(name, given[name]) if name in given else _default(name, field.get_default())
    yield ""
    for name, field in nested.items():
        yield from _section((*path, name), _section_class(field), given.get(name, {}))
    if path == ("features",):
        yield from _features(given)
        yield from _feature_examples()


def _features(given: Mapping[str, Any]) -> Iterator[str]:
    for side in SIDES:
        for feature in given.get(side, ()):
            yield f"[[features.{side}]]"
            yield from (_assignment(name, value) for name, value in feature.items())
            yield ""


def _feature_examples() -> Iterator[str]:
    kinds = {kind: declaration_class(kind) for kind in KINDS.named}
    examples = [(side, kind, values) for kind, one in kinds.items() for side, values in one.examples]
    examples.sort(key=lambda example: SIDES.index(example[0]))
    yield from _comment("Features, one table each, in any number; by kind, for example:")
    shown: set[str] = {"name", "kind", "column"}
    for side, kind, values in examples:
        yield ""
        yield from _comment(_purpose(kinds[kind]))
        yield f"#[[features.{side}]]"
        yield f'#kind = "{kind}"'
        for name, field in kinds[kind].model_fields.items():
            if name in values:
                yield f"#{_assignment(name, values[name])}"
            elif f"{kind}.{name}" not in shown and name not in shown:
                yield from _comment(f"  {name}: {_explained(field).rstrip('.')}; {_shown_default(field)}.")
            # what all kinds have is explained once, what one kind has once for that kind
            shown.add(name if name == "dim" else f"{kind}.{name}")
    yield ""


def _is_section(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, Section)


def _section_class(field: FieldInfo) -> type[Section]:
    if not _is_section(field):
        raise TypeError(f"{field!r} is not a settings section")
    found: type[Section] = field.annotation  # type: ignore[assignment]
    return found


def _explained(field: FieldInfo) -> str:
    text = (field.description or "").rstrip(".")
    limits = _limits(field)
    return f"{text} ({limits})." if limits else f"{text}."


def _limits(field: FieldInfo) -> str:
    found = []
    if get_origin(field.annotation) is Literal:
        found.append(" or ".join(json.dumps(choice) for choice in get_args(field.annotation)))
    named = (one.named for one in field.metadata if isinstance(one, Strategies))
    found += [" or ".join(json.dumps(choice) for choice in (*names, "package.module:Name")) for names in named]
    signs = ((annotated_types.Ge, "ge", "≥"), (annotated_types.Gt, "gt", ">"))
    signs += ((annotated_types.Le, "le", "≤"), (annotated_types.Lt, "lt", "<"))  # type: ignore[assignment]
    for bound in field.metadata:
        found += [f"{sign} {getattr(bound, name)}" for kind, name, sign in signs if isinstance(bound, kind)]
    return ", ".join(found)


def _shown_default(field: FieldInfo) -> str:
    default = field.get_default()
    if default is PydanticUndefined:
        return "must be given"
    return "not set unless given" if default is None else f"{value_text(default)} unless given"


def _purpose(section: type[Section]) -> str:
    text = re.sub(r"^`\[[^`]*`: ", "", (section.__doc__ or "").strip().partition("\n")[0])
    return text[:1].upper() + text[1:]


def _default(name: str, value: Any) -> str:
    return f"# {name} = … (not set)" if value is None else f"#{_assignment(name, value)}"


def _assignment(name: str, value: Any) -> str:
    return f"{name} = {value_text(value)}"


def _comment(text: str) -> Iterator[str]:
    for paragraph in text.strip("\n").splitlines():
        wrapped = textwrap.wrap(paragraph, _WIDTH, initial_indent="# ", subsequent_indent="# ")
        yield from wrapped or ["#"]
