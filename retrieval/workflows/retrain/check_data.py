"""Step `check_data`: the gates about the log, before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from retrieval.data import Histories
from retrieval.data.facts.drift import Spread, drift, spreads
from retrieval.data.facts.pairs import events_before, repeated_shares
from retrieval.data.facts.windows import Windows, newest_windows
from retrieval.data.reading.validation import FORGOTTEN
from retrieval.features.declaration import SIDES
from retrieval.features.spec import FeatureSpec
from retrieval.rollout.gates.facts import DataFacts
from retrieval.rollout.gates.judging import judge_all
from retrieval.workflows.retrain.standing import Live, live_before
from retrieval.workflows.retrain.step import Made, Outputs, Step, Surroundings, Values

_FEWEST = 100
"""Events that a spread must be of, to say something."""
_1973_US, _1990_US = 94_694_400_000_000, 631_152_000_000_000
"""A log that is read after 1990 has no events of before 1973."""
_COMPARED = frozenset({"categorical", "multi_categorical", "numeric"})
"""Kinds of features whose values stay alike from one window to the next; ids, times and texts do not."""


def _inputs(around: Surroundings, outputs: Outputs) -> Values:
    snapshot = outputs["events"]["snapshot"]
    live = _live(around, snapshot)
    return {"snapshot": snapshot, "as_of_us": around.as_of_us, "live": str(live.version.id) if live else ""}


def _run(around: Surroundings, outputs: Outputs) -> Made:
    facts, spread = _measured(around, outputs)
    verdicts = judge_all("data", facts, around.workspace.settings.gates)
    output = {
        "facts": asdict(facts),
        "spreads": {name: asdict(one) for name, one in spread.items()},
        "verdicts": [asdict(one) for one in verdicts],
    }
    return Made(output=output, verdicts=tuple(verdicts))


def _measured(around: Surroundings, outputs: Outputs) -> tuple[DataFacts, Mapping[str, Spread]]:
    """The facts of the log, and how its newest window is spread, for a later run to compare with."""
    settings, log = around.workspace.settings, outputs["histories"]
    dataset = around.workspace.dataset(show=False)
    windows = newest_windows(dataset.histories, settings.retrain.window_hours)
    newest, before = windows.rows
    columns = _compared_columns(settings.features)
    live = _live(around, log["snapshot"])
    known = _recorded(around, live) if live else None
    now = spreads(dataset, newest, columns)
    compare = min(len(newest), len(before)) >= _FEWEST
    past = spreads(dataset, before, columns) if compare else {}
    then = {name: _spread(values) for name, values in known["spreads"].items()} if known else {}
    facts = DataFacts(
        as_of_us=around.as_of_us,
        last_us=log["last_us"],
        rows=log["rows"],
        rejected={reason: count for reason, count in log["rejected"].items() if reason != FORGOTTEN},
        events=log["events"],
        window_hours=settings.retrain.window_hours,
        window_events=int(windows.counts[0]),
        usual_events=windows.usual,
        **_repeated(dataset.histories, windows),
        before_1973=events_before(dataset.histories, _1973_US) if around.as_of_us > _1990_US else 0,
        drift=drift(spreads(dataset, newest, columns, past), past) if compare else {},
        live=str(live.version.id) if live and known else "",
        live_events=known["facts"]["events"] if known else None,
        live_drift=_live_drift(then, spreads(dataset, newest, columns, then)) if len(newest) >= _FEWEST else {},
    )
    return facts, now


def _repeated(histories: Histories, windows: Windows) -> dict[str, float | None]:
    """The share of events that repeat another, of the newest window and usually; None where there are too few."""
    if windows.usual is None or min(windows.counts[0], windows.usual) < _FEWEST:
        return {"repeated": None, "usual_repeated": None}
    shares = repeated_shares(histories, windows.hours, len(windows.counts))
    return {"repeated": float(shares[0]), "usual_repeated": float(np.nanmedian(shares[1:]))}


def _live_drift(then: Mapping[str, Spread], now: Mapping[str, Spread]) -> dict[str, float]:
    return drift(now, {name: spread for name, spread in then.items() if spread.events >= _FEWEST})


def _compared_columns(features: FeatureSpec) -> dict[str, list[str]]:
    """Columns by side whose spread is compared."""
    return {
        side: sorted({one.source for one in getattr(features, side) if one.kind in _COMPARED and one.source})
        for side in SIDES
    }


def _live(around: Surroundings, snapshot: str) -> Live | None:
    return live_before(around.registry, around.store, around.workspace.model, not_snapshot=snapshot)


def _recorded(around: Surroundings, live: Live) -> Mapping[str, Any] | None:
    """What this step found of the log that a live version learned from; None where it was not trained by a chain."""
    for row in around.registry.retraining.steps(around.workspace.model, "check_data"):
        if row.inputs.get("snapshot") == live.snapshot and row.output.get("facts"):
            return row.output
    return None


def _spread(values: Mapping[str, Any]) -> Spread:
    return Spread(tuple(values["values"]), tuple(values["edges"]), tuple(values["counts"]))


STEP = Step(
    name="check_data",
    about="Gates about the log: times, freshness, volume, rejects, repeated events, action mix, drift",
    after=("events", "histories"),
    settings=("gates", "features", "retrain.window_hours"),
    code=("rollout/gates", "data/facts"),
    inputs=_inputs,
    run=_run,
)
