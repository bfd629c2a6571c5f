"""Generates `retrieval/v1/*_pb2*.py` and their type stubs from `protos/`; the build runs it with its own Python."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path


def generate(root: Path) -> None:
    """Run protoc over every proto below `root/protos`, into `root/retrieval`."""
    from grpc_tools import protoc

    protos = root / "protos"
    builtin = Path(protoc.__file__).parent / "_proto"
    # protoc looks for the stub generators (protoc-gen-mypy…) on PATH
    os.environ["PATH"] = os.pathsep.join(
        [sysconfig.get_path("scripts"), str(Path(sys.executable).parent), *_overlay_bins(), os.environ.get("PATH", "")]
    )
    arguments = ["protoc", f"-I{protos}", f"-I{builtin}"]
    arguments += [f"--{kind}_out={root}" for kind in ("python", "grpc_python")]
    arguments += [f"--{kind}_out=quiet:{root}" for kind in ("mypy", "mypy_grpc")]
    if protoc.main([*arguments, *map(str, sorted(protos.rglob("*.proto")))]) != 0:
        raise SystemExit("protoc failed; its messages are above")
    init = root / "retrieval" / "v1" / "__init__.py"
    init.write_text('"""Wire format, generated from protos/retrieval/v1 by the build."""\n')


def _overlay_bins() -> list[str]:
    """Script folders beside each entry of sys.path: where an isolated build environment keeps its commands."""
    return [str(Path(entry).parents[2] / "bin") for entry in sys.path if entry.endswith("site-packages")]


if __name__ == "__main__":
    generate(Path(__file__).resolve().parent.parent)
