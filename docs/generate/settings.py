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
## Features

A feature is a table under `[[features.user]]`, `[[features.item]]` or `[[features.context]]`, in any number, with one
of these kinds. Each is declared once, for training, indexing and serving.
"""

_BOUNDS = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
_TYPES = {"integer": "integer", "number": "number", "string": "text", "boolean": "true or false", "object": "table"}


def settings_page(schema: Schema) -> str:
    """The page for the JSON schema of the class that describes a whole retrieval.toml."""
    definitions: Mapping[str, Schema] = schema.get("$defs", {})
    lines = [HEAD]
    for name, field in schema["properties"].items():
        lines += _section((name,), _resolved(field, definitions), definitions)
    return "\n".join(lines) + "\n"


def _section(path: tuple[str, ...], section: Schema, definitions: Mapping[str, Schema]) -> Iterator[str]:
    name = ".".join(path)
    yield f"{'#' * (len(path) + 1)} `[{name}]` {{ #{name.replace('.', '-')} }}"
    yield ""
    yield _purpose(section)
    yield ""
    fields = {key: _resolved(field, definitions) for key, field in section["properties"].items()}
    nested = {key for key, field in fields.items() if "properties" in field}
    features = {key for key in fields if path == ("features",) and key not in nested}
    plain = {key: field for key, field in fields.items() if key not in nested | features}
    if plain:
        yield from _table(plain)
        yield ""
    for key, field in fields.items():
        if key in nested:
            yield from _section((*path, key), field, definitions)
    if features:
        yield from _kinds(definitions)


def _kinds(definitions: Mapping[str, Schema]) -> Iterator[str]:
    yield FEATURES
    kinds = {_kind(each): each for each in definitions.values() if _kind(each)}
    for kind in sorted(kinds):
        yield f"### `kind = {json.dumps(kind)}` {{ #feature-{kind} }}"
        yield ""
        yield _purpose(kinds[kind])
        yield ""
        yield from _table({key: field for key, field in kinds[kind]["properties"].items() if key != "kind"})
        yield ""


def _kind(definition: Schema) -> str:
    kind = definition.get("properties", {}).get("kind", {})
    return str(kind.get("const", "")) if definition.get("title", "").endswith("Feature") else ""


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
        return f"list of {_allowed(field.get('items', {}))}"
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
