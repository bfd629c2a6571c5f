"""Settings that an import suggests, put into the workspace's retrieval.toml."""

from __future__ import annotations

from retrieval.config import FILE_NAME, parse_settings
from retrieval.data.importers.suggest import Suggestion
from retrieval.data.settings import merge_settings
from retrieval.storage.atomic import write_text
from retrieval.workflows.workspace.settings import Settings
from retrieval.workflows.workspace.workspace import Workspace


def apply_suggestion(workspace: Workspace, suggestion: Suggestion, *, features: bool = True) -> Workspace:
    """Merge `suggestion` into the workspace's retrieval.toml and open it anew; without `features`, [data] alone.

    The file is only replaced by one that is valid. Raises ConfigError.
    """
    path = workspace.root / FILE_NAME
    text = merge_settings(path.read_text(encoding="utf-8"), suggestion, features=features)
    parse_settings(text, path, Settings, environment={})
    write_text(path, text)
    return workspace.reopen()
