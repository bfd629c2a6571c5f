"""A workspace: its settings, the template that `retrieval init` writes, recipes, and what lies in its folder."""

from typing import TYPE_CHECKING

from retrieval.lazy import lazy_names

if TYPE_CHECKING:
    from retrieval.workflows.workspace.create import create_workspace
    from retrieval.workflows.workspace.opening import open_workspace
    from retrieval.workflows.workspace.settings import ModelConfig, Settings
    from retrieval.workflows.workspace.workspace import Workspace

__all__ = ["ModelConfig", "Settings", "Workspace", "create_workspace", "open_workspace"]

__getattr__ = lazy_names(
    __name__,
    {
        "retrieval.workflows.workspace.create": ("create_workspace",),
        "retrieval.workflows.workspace.opening": ("open_workspace",),
        "retrieval.workflows.workspace.settings": ("ModelConfig", "Settings"),
        "retrieval.workflows.workspace.workspace": ("Workspace",),
    },
)
