"""There is one corpus: no command, gate, bench or test says for itself which items can be retrieved, or how fresh."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from retrieval.config import Section, load_settings
from retrieval.data.corpus import CorpusConfig
from retrieval.errors import ConfigError
from retrieval.workflows.workspace.settings import Settings

ROOT = Path(__file__).parents[4]
# the declaration, and the facts about a log that it is made of
ROOMS = (ROOT / "retrieval" / "data" / "corpus", ROOT / "retrieval" / "data" / "facts")
# what is known of the time of first events makes one corpus or another; so does a declaration that is made or changed
MAKERS = {"Corpus", "CorpusConfig", "first_event_times"}
DECLARED = ROOT / "retrieval" / "workflows" / "workspace" / "settings.py"
WORDS = ("engaged", "catalog", "candidates", "seen", "active_days", "reindex", "refresh_minutes", "eligible")
# other things by like names
OTHERS = {"serving.candidates_port", "serving.max_batch_candidates"}


def sources() -> Iterator[Path]:
    for folder in ("retrieval", "tests/bench", "tests/integration"):
        for path in (ROOT / folder).rglob("*.py"):
            if path != DECLARED and not any(room in path.parents for room in ROOMS):
                yield path


def makes_a_corpus(source: str) -> list[str]:
    """Calls that make a corpus, and replacements of what one declares."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name.rpartition(".")[2] in MAKERS:
            found.append(ast.unparse(node))
        changed = ast.unparse(node.args[0]) if node.args else name.rpartition(".")[0]
        if name.rpartition(".")[2] in {"replace", "model_copy"} and changed.rpartition(".")[2] == "corpus":
            found.append(ast.unparse(node))
    return found


def test_nothing_else_makes_a_corpus() -> None:
    found = {str(path.relative_to(ROOT)): makes_a_corpus(path.read_text(encoding="utf-8")) for path in sources()}
    assert {path: calls for path, calls in found.items() if calls} == {}


@pytest.mark.parametrize(
    "source",
    [
        "corpus = Corpus(config, everything, first)",
        'corpus = measured_corpus(CorpusConfig(items="catalog"), dataset, split)',
        "kept = items.first_event_times(histories) < at",
        "corpus = replace(setup.corpus, eligible=mine)",
        'settings.corpus.model_copy(update={"items": "catalog"})',
    ],
)
def test_whoever_makes_one_is_found(source: str) -> None:
    assert makes_a_corpus(source)


def keys(section: type[Section], path: str = "") -> Iterator[str]:
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Section):
            yield from keys(inner, f"{path}{name}.")
        else:
            yield f"{path}{name}"


def test_no_other_section_declares_one() -> None:
    every, own = {*keys(Settings)}, {f"corpus.{name}" for name in CorpusConfig.model_fields}
    assert own < every
    elsewhere = {key for key in every - own if any(word in key for word in WORDS)}
    assert elsewhere - OTHERS == set()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('evaluation.candidates="known"', r"evaluation\.candidates: no such setting any more; set corpus\.items"),
        (
            "evaluation.filter_seen=false",
            r"evaluation\.filter_seen: .* set corpus\.allow_seen, which says the opposite",
        ),
        ("evaluation.reindex_minutes=5.0", r"evaluation\.reindex_minutes: .* set corpus\.refresh_minutes"),
        ("index.active_days=3.0", r"index\.active_days: .* set corpus\.engaged_days"),
    ],
)
def test_a_key_of_before_is_answered_with_the_one_of_now(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "retrieval.toml"
    path.write_text("")
    with pytest.raises(ConfigError, match=new):
        load_settings(path, Settings, flags=[old], environment={})
