"""From nothing to a trained version by the commands of the README, the settings of the protocol in retrieval.toml.

Recipe, protocol and seed go into a recipe of their own, with which `retrieval init` makes the workspace; an import
with --keep-features adds the settings of [data]. Without a recipe (`--recipe none`) it is the protocol alone, and the
import writes the rest: the settings that fit the log's shape, and a feature for each column.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from retrieval.config import FILE_NAME, laid_over
from retrieval.data.importers.suggest import Suggestion
from retrieval.data.settings import merge_settings
from retrieval.toml_text import toml_text
from retrieval.workflows.workspace.recipes import load_recipe
from tests.bench.quality.datasets import DATASETS, MODEL, import_arguments
from tests.bench.quality.runs import Run, protocol_flags
from tests.whole_path import PATIENT, configure, retrieval

NO_RECIPE = "none"
_IMPORTED = "imported"
"""File in a workspace whose import is done."""


def trained_by_commands(job: Run) -> Path:
    """A workspace with a version that was made by `init`, `data import` and `train`; what was done is found again."""
    settings = settings_of(protocol_flags(job))
    # what says how to learn keeps an import from choosing
    later = {"training": settings.pop("training")} if job.recipe == NO_RECIPE else {}
    recipe = toml_text(settings if job.recipe == NO_RECIPE else laid_over(load_recipe(job.recipe).settings, settings))
    name = hashlib.sha256((recipe + toml_text(later) + job.track).encode()).hexdigest()[:12]
    folder = job.root.with_name(f"{job.root.name}-served")
    folder.mkdir(parents=True, exist_ok=True)
    root = folder / name
    if not (root / FILE_NAME).exists():
        (folder / f"{name}.toml").write_text(f"# what {job.dataset} is measured with\n{recipe}", encoding="utf-8")
        retrieval(folder, "init", name, "--model", MODEL, "--recipe", f"{name}.toml")
        configure(root, PATIENT)
    if not (root / _IMPORTED).exists():
        arguments = import_arguments(DATASETS[job.dataset], job.source, root / "source", job.users)
        own = () if job.recipe == NO_RECIPE else ("--keep-features",)
        retrieval(root, "data", "import", *arguments, "--write-settings", *own, "--replace")
        configure(root, *({name: toml_text(keys).rstrip()} for name, keys in later.items()))
        if job.recipe == NO_RECIPE and job.track == "no-time":
            _without_time(root / FILE_NAME)
        (root / _IMPORTED).touch()
    retrieval(root, "train")
    return root


def _without_time(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    declared = tomllib.loads(text)["features"]
    features = {side: tuple(declared[side]) for side in ("user", "item") if side in declared}
    path.write_text(merge_settings(text, Suggestion(features=features)), encoding="utf-8")
    configure(path.parent, {"features.history": "time = false"})


def settings_of(flags: Iterable[str]) -> dict[str, Any]:
    """What `--set section.key=value` flags set, by section."""
    settings: dict[str, Any] = {}
    for flag in flags:
        path, _, text = flag.partition("=")
        *sections, key = path.split(".")
        table = settings
        for section in sections:
            table = table.setdefault(section, {})
        try:
            table[key] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            table[key] = text
    return settings
