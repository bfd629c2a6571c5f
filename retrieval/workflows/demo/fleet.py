"""The demo's own processes: `retrieval serve all` in the background, other commands in the foreground."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from retrieval.errors import UnavailableError
from retrieval.serving.candidates.servicer import SERVICE
from retrieval.serving.local_fleet.supervisor import answers
from retrieval.workflows.fleet.local_fleet import retrieval_command

_STOP_S = 20.0


def run_command(workspace: Path, *arguments: str) -> dict[str, Any]:
    """Run one `retrieval` command to its end and return what it printed with --json. Raises UnavailableError."""
    done = subprocess.run(  # noqa: S603 - our own command line
        retrieval_command(*arguments, "--workspace", str(workspace), "--json"),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        shown = " ".join(arguments)
        raise UnavailableError(f"`retrieval {shown}` ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@contextmanager
def local_fleet(workspace: Path, *, replicas: int, log: Path) -> Iterator[None]:
    """`retrieval serve all` while the block runs; its log lines go to `log`."""
    with log.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603 - our own command line
            retrieval_command("serve", "all", "--workspace", str(workspace), "--replicas", str(replicas)),
            stdout=out,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_until_serving(address: str, *, timeout_s: float, log: Path) -> None:
    """Block until the candidate service says over the health protocol that it serves. Raises UnavailableError."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        if answers(address, SERVICE, timeout_s=1.0):
            return
        time.sleep(0.2)
    raise UnavailableError(f"the services did not come up within {timeout_s:.0f} s; their log is {log}")
