"""Generates `retrieval/v1/*_pb2*.py` and their type stubs from `protos/` when the package is built or installed."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


def generate(root: Path) -> list[Path]:
    """Run protoc over every proto below `root/protos`; returns the files it wrote below `root/retrieval`."""
    from grpc_tools import protoc

    protos = root / "protos"
    sources = sorted(protos.rglob("*.proto"))
    if not sources:
        return []
    builtin = Path(protoc.__file__).parent / "_proto"
    # protoc looks for the stub generators (protoc-gen-mypy…) on PATH
    os.environ["PATH"] = os.pathsep.join(
        [sysconfig.get_path("scripts"), str(Path(sys.executable).parent), *_overlay_bins(), os.environ.get("PATH", "")]
    )
    arguments = ["protoc", f"-I{protos}", f"-I{builtin}"]
    arguments += [f"--{kind}_out={root}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    if protoc.main([*arguments, *map(str, sources)]) != 0:
        raise RuntimeError("protoc failed; its messages are above")
    package = root / "retrieval" / "v1"
    (package / "__init__.py").write_text('"""Wire format, generated from protos/retrieval/v1 by the build."""\n')
    return sorted(package.iterdir())


def _overlay_bins() -> list[str]:
    """Script folders beside each entry of sys.path: where an isolated build environment keeps its commands."""
    return [str(Path(entry).parents[2] / "bin") for entry in sys.path if entry.endswith("site-packages")]


class ProtoBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Called by hatchling before it packs a wheel or makes an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Generate the wire code into the tree, where the wheel picks it up as an artifact."""
        generate(Path(self.root))
