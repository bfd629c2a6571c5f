"""Draws `docs/images/console.svg`: a roll-out on the command line, from a real run on a small simulated log.

    python docs/draw_console.py

Makes a workspace in a temporary folder, trains two versions, serves them as a local fleet, and records what the
commands print.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

import retrieval

_WIDTH = 88
_SMALL = ("--set", "training.epochs=4", "--set", "towers.dim=32", "--set", "features.history.length=50")
_WARM = 200
_RECORDED = (
    ("query", "u17", "--k", "5", "--context", "device=phone", "--explain"),
    ("deploy", "shop-b2"),
    ("status",),
    ("rollback", "--yes"),
)


def main() -> None:
    """Make the workspace, record the commands, write the picture."""
    parser = argparse.ArgumentParser(description="The README's picture of the command line")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images" / "console.svg")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="retrieval-console-") as folder:
        root = Path(folder) / "shop"
        _prepare(root)
        console = Console(record=True, width=_WIDTH, file=io.StringIO())
        with _fleet(root):
            for arguments in _RECORDED:
                console.print(Text(f"$ retrieval {' '.join(arguments)}", style="bold green"))
                console.print(Text.from_ansi(_trimmed(_retrieval(root, *arguments, colours=True))))
    svg = console.export_svg(title="retrieval", theme=MONOKAI)
    # the picture names no font of another server's
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL).replace("Fira Code", "DejaVu Sans Mono")
    given.out.write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n", encoding="utf-8")
    sys.stderr.write(f"{given.out}\n")


def _prepare(root: Path) -> None:
    """Two versions, the second trained on two more days of events, each with its index; the first is deployed."""
    synth = ("data", "synth", "--users", "600", "--items", "400", "--seed", "3")
    _retrieval(root.parent, "init", root.name, "--model", "shop")
    _retrieval(root, *synth, "--days", "8", "--write-settings")
    for number in (1, 2):
        _retrieval(root, "train", *_SMALL)
        _retrieval(root, "index", "build", "--shards", "2")
        if number == 1:
            _retrieval(root, "deploy", "shop-b1", "--without-hosts")
            _retrieval(root, *synth, "--days", "10", "--first-day", "8")
    _retrieval(root, "users", "load")


@contextmanager
def _fleet(root: Path) -> Iterator[None]:
    """`retrieval serve all`, two hosts for each of two shards, while the block runs; it has answered some requests."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    process = subprocess.Popen(
        [*_command(), "serve", "all", "--replicas", "2", "--port", port],
        cwd=root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with retrieval.Client(f"127.0.0.1:{port}", timeout=5.0) as client:
            _wait_for(client)
            time.sleep(5)  # until every host has reported
            for user in range(_WARM):
                client.candidates(f"u{user}")
        yield
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(client: retrieval.Client) -> None:
    by = time.monotonic() + 120
    while time.monotonic() < by:
        try:
            client.candidates("u17")
        except retrieval.RetrievalError:
            time.sleep(0.5)
        else:
            return
    raise SystemExit("the services don't answer")


def _retrieval(root: Path, *arguments: str, colours: bool = False) -> str:
    """What the command prints; its error ends this script."""
    shown = {"FORCE_COLOR": "1", "COLUMNS": str(_WIDTH), "TERM": "xterm-256color"} if colours else {}
    done = subprocess.run(
        [*_command(), *arguments],
        cwd=root,
        env={**os.environ, **shown},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if colours else subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"retrieval {' '.join(arguments)}: {done.returncode}\n{done.stderr or done.stdout}")
    return done.stdout


def _trimmed(text: str) -> str:
    """Without the blank lines that tables end with."""
    lines = [line.rstrip() for line in text.rstrip().splitlines()]
    return "\n".join(line for line in lines if re.sub(r"\x1b\[[\d;]*m", "", line).strip()) + "\n"


def _command() -> list[str]:
    return [sys.executable, "-m", "retrieval.cli.main"]


if __name__ == "__main__":
    main()
