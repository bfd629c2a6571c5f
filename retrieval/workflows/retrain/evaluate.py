"""Step `evaluate`: the version beside the live one and popularity, on the same targets; and how its vectors lie.

The version's own ranks are those that its training recorded, by exact search over the whole corpus.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np

from retrieval.arrays import Ints, Mask
from retrieval.data.corpus import end_of_log
from retrieval.evaluation import EvaluationReport, evaluate_baselines
from retrieval.evaluation.certainty import compare
from retrieval.evaluation.collapse import VectorHealth, vector_health
from retrieval.evaluation.metrics import rank_gains, rank_metrics
from retrieval.evaluation.report import Evidence
from retrieval.evaluation.slice_differences import slice_differences
from retrieval.evaluation.slices import Slice
from retrieval.rollout.gates.facts import Gap, ModelFacts, SliceGap, Vectors
from retrieval.towers.loading import load_item_tower
from retrieval.types import ModelVersion
from retrieval.workflows.evaluation.evaluate import EvaluationSetup, item_vectors
from retrieval.workflows.evaluation.recorded_ranks import read_ranks
from retrieval.workflows.retrain.standing import Live, live_before
from retrieval.workflows.retrain.step import Made, Outputs, Step, Surroundings, Values
from retrieval.workflows.workspace import Workspace

_BASELINE = "popularity"
_FEWEST = 200
"""Targets of a slice that says something of its own; with fewer, all targets are taken."""


def _inputs(around: Surroundings, outputs: Outputs) -> Values:
    trained = outputs["train"]
    live = _live(around, trained)
    return {
        "snapshot": outputs["histories"]["snapshot"],
        "version": trained["version"],
        "space_id": trained["space_id"],
        "live": str(live.version.id) if live else "",
    }


def _live(around: Surroundings, trained: Values) -> Live | None:
    return live_before(around.registry, around.store, around.workspace.model, not_version=int(trained["version"]))


def _run(around: Surroundings, outputs: Outputs) -> Made:
    trained = outputs["train"]
    version = ModelVersion(around.workspace.model, int(trained["version"]))
    live = _live(around, trained)
    setup = _setup(around.workspace).learned_by(version)
    compared = _compared(setup, version, live.version.id if live else None, show=around.show)
    newer_than = _end_of_known(around, live)
    facts = ModelFacts(
        version=str(version),
        losses=tuple(trained["losses"]),
        gaps={} if compared is None else _gaps(compared, setup, newer_than),
        coverage=_coverage(trained["metrics"], setup),
        live_coverage=None if compared is None or live is None else _coverage(compared.report.metrics, setup),
        vectors=_vectors(setup, version),
        live_lift=_lift(around, live),
        slices=_slices(around, compared, setup, newer_than),
    )
    ndcg = trained["metrics"].get(f"ndcg@{setup.config.ks[0]}")
    around.say(f"evaluate: {version} has NDCG@{setup.config.ks[0]} {ndcg if ndcg is None else round(ndcg, 4)}")
    return Made(output={"facts": asdict(facts), "live": str(live.version.id) if live else ""})


def _setup(workspace: Workspace) -> EvaluationSetup:
    """The workspace's test targets, with one baseline."""
    setup = EvaluationSetup.open(workspace, show=False)
    return replace(setup, config=setup.config.model_copy(update={"baselines": (_BASELINE,)}))


@dataclass(frozen=True)
class _Compared:
    """The other models' report, and the version's own ranks of the same targets."""

    report: EvaluationReport
    evidence: Evidence
    version: str
    ranks: Ints


def _compared(
    setup: EvaluationSetup, version: ModelVersion, live: ModelVersion | None, *, show: bool
) -> _Compared | None:
    """Measure the live version and popularity; None where the split has no test targets."""
    if not len(setup.split.test):
        return None
    report = _others(setup, live, show=show)
    assert report.evidence is not None
    targets = report.evidence.targets
    recorded = read_ranks(setup.workspace.store(), version)
    if recorded is not None and np.isin(targets, recorded.targets).all():
        return _Compared(report, report.evidence, str(version), recorded.of(targets))
    own = setup.model_only().measure(*setup.towers(version), show=show)
    assert own.evidence is not None
    order = np.argsort(own.evidence.targets)
    places = order[np.searchsorted(own.evidence.targets, targets, sorter=order)]
    return _Compared(report, report.evidence, str(version), own.evidence.rankings[str(version)].ranks[places])


def _others(setup: EvaluationSetup, live: ModelVersion | None, *, show: bool) -> EvaluationReport:
    if live is not None:
        return setup.measure(*setup.towers(live), show=show)
    return evaluate_baselines(
        setup.dataset.histories,
        setup.split.test,
        corpus=setup.corpus,
        train_end=setup.split.train_end,
        config=setup.config,
        show=show,
    )


def _gaps(compared: _Compared, setup: EvaluationSetup, newer_than: int | None) -> Mapping[str, Mapping[str, Gap]]:
    """By whom it is compared with, and metric."""
    evidence = compared.evidence
    times = np.asarray(setup.dataset.histories.timestamps)[evidence.targets]
    chosen, named = _slice(times, newer_than)
    whom = {_BASELINE: _BASELINE}
    if compared.report.model is not None:
        whom["live"] = compared.report.model.name
    return {who: _gaps_with(compared, name, chosen, named, setup.config.ks[0]) for who, name in whom.items()}


def _slices(
    around: Surroundings, compared: _Compared | None, setup: EvaluationSetup, newer_than: int | None
) -> tuple[SliceGap, ...]:
    """Against the live version, slice by slice, on the targets that `_gaps` takes."""
    if compared is None or compared.report.model is None:
        return ()
    evidence, metric = compared.evidence, f"ndcg@{setup.config.ks[0]}"
    chosen, _ = _slice(np.asarray(setup.dataset.histories.timestamps)[evidence.targets], newer_than)
    theirs = evidence.rankings[compared.report.model.name].ranks
    ours, other = (dict(rank_gains(ranks[chosen], setup.config.ks))[metric] for ranks in (compared.ranks, theirs))
    found = slice_differences(
        evidence.users[chosen],
        [Slice(one.column, one.value, one.members[chosen]) for one in evidence.slices],
        ours,
        other,
        fewest=around.workspace.settings.retrain.slice_targets,
    )
    return tuple(SliceGap(metric=metric.upper(), **asdict(one)) for one in found)


def _slice(times: Ints, newer_than: int | None) -> tuple[Mask, str]:
    """The targets that the live version can't have learned from, if they are enough."""
    everything = np.ones(len(times), np.bool_)
    if newer_than is None:
        return everything, "all test targets"
    newer = times > newer_than
    if newer.sum() < _FEWEST:
        return everything, f"all test targets; {int(newer.sum())} are newer than what the live version knows"
    return newer, "test targets that are newer than what the live version knows"


def _gaps_with(compared: _Compared, other: str, chosen: Mask, named: str, k: int) -> Mapping[str, Gap]:
    evidence = compared.evidence
    ours, theirs = compared.ranks[chosen], evidence.rankings[other].ranks[chosen]
    differences = compare(evidence.users[chosen], (compared.version, ours), (other, theirs), [k]).differences
    means = [rank_metrics(ranks, [k]) for ranks in (ours, theirs)]
    return {
        short: Gap(
            other=other,
            metric=f"{short.upper()}@{k}",
            targets=int(chosen.sum()),
            slice=named,
            ours=float(means[0][f"{short}@{k}"]),
            theirs=float(means[1][f"{short}@{k}"]),
            low=differences[f"{short}@{k}"].interval.low,
            high=differences[f"{short}@{k}"].interval.high,
        )
        for short in ("ndcg", "hr")
    }


def _coverage(metrics: Values, setup: EvaluationSetup) -> float | None:
    found = metrics.get(f"coverage@{setup.config.ks[0]}")
    return None if found is None else float(found)


def _vectors(setup: EvaluationSetup, version: ModelVersion) -> Vectors:
    """How the vectors lie of items that the version knows by their id and that are in the corpus."""
    dataset = setup.dataset
    found = item_vectors(setup.workspace, version, dataset)
    moment = end_of_log(dataset.histories)
    vectors = found(moment) if callable(found) else found
    features = load_item_tower(setup.workspace.store(), version, device="cpu").features
    known = features.id_codes(dataset.histories.item_ids) >= features.item_vocabulary.first
    health: VectorHealth = vector_health(vectors[known & setup.corpus.items_at(moment)])
    return Vectors(**{name: getattr(health, name) for name in VectorHealth.__slots__})


def _lift(around: Surroundings, live: Live | None) -> float | None:
    """How far the live version was above popularity when it was new; None where that isn't known."""
    if live is None:
        return None
    for row in around.registry.retraining.steps(around.workspace.model, "evaluate"):
        facts = row.output.get("facts", {})
        gap = facts.get("gaps", {}).get(_BASELINE, {}).get("ndcg")
        if facts.get("version") == str(live.version.id) and gap is not None:
            return gap["ours"] / gap["theirs"] - 1 if gap["theirs"] > 0 else None
    return None


def _end_of_known(around: Surroundings, live: Live | None) -> int | None:
    """When the log ended that the live version learned from; None where nothing is known of it."""
    if live is None:
        return None
    for row in around.registry.retraining.steps(around.workspace.model, "histories"):
        if row.output.get("snapshot") == live.snapshot:
            return int(row.output["last_us"])
    return None


STEP = Step(
    name="evaluate",
    about="The version beside the live one and popularity on the same targets; how its vectors lie",
    after=("train",),
    settings=("evaluation", "corpus", "data.split", "retrain.slice_targets"),
    code=("evaluation", "data/corpus"),
    inputs=_inputs,
    run=_run,
)
