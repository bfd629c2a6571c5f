"""The peer's environment: a virtual one, made with pip when it is first asked for, outside the checkout.

Where another build of torch is wanted (pip's own for Linux brings CUDA along, several GB), make the environment
yourself, install that build in it, and name it with --peer-env: pip then leaves torch as it is.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
_STAMP = ".installed"


def peer_python(folder: Path | None) -> Path:
    """Its Python; in `folder`, or in the user's cache. A finished one of the same requirements is used again."""
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    root = (folder or cache / "retrieval-bench" / f"peer-{wanted[:12]}").resolve()
    python, stamp = root / "bin" / "python", root / _STAMP
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    sys.stderr.write(f"making the peer's environment in {root} (a few minutes) ...\n")
    subprocess.run([sys.executable, "-m", "venv", root], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--requirement", REQUIREMENTS], check=True)
    stamp.write_text(wanted, encoding="utf-8")
    return python
