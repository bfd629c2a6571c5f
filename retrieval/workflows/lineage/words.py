"""A lineage in lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from retrieval.data.facts.stats import as_moment
from retrieval.registry import GateRow
from retrieval.workflows.lineage.lineage import BuildLineage, Lineage, LogFacts
from retrieval.workflows.workspace import Settings

_SHORT = 12


def lineage_lines(lineage: Lineage) -> Iterator[str]:
    """What a version came from, and what came of it, line by line."""
    yield f"{lineage.version}, {lineage.state}, made {_moment(lineage.made)}"
    yield f"  log      {log_words(lineage.log)}"
    yield f"  began    {'with the weights of ' + lineage.parent if lineage.parent else 'from scratch'}"
    yield f"  code     {lineage.code or 'not recorded'}, seed {lineage.seed}"
    for key, one in lineage.own_code.items():
        yield f"  own code {key} = {one['path']} ({one['sha256'][:_SHORT]})"
    yield f"  space    {lineage.space_id[:_SHORT]}, inputs {lineage.inputs_hash[:_SHORT]}"
    changed = changed_settings(lineage.settings)
    yield f"  settings {', '.join(f'{key} = {value}' for key, value in changed.items()) or 'the defaults'}"
    if lineage.metrics:
        yield f"  metrics  {metric_words(lineage.metrics)}"
    for run in lineage.runs:
        yield f"  run      {run.id}, {run.state}, of {as_moment(run.as_of_us)}: {run.note}"
    for gate in lineage.gates:
        yield f"  gate     {gate_words(gate)}"
    for build in lineage.builds:
        yield from _build_lines(build)
    for parent in reversed(lineage.parents):
        yield f"  parent   {parent.version}, {parent.state}, made {_moment(parent.made)}: {log_words(parent.log)}"


def log_words(log: LogFacts | None) -> str:
    """The log in a few words."""
    if log is None:
        return "not recorded"
    counted = ""
    if log.events is not None and log.first_us is not None and log.last_us is not None:
        counted = f", {log.events:,} events from {as_moment(log.first_us)} to {as_moment(log.last_us)}"
    return f"snapshot {log.snapshot[:_SHORT]}, split {log.split}{counted}"


def gate_words(gate: GateRow) -> str:
    """What a gate said, and whether that was passed over."""
    forced = f" – passed over: {gate.forced}" if gate.forced else ""
    return f"{gate.gate}: {gate.outcome}. {gate.sentence}{forced}"


def metric_words(metrics: Mapping[str, Any], most: int = 6) -> str:
    """A few metrics, what is ranked first."""
    numbers = {name: value for name, value in metrics.items() if isinstance(value, (int, float))}
    first = sorted(numbers, key=lambda name: not name.startswith(("hr@", "ndcg@")))
    return ", ".join(f"{name} {numbers[name]:.4f}" for name in first[:most])


def changed_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that a version was made with and that aren't the defaults, by key."""
    defaults = Settings().model_dump(mode="json")
    return dict(_changed(settings, defaults, ""))


def _changed(given: Mapping[str, Any], defaults: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in given.items():
        default = defaults.get(key)
        if isinstance(value, Mapping) and isinstance(default, Mapping):
            yield from _changed(value, default, f"{prefix}{key}.")
        elif value != default:
            yield f"{prefix}{key}", _named(value)


def _named(value: Any) -> Any:
    """Features by their names; anything else as it is."""
    if isinstance(value, list) and value and all(isinstance(one, Mapping) and "name" in one for one in value):
        return [one["name"] for one in value]
    return value


def _build_lines(one: BuildLineage) -> Iterator[str]:
    build = one.build
    made = "" if build.parent is None else f", refreshed from {build.model}-b{build.parent}"
    recall = "" if build.recall is None else f", recall {build.recall:.4f}"
    yield f"  build    {build.id}, {build.state}, {build.items:,} items in {build.shards} shards{recall}{made}"
    for row in one.deployments:
        yield f"           {row.kind} {row.id}: {row.state} {_moment(row.started_at)} by {row.who}"


def _moment(value: datetime) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S}Z"
