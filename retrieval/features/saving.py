"""Writing fitted features down, reading them back, and their fingerprint. Plain JSON and Arrow; nothing executable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
from pydantic import ValidationError

from retrieval.errors import ArtifactError
from retrieval.features.declaration import SIDES, Side
from retrieval.features.features import Features
from retrieval.features.kinds import declaration_class
from retrieval.features.kinds.transform import State, Transform
from retrieval.features.spec import FeatureSpec
from retrieval.features.vocabulary import Vocabulary
from retrieval.storage.arrow import read_arrow, write_arrow
from retrieval.strategies import is_import_path

FORMAT = 2  # 2: with new items
FILE = "features.json"
NEW_ITEMS = "history.new_items.arrow"
_ACTIONS = "history.actions"


def fingerprint(features: Features) -> str:
    """SHA-256 (hex) over the spec, the learned numbers and every vocabulary, word by word."""
    digest = hashlib.sha256(json.dumps(_body(features), sort_keys=True).encode())
    for name, vocabulary in _vocabularies(features):
        digest.update(f"\n{name} {len(vocabulary.words)}\n".encode())
        for word in vocabulary.words:
            raw = word.encode("utf-8", "surrogatepass")
            digest.update(len(raw).to_bytes(4, "little") + raw)
    for item in features.new_items:
        digest.update(f"{len(item)} {item}".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def save(features: Features, folder: Path) -> None:
    """Write features.json the vocabularies and the ids of new items into `folder`."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, vocabulary in _vocabularies(features):
        table = pa.table({"word": pa.array(vocabulary.words, pa.large_string())})
        write_arrow(folder / f"{name}.arrow", table)
    write_arrow(folder / NEW_ITEMS, pa.table({"item_id": pa.array(features.new_items, pa.large_string())}))
    body = {**_body(features), "fingerprint": features.fingerprint}
    (folder / FILE).write_text(json.dumps(body, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def load(folder: Path) -> Features:
    """Read what `save` wrote, and check it against its own fingerprint.

    Raises ArtifactError that names the file, ConfigError where a kind of one's own can't be imported here.
    """
    folder = Path(folder)
    path = folder / FILE
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        if body["format"] != FORMAT:
            raise ArtifactError(f"{path}: format {body['format']!r}, this program reads format {FORMAT}")
        _import_own_kinds(body["spec"])
        spec = FeatureSpec.model_validate_json(json.dumps(body["spec"]))
        transforms = {side: tuple(_restored(folder, side, spec, body)) for side in SIDES}
        actions = _read_vocabulary(folder / f"{_ACTIONS}.arrow", int(body["oov_buckets"][_ACTIONS]))
        new_items = tuple(_read_new_items(folder / NEW_ITEMS))
        expected = body["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise ArtifactError(f"{path}: can't be read as fitted features: {type(error).__name__}: {error}") from error
    made = Features(spec, transforms, actions, new_items)
    if made.fingerprint != expected:
        raise ArtifactError(f"{path}: fingerprint {expected}, but its content has {made.fingerprint}: damaged or mixed")
    return made


def _import_own_kinds(spec: dict[str, Any]) -> None:
    """A kind that is missing here is no damage of the file, and said as what it is: ConfigError."""
    for kind in {feature["kind"] for side in SIDES for feature in spec[side]}:
        if is_import_path(kind):
            declaration_class(kind)


def _body(features: Features) -> dict[str, Any]:
    learned = {f"{side}.{made.declaration.name}": made.state().facts for side, made in _all(features)}
    return {
        "format": FORMAT,
        "spec": _spec(features.spec),
        "learned": {name: facts for name, facts in learned.items() if facts},
        "oov_buckets": {name: vocabulary.oov_buckets for name, vocabulary in _vocabularies(features)},
    }


def _spec(spec: FeatureSpec) -> dict[str, Any]:
    """The spec as written down. What is newer than the format is left out where it is off: fingerprints stay."""
    body = spec.model_dump(mode="json")
    if not spec.history.older:
        del body["history"]["older"]
    return body


def _all(features: Features) -> Iterator[tuple[Side, Transform]]:
    return ((side, made) for side in SIDES for made in features.transforms[side])


def _vocabularies(features: Features) -> Iterator[tuple[str, Vocabulary]]:
    for side, made in _all(features):
        vocabulary = made.state().vocabulary
        if vocabulary is not None:
            yield f"{side}.{made.declaration.name}", vocabulary
    yield _ACTIONS, features.actions


def _restored(folder: Path, side: Side, spec: FeatureSpec, body: dict[str, Any]) -> Iterator[Transform]:
    for declaration in spec.declared(side):
        name = f"{side}.{declaration.name}"
        buckets = body["oov_buckets"].get(name)
        words = None if buckets is None else _read_vocabulary(folder / f"{name}.arrow", int(buckets))
        yield declaration.restore(State(body["learned"].get(name, {}), words))


def _read_new_items(path: Path) -> list[str]:
    try:
        ids: list[str] = read_arrow(path)["item_id"].cast(pa.large_string()).to_pylist()
    except (OSError, pa.ArrowException, ValueError, KeyError) as error:
        raise ArtifactError(f"{path}: can't be read as ids of items: {error}") from error
    return ids


def _read_vocabulary(path: Path, oov_buckets: int) -> Vocabulary:
    try:
        words = read_arrow(path)["word"].cast(pa.large_string()).to_pylist()
        return Vocabulary(words, oov_buckets)
    except (OSError, pa.ArrowException, ValueError, KeyError) as error:
        raise ArtifactError(f"{path}: can't be read as a vocabulary: {error}") from error
