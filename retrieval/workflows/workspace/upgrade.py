"""Makes the registry, artifact store and user store that a workspace's settings name, and migrates the registry.

Everything else opens these and says so where one is missing; only `retrieval init` and `retrieval upgrade` come here.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

from retrieval.registry import DatabaseUpgrade, upgrade_database
from retrieval.serving.users.store import UserStore
from retrieval.storage import ArtifactStore
from retrieval.workflows.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Upgraded:
    """The registry's schema before and after, and where the artifact store and the user store are."""

    registry: DatabaseUpgrade
    store: str
    user_store: str


def upgrade_workspace(workspace: Workspace) -> Upgraded:
    """Make or migrate what the workspace's settings name; what is there and up to date stays as it is.

    Raises UnavailableError (a server can't be reached, a folder can't be written), ConflictError (a newer schema, or a
    SQLite file that seems to have been moved away), ArtifactError (damaged).
    """
    registry = upgrade_database(workspace.settings.registry.url, root=workspace.root)
    store = ArtifactStore.create(workspace.store_uri, cache=workspace.root / "cache")
    folder = workspace.root / workspace.settings.serving.user_store
    with closing(UserStore.create(folder, gib=workspace.settings.serving.user_store_gib)):
        pass
    return Upgraded(registry, store.uri, str(folder))
