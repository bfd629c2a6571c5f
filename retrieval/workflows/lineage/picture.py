"""A lineage as a picture: a row for each generation, log → version → builds → deployments, as SVG.

Written by hand: a few boxes and arrows, that any browser shows, with text that can be searched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from retrieval.data.facts.stats import as_moment
from retrieval.workflows.lineage.lineage import BuildLineage, Lineage
from retrieval.workflows.lineage.words import metric_words

_WIDTH, _LINE, _PAD, _GAP_X, _GAP_Y = 250, 16, 10, 60, 26
_INK, _SOFT, _EDGE = "#1f2a3c", "#5c6b82", "#b9c1cf"
_FILLS = {"log": "#eef4e6", "version": "#e5eefb", "build": "#f7f1e3", "deployment": "#efe9f7", "refused": "#fbe5e5"}


@dataclass(frozen=True, slots=True)
class _Box:
    x: int
    y: int
    lines: tuple[str, ...]
    fill: str

    @property
    def height(self) -> int:
        return 2 * _PAD + _LINE * len(self.lines)

    @property
    def middle(self) -> int:
        return self.y + self.height // 2


def lineage_svg(lineage: Lineage) -> str:
    """The picture, oldest parent first."""
    parts: list[str] = []
    top, above = _PAD, None
    for one in (*lineage.parents, lineage):
        boxes, arrows, version, bottom = _generation(one, top)
        if above is not None:
            arrows.append(_down(above, version))
        parts += [*arrows, *map(_drawn, boxes)]
        top, above = bottom + 2 * _GAP_Y, version
    width = 4 * _WIDTH + 3 * _GAP_X + 2 * _PAD
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top}" viewBox="0 0 {width} {top}" '
        f'font-family="system-ui, sans-serif" font-size="12" role="img">\n'
        f"<title>{escape(lineage.version)}: where it comes from</title>\n"
        f'<rect width="{width}" height="{top}" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _generation(one: Lineage, top: int) -> tuple[list[_Box], list[str], _Box, int]:
    """Boxes and arrows of one version; its own box, and where the row ends."""
    log = _Box(_column(0), top, _log_lines(one), "log")
    refused = any(gate.outcome == "refused" and not gate.forced for gate in one.gates)
    version = _Box(_column(1), top, _version_lines(one), "refused" if refused else "version")
    boxes, arrows, y = [log, version], [_across(log, version)], top
    for each in one.builds:
        build = _Box(_column(2), y, _build_lines(each), "build")
        boxes.append(build)
        arrows.append(_across(version, build))
        for row in each.deployments:
            lines = (f"{row.kind} {row.id}: {row.state}", f"{row.started_at:%Y-%m-%d %H:%M}Z by {row.who}")
            deployment = _Box(_column(3), y, lines, "deployment")
            boxes.append(deployment)
            arrows.append(_across(build, deployment))
            y += deployment.height + _GAP_Y
        y = max(y, build.y + build.height + _GAP_Y)
    return boxes, arrows, version, max(box.y + box.height for box in boxes)


def _column(number: int) -> int:
    return _PAD + number * (_WIDTH + _GAP_X)


def _log_lines(one: Lineage) -> tuple[str, ...]:
    if one.log is None:
        return ("log: not recorded",)
    lines = [f"log {one.log.snapshot[:12]}"]
    if one.log.events is not None and one.log.last_us is not None:
        lines += [f"{one.log.events:,} events", f"to {as_moment(one.log.last_us)}"]
    return tuple(lines)


def _version_lines(one: Lineage) -> tuple[str, ...]:
    asked = {gate.gate: gate for gate in one.gates}
    bad = [name for name, gate in asked.items() if gate.outcome == "refused"]
    lines = [
        f"{one.version}, {one.state}",
        f"{one.made:%Y-%m-%d %H:%M}Z, seed {one.seed}",
        f"code {one.code or 'not recorded'}",
        metric_words(one.metrics, 2),
        f"gates: {len(asked) - len(bad)} of {len(asked)} good" if asked else "no gates were asked",
        *(f"{name} refused{', passed over' if asked[name].forced else ''}" for name in bad),
    ]
    return tuple(line for line in lines if line)


def _build_lines(each: BuildLineage) -> tuple[str, ...]:
    build = each.build
    lines = [f"{build.id}, {build.state}", f"{build.items:,} items, {build.shards} shards"]
    lines += [] if build.recall is None else [f"recall {build.recall:.4f}"]
    lines += [] if build.parent is None else [f"refreshed from {build.model}-b{build.parent}"]
    return tuple(lines)


def _drawn(box: _Box) -> str:
    text = "".join(
        f'<text x="{box.x + _PAD}" y="{box.y + _PAD + 12 + place * _LINE}" '
        f'fill="{_SOFT if place else _INK}"{"" if place else _BOLD}>{escape(_cut(line))}</text>'
        for place, line in enumerate(box.lines)
    )
    return (
        f'<g><rect x="{box.x}" y="{box.y}" width="{_WIDTH}" height="{box.height}" rx="6" fill="{_FILLS[box.fill]}" '
        f'stroke="{_EDGE}"/>{text}</g>'
    )


_BOLD = ' font-weight="600"'
_LONGEST = 40


def _cut(line: str) -> str:
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _across(left: _Box, right: _Box) -> str:
    return _arrow([(left.x + _WIDTH, left.middle), (right.x - 2, right.middle)])


def _down(upper: _Box, lower: _Box) -> str:
    x = upper.x + _WIDTH // 2
    middle = (upper.y + upper.height + lower.y) // 2
    label = f'<text x="{x + 8}" y="{middle + 4}" fill="{_SOFT}">warm start</text>'
    return _arrow([(x, upper.y + upper.height), (x, lower.y - 2)]) + label


def _arrow(points: Sequence[tuple[int, int]]) -> str:
    (x0, y0), (x1, y1) = points
    head = (
        f"{x1 - 6},{y1 - 4} {x1},{y1} {x1 - 6},{y1 + 4}"
        if x0 != x1
        else f"{x1 - 4},{y1 - 6} {x1},{y1} {x1 + 4},{y1 - 6}"
    )
    return (
        f'<line x1="{x0}" y1="{y0}" x2="{x1}" y2="{y1}" stroke="{_EDGE}" stroke-width="1.5"/>'
        f'<polyline points="{head}" fill="none" stroke="{_EDGE}" stroke-width="1.5"/>'
    )
