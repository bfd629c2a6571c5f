"""A tiny workspace that the retraining chain runs in within seconds: `from tests.retraining import …`."""

from __future__ import annotations

from pathlib import Path

from retrieval.workflows.workspace import Workspace
from tests.tiny import DAY_US, START_US, TINY_SETTINGS, make_workspace, write_tiny

RETRAIN_SETTINGS = (
    TINY_SETTINGS
    + """
[features.history]
length = 12
[[features.item]]
kind = "categorical"
name = "colour"
[[features.context]]
kind = "categorical"
name = "device"
[towers]
dim = 16
blocks = 1
[training]
epochs = 2
threads = 1
[index]
threads = 1
[evaluation]
max_targets = 500
"""
)


SHADOW_REQUESTS, SLICE_TARGETS = 40, 50


def after_days(days: float) -> int:
    """A moment in µs, so many days into the log (of 30)."""
    return START_US + round(days * DAY_US)


def retrain_workspace(root: Path, *, users: int = 200, more: str = "") -> Workspace:
    """A log of 30 days, settings that learn something of it, and empty stores; `more` may begin with `[retrain]`."""
    root.mkdir(parents=True, exist_ok=True)
    write_tiny(root, users=users, items=60, events=30)
    few = f"[retrain]\nshadow_requests = {SHADOW_REQUESTS}\nslice_targets = {SLICE_TARGETS}\n"
    return make_workspace(root, RETRAIN_SETTINGS + few + more.removeprefix("[retrain]\n"))
