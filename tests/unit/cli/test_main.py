"""The command as a whole: its version, its help, what it loads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import retrieval


def test_it_says_its_version(run: Callable[..., Any]) -> None:
    ran = run("--version")
    assert (ran.code, ran.out, ran.err) == (0, f"retrieval {retrieval.__version__}\n", "")


def test_a_command_that_is_missing_is_asked_for(run: Callable[..., Any]) -> None:
    assert "--version" in run().out
