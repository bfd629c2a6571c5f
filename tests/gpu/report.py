"""Checks: recorded one by one as JSON lines, so that a section that is killed leaves those before; and their table."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Status = Literal["passed", "failed", "skipped"]
_ALLOWED, _AT_LEAST = "_at_most", "_at_least"
_LONGEST_REASON = 2000


@dataclass(frozen=True)
class Check:
    """One check of a section and what it found."""

    section: str
    name: str
    status: Status
    seconds: float
    figures: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    """Why it failed or was skipped."""


class SkippedError(Exception):
    """Raised inside a check that can't be made here; its words say why."""


class Figures(dict[str, Any]):
    """What a check measured, by name; some of it with a bound that decides whether the check passes."""

    def at_most(self, name: str, value: float, bound: float) -> None:
        """Record a figure that must not be above `bound`; NaN is."""
        self.update({name: value, name + _ALLOWED: bound})

    def at_least(self, name: str, value: float, bound: float) -> None:
        """Record a figure that must not be below `bound`; NaN is."""
        self.update({name: value, name + _AT_LEAST: bound})

    def out_of_bounds(self) -> list[str]:
        """What is wrong, in words."""
        wrong = []
        for name, bound in self.items():
            value = self.get(name.removesuffix(_ALLOWED).removesuffix(_AT_LEAST))
            if name.endswith(_ALLOWED) and not value <= bound:
                wrong.append(f"{name.removesuffix(_ALLOWED)} is {value:.3g}, allowed {bound:.3g}")
            if name.endswith(_AT_LEAST) and not value >= bound:
                wrong.append(f"{name.removesuffix(_AT_LEAST)} is {value:.3g}, expected at least {bound:.3g}")
        return wrong


class Recorder:
    """Runs a section's checks one after the other; one that fails doesn't stop those after it."""

    def __init__(self, section: str, out: Path) -> None:
        self._section = section
        self._out = out

    @contextmanager
    def check(self, name: str) -> Iterator[Figures]:
        """The figures to fill in; what the block raises makes the check fail, SkippedError makes it skipped."""
        figures, started = Figures(), time.monotonic()
        status: Status = "passed"
        reason = ""
        try:
            yield figures
            reason = "; ".join(figures.out_of_bounds())
            status = "failed" if reason else "passed"
        except SkippedError as skipped:
            status, reason = "skipped", str(skipped)
        except Exception:  # noqa: BLE001  # whatever it is, it is reported, and the next check is made
            status, reason = "failed", traceback.format_exc()[-_LONGEST_REASON:]
        check = Check(self._section, name, status, round(time.monotonic() - started, 2), figures, reason)
        with self._out.open("a", encoding="utf-8") as out:
            out.write(json.dumps(asdict(check), default=float) + "\n")


def read_checks(path: Path) -> list[Check]:
    """The checks that a section recorded; a torn last line of one that was killed is left out."""
    checks = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            checks.append(Check(**json.loads(line)))
        except ValueError:
            break
    return checks


def table(checks: Sequence[Check]) -> str:
    """One line a check: what it is, how it ended, its figures or why not."""
    lines = []
    for check in checks:
        shown = [f"{name} {_short(value)}" for name, value in check.figures.items() if "_at_" not in name]
        why = check.reason.strip().splitlines()[-1:] if check.reason else []
        name = f"{check.section}: {check.name}"
        lines.append(f"{check.status:8} {name:58} {check.seconds:6.1f} s  {', '.join([*shown, *why])}")
    return "\n".join(lines)


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
