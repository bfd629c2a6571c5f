"""What a step of the chain is: named inputs, which decide its address, and a function that makes its output of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import retrieval
from retrieval.registry import Registry
from retrieval.rollout.gates.gate import Verdict
from retrieval.storage import ArtifactStore
from retrieval.workflows.workspace import Workspace

Values = Mapping[str, Any]
"""JSON values by name."""
Outputs = Mapping[str, Values]
"""What earlier steps made, by the step's name."""
Say = Callable[[str], None]
_OF_OTHER_INPUTS = {"until", "split", "memory_limit_mb"}
"""Of `[data]`: the moment counts where it leaves out something, the split where it is used, memory never."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Where the chain runs, and the moment that it is run for."""

    workspace: Workspace
    """Opened so that its data is that of before the moment."""
    registry: Registry
    store: ArtifactStore
    as_of_us: int
    show: bool = False
    say: Say = lambda _: None


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a step made; `verdicts` of gates, of a version or a build by their numbers."""

    output: Values
    verdicts: tuple[Verdict, ...] = ()
    version: int | None = None
    build: int | None = None

    @property
    def refused(self) -> bool:
        """Whether a gate refused."""
        return any(one.outcome == "refused" for one in self.verdicts)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step. Its inputs are `inputs`, the named `settings` and the source of the `code` that it runs."""

    name: str
    about: str
    after: tuple[str, ...] = ()
    """Earlier steps whose output its inputs are made from."""
    settings: tuple[str, ...] = ()
    """Sections, or keys of them, as in `data.split`."""
    code: tuple[str, ...] = ()
    """Packages and modules below `retrieval`, with / between their parts."""
    inputs: Callable[[Surroundings, Outputs], Values]
    run: Callable[[Surroundings, Outputs], Made]
    holds: Callable[[Surroundings, Values], bool] = field(default=lambda _around, _output: True)
    """Whether an output that was recorded is still there."""


@dataclass(frozen=True, slots=True)
class Addressed:
    """A step's inputs by name, and the hash of them."""

    address: str
    inputs: Values


def addressed(step: Step, around: Surroundings, outputs: Outputs) -> Addressed:
    """The inputs of a step whose earlier steps are done. Raises what reading them raises."""
    inputs: dict[str, Any] = dict(step.inputs(around, outputs))
    inputs |= {f"settings.{key}": _setting(around.workspace, key) for key in step.settings}
    inputs["code"] = code_hash(step.code)
    text = json.dumps(inputs, sort_keys=True, allow_nan=False)
    # as they come back from the registry, so that they can be compared
    return Addressed(hashlib.sha256(f"{step.name}\0{text}".encode()).hexdigest(), json.loads(text))


def code_hash(parts: tuple[str, ...]) -> str:
    """The package's version, and a hash of the source of some of its packages and modules."""
    root = Path(retrieval.__file__).parent
    digest = hashlib.sha256()
    for part in parts:
        path = root / part
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]:
            digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return f"{retrieval.__version__}+{digest.hexdigest()[:12]}"


def _setting(workspace: Workspace, key: str) -> Any:
    value: Any = workspace.settings
    for part in key.split("."):
        value = getattr(value, part)
    if key == "data":
        return value.model_dump(mode="json", exclude=_OF_OTHER_INPUTS)
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value
