"""Whether what is measured is what is served: the corpus as settings have it, beside that of the file and the build."""

from __future__ import annotations

from contextlib import closing

from retrieval.data.corpus.words import differences
from retrieval.errors import RetrievalError
from retrieval.index.artifact import BUILD_KIND
from retrieval.workflows.workspace import Workspace


def served_otherwise(workspace: Workspace) -> str:
    """In what the settings' corpus differs from what is served, in words; empty where in nothing.

    What is served is what retrieval.toml declares, without flags, and what the build holds that is active.
    """
    corpus = workspace.settings.corpus
    declared = Workspace.open(workspace.root, recipe=workspace.recipe).settings.corpus
    found = []
    asked = differences(declared.model_dump(mode="json"), corpus.model_dump(mode="json"))
    if asked:
        found.append(f"{asked} in retrieval.toml")
    build, held = _held(workspace)
    other = differences(held, corpus.of_index())
    if other:
        found.append(f"{other} in {build}")
    return "; ".join(found)


def _held(workspace: Workspace) -> tuple[str, dict[str, object]]:
    """The active build, and the declaration of what it holds; nothing where none is active or can be read."""
    try:
        with closing(workspace.registry()) as registry:
            row = registry.active_build(workspace.model)
        if row is None:
            return "", {}
        manifest = workspace.store().manifest(row.key, kind=BUILD_KIND, digest=row.digest or None)
    except RetrievalError:  # what serves is away; evaluation needs nothing of it
        return "", {}
    return str(row.id), dict(manifest.facts.get("corpus", {}))
