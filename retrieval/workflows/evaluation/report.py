"""The evaluation of a version for whoever decides about it: certainty, comparisons, and what a report shows besides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Scores
from retrieval.data.corpus import built_for
from retrieval.data.facts.training import item_counts, last_training_us
from retrieval.errors import ConfigError, DataError
from retrieval.evaluation import EvaluationReport
from retrieval.evaluation.calibration import BestScores, Calibration, fit_temperature
from retrieval.evaluation.certainty import Comparison, compare, hit_curves, model_intervals, slice_intervals
from retrieval.evaluation.evaluate import ItemVectors, in_time_order, inner_products
from retrieval.evaluation.lists import ExampleLists
from retrieval.evaluation.neighbours import Neighbourhood, example_items, neighbourhoods
from retrieval.evaluation.ranking import Observer, Task, make_task
from retrieval.evaluation.report import Evidence, ModelScores
from retrieval.evaluation.reports.findings import Findings, slice_metrics
from retrieval.towers.runtime import UserTower
from retrieval.types import ModelVersion
from retrieval.workflows.evaluation.evaluate import EvaluationSetup, Targets, newest_version, user_vectors
from retrieval.workflows.evaluation.protocol_facts import protocol_facts, warnings_about
from retrieval.workflows.evaluation.provenance import Provenance, check_different, check_same_data, provenance_of
from retrieval.workflows.item_names import item_labels
from retrieval.workflows.workspace import Workspace

_FIT_TARGETS = 2_000
_UNRECORDED = "The version records no temperature of a softmax"


@dataclass(frozen=True)
class _Temperature:
    value: float | None
    source: str
    """Where it comes from, or why there is none."""


def examine_version(
    workspace: Workspace,
    version: ModelVersion | None = None,
    *,
    against: ModelVersion | None = None,
    other_data: bool = False,
    targets: Targets = "test",
    slices: Sequence[str] = (),
    whole: bool = True,
    neighbours_of: Sequence[str] = (),
    show: bool = True,
) -> Findings:
    """Measure a version (the newest where none is given) with intervals, paired with the best baseline and `against`.

    `whole` adds what a report shows besides: curves, calibration, and the neighbours of the items `neighbours_of`, or
    of examples. `other_data` allows `against` to be trained on other data. Raises NotFoundError, ArtifactError,
    DataError and ConfigError.
    """
    version = version or newest_version(workspace)
    if against is not None:
        check_different(version, against)
    store = workspace.store()
    ours = provenance_of(store, version)
    theirs = None if against is None else provenance_of(store, against)
    if theirs is not None and not other_data:
        check_same_data(ours, theirs)
    setup = EvaluationSetup.open(workspace, targets=targets, slices=slices, show=show).learned_by(version)
    examples = _named_examples(setup, neighbours_of)
    tower, items = setup.towers(version)
    temperature = _temperature(setup, ours, tower, items) if whole else None
    watch = None if temperature is None or temperature.value is None else BestScores(temperature.value)
    lists = ExampleLists()
    report = setup.measure(tower, items, show=show, observe=_all_of(lists, watch) if whole else None)
    rival = None if against is None else _rival(setup, against, show=show)
    found = _certain(report, rival)
    found = replace(
        found,
        facts=protocol_facts(setup, ours, theirs, report),
        warnings=warnings_about(setup, ours, theirs, report),
    )
    if not whole:
        return found
    calibration = None if watch is None else watch.calibration()
    found = replace(found, lists=tuple(lists.found))
    return _completed(found, setup, items, calibration=calibration, temperature=temperature, examples=examples)


def _all_of(*observers: Observer | None) -> Observer:
    def observe(task: Task, part: slice, scores: Scores) -> None:
        for one in observers:
            if one is not None:
                one(task, part, scores)

    return observe


def _named_examples(setup: EvaluationSetup, ids: Sequence[str]) -> list[tuple[int, str]]:
    rows = setup.dataset.histories.item_rows(list(ids)).tolist() if ids else []
    unknown = [item for item, row in zip(ids, rows, strict=True) if row < 0]
    if unknown:
        raise ConfigError(f"--neighbours-of {', '.join(unknown)}: the catalog has no such item")
    return [(row, "asked for") for row in dict.fromkeys(rows)]


def _rival(setup: EvaluationSetup, version: ModelVersion, *, show: bool) -> EvaluationReport:
    alone = setup.model_only()
    return alone.measure(*alone.towers(version), show=show)


def _certain(report: EvaluationReport, rival: EvaluationReport | None) -> Findings:
    """Intervals and comparisons; both reports are of the same targets."""
    evidence, model = report.evidence, report.model
    assert evidence is not None
    assert model is not None
    scores, rankings = [model], {model.name: evidence.rankings[model.name]}
    if rival is not None:
        assert rival.evidence is not None
        assert rival.model is not None
        assert np.array_equal(rival.evidence.targets, evidence.targets)
        scores.append(rival.model)
        rankings |= rival.evidence.rankings
    scores += report.baselines
    evidence = replace(evidence, rankings={**rankings, **evidence.rankings})
    return Findings(
        report=report,
        scores=tuple(scores),
        evidence=evidence,
        intervals=model_intervals(evidence, report.ks),
        slices=tuple(
            slice_intervals(evidence, evidence.rankings[model.name].ranks, slice_metrics(report.ks), report.ks)
        ),
        comparisons=_comparisons(report, evidence, None if rival is None else rival.model),
    )


def _comparisons(report: EvaluationReport, evidence: Evidence, rival: ModelScores | None) -> tuple[Comparison, ...]:
    """With the other version, if any, and with the baseline that is best by HR at the shortest length."""
    assert report.model is not None
    name, leading = report.model.name, f"hr@{report.ks[0]}"
    best = max(report.baselines, key=lambda one: (one.metrics[leading], one.metrics["mrr"]), default=None)
    others = [one.name for one in (rival, best) if one is not None]
    ours = evidence.rankings[name].ranks
    return tuple(
        compare(evidence.users, (name, ours), (other, evidence.rankings[other].ranks), report.ks) for other in others
    )


def _completed(
    found: Findings,
    setup: EvaluationSetup,
    items: ItemVectors,
    *,
    calibration: Calibration | None,
    temperature: _Temperature | None,
    examples: list[tuple[int, str]],
) -> Findings:
    around = _neighbours(setup, found.evidence, items, examples)
    rows = [item.row for each in around for item in (each.item, *(near for near, _ in each.nearest))]
    rows += [row for one in found.lists for row in (*one.seen, *one.shown, one.target)]
    return replace(
        found,
        curves=hit_curves(found.evidence, max(found.report.ks)),
        calibration=calibration,
        temperature="" if temperature is None else temperature.source,
        neighbourhoods=around,
        labels=item_labels(setup.dataset, setup.workspace.settings.data, setup.workspace.settings.features, rows),
    )


def _neighbours(
    setup: EvaluationSetup, evidence: Evidence, items: ItemVectors, examples: list[tuple[int, str]]
) -> tuple[Neighbourhood, ...]:
    histories, train_end = setup.dataset.histories, setup.split.train_end
    vectors = items(last_training_us(histories, train_end)) if callable(items) else items
    counts = item_counts(histories, train_end)
    chosen = examples or example_items(evidence.counts, evidence.columns)
    return neighbourhoods(vectors, chosen, counts, evidence.columns)


def _temperature(setup: EvaluationSetup, ours: Provenance, tower: UserTower, items: ItemVectors) -> _Temperature:
    """The learned temperature, or one fitted on validation targets, where there are any that can be reached."""
    if ours.temperature is not None:
        averaged = (
            " (of the running weights; those exported are their average)" if ours.setting("training", "ema") else ""
        )
        return _Temperature(
            ours.temperature,
            f"Temperature {ours.temperature:.4g}: learned with the weights, from the version's own record{averaged}.",
        )
    rows = setup.split.valid
    if not len(rows):
        return _Temperature(None, f"{_UNRECORDED}, and the split has no validation targets to fit one on.")
    rows = rows[:: -(-len(rows) // _FIT_TARGETS)]
    # by time, so that indexes that are rebuilt are asked for one after the other
    rows = rows[in_time_order(setup.dataset.histories, rows)]
    task = make_task(
        setup.dataset.histories,
        rows,
        built_for(setup.corpus, setup.split, "valid"),
        block_mb=setup.config.block_mb,
    )
    vectors: npt.NDArray[np.float32] = user_vectors(setup.dataset, tower, rows)
    try:
        value = fit_temperature(task, inner_products(task, vectors, items))
    except DataError as error:
        return _Temperature(None, f"{_UNRECORDED}, and none could be fitted on validation targets ({error}).")
    same = (
        ", which are measured here too, so that calibration looks better than it is" if setup.targets == "valid" else ""
    )
    return _Temperature(
        value,
        f"Temperature {value:.4g}: the version records none of a softmax, so this one was fitted, by maximum "
        f"likelihood on {len(rows):,} validation targets{same}.",
    )
