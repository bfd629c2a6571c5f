"""A workspace: its settings, the template that `retrieval init` writes, recipes, and what lies in its folder."""

from retrieval.workflows.workspace.create import create_workspace
from retrieval.workflows.workspace.opening import open_workspace
from retrieval.workflows.workspace.settings import ModelConfig, Settings
from retrieval.workflows.workspace.workspace import Workspace

__all__ = ["ModelConfig", "Settings", "Workspace", "create_workspace", "open_workspace"]
