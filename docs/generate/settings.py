"""The settings page: every key with its meaning, type, bounds and default, from the pydantic models' JSON schema."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from generate.text import code, sentence, table

Schema = Mapping[str, Any]

HEAD = """\
# Settings

What a workspace's `retrieval.toml` may say. `retrieval init` writes a file that lists all of these with their defaults.
Environment variables (`RETRIEVAL_TRAINING__EPOCHS=3`) go before the file, and `--set training.epochs=3` on a command
goes before both. The whole file is validated at the start of every command: an unknown key, a wrong type or an
impossible combination ends it with an error that names file, line, key and what is allowed.
"""

FEATURES = """\
## Kinds of features { #kinds }

A feature is a table under `[[features.user]]`, `[[features.item]]` or `[[features.context]]`, in any number, with one
of these kinds. Each is declared once, for training, indexing and serving.
"""

_BOUNDS = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
_TYPES = {"integer": "integer", "number": "number", "string": "text", "boolean": "true or false", "object": "table"}


def settings_page(schema: Schema, kinds: Mapping[str, Schema]) -> str:
    """The page for the JSON schema of a whole retrieval.toml, and those of the kinds of features by name."""
    definitions: Mapping[str, Schema] = schema.get("$defs", {})
    lines = [HEAD]
    for name, field in schema["properties"].items():
        lines += _section((name,), _resolved(field, definitions), definitions)
        if name == "features":
            lines += _kinds(kinds)
    return "\n".join(lines) + "\n"


def _section(
    path: tuple[str, ...], section: Schema, definitions: Mapping[str, Schema], *, many: bool = False
) -> Iterator[str]:
    name = ".".join(path)
    shown = f"[[{name}]]" if many else f"[{name}]"
    yield f"{'#' * (len(path) + 1)} `{shown}` {{ #{name.replace('.', '-')} }}"
    yield ""
    yield _purpose(section)
    yield ""
    fields = {key: _resolved(field, definitions) for key, field in section["properties"].items()}
    tables = {key: _resolved(field.get("items", {}), definitions) for key, field in fields.items()}
    nested = {key for key, field in fields.items() if "properties" in field}
    lists = {key for key, table in tables.items() if "properties" in table and path != ("features",)}
    plain = {
        key: field for key, field in fields.items() if key not in nested and (path != ("features",) or key == "history")
    }
    if plain:
        yield from _table(plain)
        yield ""
    for key, field in fields.items():
        if key in nested:
            yield from _section((*path, key), field, definitions)
        elif key in lists:
            yield from _section((*path, key), tables[key], definitions, many=True)


def _kinds(kinds: Mapping[str, Schema]) -> Iterator[str]:
    yield FEATURES
    for kind, schema in sorted(kinds.items()):
        yield f"### `kind = {json.dumps(kind)}` {{ #feature-{kind} }}"
        yield ""
        yield _purpose(schema)
        yield ""
        yield from _table({key: field for key, field in schema["properties"].items() if key != "kind"})
        yield ""


def _table(fields: Mapping[str, Schema]) -> list[str]:
    rows = [[code(key), _allowed(field), _default(field), _meaning(field)] for key, field in fields.items()]
    return table(["key", "allowed", "default", "meaning"], rows)


def _allowed(field: Schema) -> str:
    """The type, or the choices, with the bounds."""
    if "enum" in field:
        return " or ".join(code(json.dumps(choice)) for choice in field["enum"])
    options = [each for each in field.get("anyOf", ()) if each.get("type") != "null"]
    if options:
        return " or ".join(dict.fromkeys(map(_allowed, options)))
    if field.get("type") == "array":
        items = field.get("items", {})
        return "list of tables" if "$ref" in items else f"list of {_allowed(items)}"
    bounds = [f"{sign} {field[key]}" for key, sign in _BOUNDS if key in field]
    return ", ".join([_TYPES.get(str(field.get("type")), "any"), *bounds])


def _default(field: Schema) -> str:
    if "default" not in field:
        return "must be given"
    return "not set" if field["default"] is None else code(json.dumps(field["default"], ensure_ascii=False))


def _meaning(field: Schema) -> str:
    return sentence(str(field.get("description", "")))


def _purpose(section: Schema) -> str:
    first = str(section.get("description", "")).partition("\n")[0]
    return sentence(re.sub(r"^`\[[^`]*`: ", "", first))


def _resolved(field: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """The definition that a field refers to, or the field itself."""
    reference = str(field.get("$ref", ""))
    return definitions[reference.rpartition("/")[2]] if reference else field
