"""Step `check_build`: the gates about the index build."""

from __future__ import annotations

from dataclasses import asdict

from retrieval.data.corpus import open_corpus
from retrieval.features import Features
from retrieval.rollout.gates.facts import BuildFacts
from retrieval.rollout.gates.judging import judge_all
from retrieval.towers.offline import catalog_at, known_items
from retrieval.towers.runtime import load_user_tower
from retrieval.types import BuildId, ModelVersion
from retrieval.workflows.evaluation.evaluate import with_item_ids
from retrieval.workflows.retrain.standing import live_before
from retrieval.workflows.retrain.step import Made, Outputs, Step, Surroundings, Values


def _inputs(around: Surroundings, outputs: Outputs) -> Values:
    trained = outputs["train"]
    live = live_before(around.registry, around.store, around.workspace.model, not_version=int(trained["version"]))
    return {
        "build": outputs["index"]["build"],
        "digest": outputs["index"]["digest"],
        "fault": outputs["verify"]["fault"],
        "snapshot": outputs["histories"]["snapshot"],
        "version": trained["version"],
        "live": str(live.version.id) if live else "",
    }


def _run(around: Surroundings, outputs: Outputs) -> Made:
    model, trained = around.workspace.model, outputs["train"]
    version, build = ModelVersion(model, int(trained["version"])), BuildId(model, int(outputs["index"]["build"]))
    live = live_before(around.registry, around.store, model, not_version=version.version)
    features = load_user_tower(around.store, version).features
    facts = BuildFacts(
        build=str(build),
        recall=outputs["index"]["recall"],
        items=int(outputs["index"]["items"]),
        corpus_items=_corpus_items(around, features, int(outputs["index"]["at_us"])),
        live=str(live.build.id) if live else "",
        live_items=live.build.items if live else None,
        fault=outputs["verify"]["fault"],
    )
    verdicts = judge_all("build", facts, around.workspace.settings.gates)
    return Made(
        output={"facts": asdict(facts), "verdicts": [asdict(one) for one in verdicts]},
        verdicts=tuple(verdicts),
        version=version.version,
        build=build.number,
    )


def _corpus_items(around: Surroundings, features: Features, at_us: int) -> int:
    """Items that the declared corpus holds at a moment, without those that the version knows nothing of."""
    settings = around.workspace.settings.corpus
    dataset = around.workspace.dataset(show=False)
    held = open_corpus(settings, dataset).items_at(at_us)
    if not settings.unknown_items:
        catalog = catalog_at(with_item_ids(dataset), dataset.histories, features, at_us)
        held &= known_items(features, catalog, at_us)
    return int(held.sum())


STEP = Step(
    name="check_build",
    about="Gates about the build: whether it is sound, recall, its items against corpus and served build",
    after=("train", "index", "verify"),
    settings=("gates", "corpus"),
    code=("rollout/gates", "data/corpus"),
    inputs=_inputs,
    run=_run,
)
