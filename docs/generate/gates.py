"""The page of gates: what each measures, of what, and its threshold, from the gates themselves."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from generate.text import code, sentence, table

HEAD = """\
# Gates

What must hold before a retrained version goes live, in the order in which it is asked. Each gate measures one figure
and holds it against a threshold, a key of [`[gates]`](settings.md) in `retrieval.toml`; `gates.off` lists those that
are not asked, `gates.warn` those that only warn. What was measured stands in the registry with a sentence for people
(`retrieval lineage`).
[Retrain](../how-to/retraining.md) says what becomes of a refusal.
"""
STAGES = {
    "schema": ("Files and columns", "validate"),
    "data": ("The log", "check_data"),
    "model": ("The version", "check_model"),
    "build": ("The build", "check_build"),
    "serving": ("The build as it answers", "check_serving"),
}


def gates_page(gates: Mapping[str, Any]) -> str:
    """The page for gates by their names."""
    lines = [HEAD]
    for stage in dict.fromkeys(gate.stage for gate in gates.values()):
        title, step = STAGES[stage]
        lines += [f"## {title}", "", f"Asked by the step `{step}`.", ""]
        lines += table(["gate", "measures", "default", "why"], _rows(stage, gates))
        lines.append("")
    return "\n".join(lines) + "\n"


def _rows(stage: str, gates: Mapping[str, Any]) -> Iterator[list[str]]:
    for name, gate in gates.items():
        if gate.stage == stage:
            about = gate.about.removesuffix(f", {gate.sense}.")
            yield [code(name), sentence(about), f"{gate.sense} {gate.threshold:g}", _why(name)]


def _why(name: str) -> str:
    """The first line of what the gate's own file says."""
    module = sys.modules[f"retrieval.rollout.gates.{name}"]
    return sentence(inspect.cleandoc(module.__doc__ or "").partition("\n\n")[0])
