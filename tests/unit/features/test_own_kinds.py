"""Kinds of features that are named by import path."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from retrieval.config import FILE_NAME, load_settings
from retrieval.errors import ConfigError
from retrieval.features import Features, FeatureSpec, fit_features

OWN = '''
"""Kind `word_count`: how many words a text has."""
import numpy as np
from dataclasses import dataclass
from pydantic import Field
from retrieval.features.declaration import Declaration
from retrieval.features.inputs import FeatureInput
from retrieval.features.kinds.transform import State


class WordCount(Declaration):
    most: int = Field(10, ge=1)

    def fit(self, columns):
        longest = max((int(count) for column in columns for count in counts(column)), default=0)
        return Counted(self, min(longest, self.most))

    def restore(self, state):
        return Counted(self, int(state.facts["longest"]))


@dataclass(frozen=True)
class Counted:
    declaration: WordCount
    longest: int

    def inputs(self, side):
        return (FeatureInput(self.declaration.name, side, "codes", self.longest + 1, 1, self.declaration.dim),)

    def encode(self, column, at):
        return {self.declaration.name: np.minimum(counts(column), self.longest)}

    def state(self):
        return State({"longest": self.longest})


def counts(column):
    values, positions = column.uniques()
    found = np.array([len(str(value or "").split()) for value in values], np.int64)
    return found if positions is None else found[positions]


class Unfinished(Declaration):
    pass
'''


TITLES = ["one", "two words", "a b c", "d e f g h", None]


@pytest.fixture(autouse=True)
def own_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "own_kinds.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "own_kinds", raising=False)
    return folder


def declared(**options: object) -> str:
    return json.dumps({"item": [{"kind": "own_kinds:WordCount", "name": "title", **options}]})


def test_it_is_fitted_encoded_saved_and_loaded_as_any_other(make_dataset, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    data, split = make_dataset([[0, 1, 2], [1, 0]], item_columns={"title": TITLES})
    made = fit_features(FeatureSpec.model_validate_json(declared(most=4)), data, split)
    made.save(tmp_path / "made")
    loaded = Features.load(tmp_path / "made")
    assert loaded.spec.item[0].kind == "own_kinds:WordCount"
    assert loaded.fingerprint == made.fingerprint
    assert loaded.encode("item", {"title": ["x y", None, "q w e r t z"]}, 3)["title"].tolist() == [2, 0, 2]
    again = FeatureSpec.model_validate_json(loaded.spec.model_dump_json())
    assert again == loaded.spec


def test_its_options_are_validated_like_settings(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    path.write_text('[[item]]\nkind = "own_kinds:WordCount"\nname = "title"\nmost = 0\n')
    with pytest.raises(ConfigError, match=r"retrieval\.toml:4: item\.0\.most: .*greater than or equal to 1"):
        load_settings(path, FeatureSpec, environment={})


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("own_kinds:Nothing", "own_kinds has no Nothing"),
        ("own_kinds:Counted", "expected a subclass of features.declaration.Declaration"),
        ("own_kinds:Unfinished", "Unfinished lacks fit, restore"),
        ("not_installed:Kind", "can't import not_installed"),
        ("numerical", "'numeric'"),
    ],
)
def test_one_that_is_none_is_refused_with_its_line(tmp_path: Path, kind: str, said: str) -> None:
    path = tmp_path / FILE_NAME
    path.write_text(f'[history]\nlength = 9\n[[item]]\nname = "title"\nkind = "{kind}"\n')
    with pytest.raises(ConfigError, match=rf"retrieval\.toml:3: item\.0: .*{said}"):
        load_settings(path, FeatureSpec, environment={})


def test_a_feature_without_kind_is_told_which_there_are() -> None:
    with pytest.raises(ValidationError, match="needs a kind: 'id', 'categorical'"):
        FeatureSpec.model_validate_json('{"item": [{"name": "title"}]}')


def test_a_version_whose_kind_is_not_installed_says_so_and_is_not_called_damaged(  # type: ignore[no-untyped-def]
    make_dataset, tmp_path: Path, own_kinds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, split = make_dataset([[0, 1, 2], [1, 0]], item_columns={"title": TITLES})
    fit_features(FeatureSpec.model_validate_json(declared()), data, split).save(tmp_path / "made")
    (own_kinds / "own_kinds.py").unlink()
    monkeypatch.delitem(sys.modules, "own_kinds")
    with pytest.raises(ConfigError, match=r'features\.\*\.kind = "own_kinds:WordCount": can\'t import own_kinds'):
        Features.load(tmp_path / "made")
