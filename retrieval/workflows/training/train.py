"""Training a model version: data, split, features, towers, evaluation, export, registry.

The inputs' hash addresses the version: settings, data snapshot, code and seed. Asked for again, it is found, not made.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from retrieval.data import Dataset, Split, make_split, open_dataset
from retrieval.data.corpus import measured_corpus
from retrieval.data.facts.training import last_training_rows, last_training_us
from retrieval.data.splits import evenly_spaced, through_validation
from retrieval.errors import GateError
from retrieval.evaluation import EvaluationReport, evaluate_vectors, hit_rate_and_ndcg
from retrieval.features import Features
from retrieval.registry import Registry, VersionRow
from retrieval.storage import ArtifactStore, Manifest, read_manifest
from retrieval.storage.keys import version_key
from retrieval.towers.artifact import VERSION_KIND
from retrieval.towers.offline import ItemInputs, item_inputs
from retrieval.towers.pair import TowerPair
from retrieval.towers.runtime import UserTower
from retrieval.training.export import export_version
from retrieval.training.journal import CURVES, METRICS
from retrieval.training.loop import TrainResult, Validate, train
from retrieval.training.rows_read import fit_read
from retrieval.training.vectors import PairVectors
from retrieval.training.warm_start import WarmStart, WriteState, write_training_state
from retrieval.types import ModelVersion
from retrieval.workflows.evaluation.golden_users import FILE as GOLDEN
from retrieval.workflows.evaluation.golden_users import GoldenUsers, write_golden_users
from retrieval.workflows.evaluation.recorded_ranks import FILE as RANKS
from retrieval.workflows.evaluation.recorded_ranks import measured_under, write_ranks
from retrieval.workflows.evaluation.served_corpus import served_otherwise
from retrieval.workflows.evaluation.user_inputs import inputs_at
from retrieval.workflows.training.address import code_version, version_inputs_hash
from retrieval.workflows.training.own_code import check_own_code, own_code
from retrieval.workflows.training.unknown_scale import scale_unknown_items
from retrieval.workflows.workspace import Settings, Workspace

Watch = Callable[[Mapping[str, float]], None]
RUNS = "runs"
"""Folder of a workspace in which interrupted runs leave their checkpoints."""
REFIT = "refit"
"""Folder in that of a run for the training on what validation had held out."""

_GOLDEN_USERS = 64
_GOLDEN_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class TrainOutcome:
    """The version that stands for what was asked."""

    version: VersionRow
    found: bool
    """A version of the same inputs was there; nothing was trained."""
    report: EvaluationReport | None
    """Test metrics with baselines; None where the version was found, or the split has no test targets."""
    run: TrainResult | None


def train_version(
    workspace: Workspace,
    *,
    fresh: bool = False,
    force: bool = False,
    test: bool = True,
    warm: WarmStart | None = None,
    keep_state: bool = False,
    show: bool = True,
) -> TrainOutcome:
    """Train, evaluate, export and register a version of the workspace's model, unless one of the same inputs is there.

    An interrupted run of the same inputs goes on where it stopped, except with `fresh`; `force` makes a new version
    even of the same inputs; without `test` the test targets are left alone, for whoever compares many versions before
    looking at them. With `warm` training begins with what an earlier version learned; `keep_state` keeps beside the
    towers what a later version may begin with. Raises DataError, ConfigError, ConflictError, ArtifactError,
    and GateError where what would be served is not what was trained.
    """
    settings, store = workspace.settings, workspace.store()
    check_own_code(settings)
    dataset = open_dataset(settings.data, workspace.root, show=show)
    split = make_split(settings.data, dataset.histories)
    address = version_inputs_hash(settings, dataset, split, warm=warm)
    with closing(workspace.registry()) as registry:
        found = None if force else _found(registry, store, workspace.model, address)
        if found is not None:
            return TrainOutcome(found, found=True, report=None, run=None)
        run_dir = workspace.root / RUNS / workspace.model / address[:16]
        if fresh or force:
            shutil.rmtree(run_dir, ignore_errors=True)
        made = Training(settings, dataset, split, fit_read(settings.features, dataset, split, settings.training))
        result = made.train(run_dir, warm=warm, show=show)
        refit = settings.training.refit and len(split.valid) > 0
        if refit:
            made, result = made.refit(result, run_dir / REFIT, warm=warm, show=show)
        report = made.evaluate(result.pair, workspace.model, show=show) if test else None
        report = None if report is None else replace(report, differs=served_otherwise(workspace))
        reserved = _reserved(registry, workspace.model, address, force=force)
        facts = _facts(settings, made, result, report, address) | ({"warm_start": warm.version} if warm else {})
        facts["training"]["refit"] = refit
        if report is not None:
            write_ranks(run_dir / RANKS, report, measured_under(settings, dataset.snapshot))
        golden = made.golden_users(result.pair)
        write_golden_users(run_dir / GOLDEN, golden)
        extra = [run_dir / name for name in (METRICS, CURVES, RANKS, GOLDEN) if (run_dir / name).exists()]
        state = None
        if keep_state:
            state = partial(write_training_state, pair=result.pair, run_dir=run_dir / REFIT if refit else run_dir)
        made.export(store, reserved.id, result.pair, facts, extra, golden=golden, training_state=state)
        row = registry.add_version(_published(store, reserved))
    shutil.rmtree(run_dir, ignore_errors=True)
    return TrainOutcome(row, found=False, report=report, run=result)


@dataclass(frozen=True)
class Training:
    """One training's inputs, and the steps that need all of them."""

    settings: Settings
    dataset: Dataset
    split: Split
    features: Features

    def items(self) -> ItemInputs:
        """What the item tower reads of every item, as of the newest training event."""
        return item_inputs(self.dataset, self.features, last_training_us(self.dataset.histories, self.split.train_end))

    def train(
        self, run_dir: Path, *, show: bool, watch: Watch | None = None, warm: WarmStart | None = None
    ) -> TrainResult:
        """Train, going on with what an interrupted run left in `run_dir`; `watch` is told every validation's metrics.

        What `watch` raises ends the run. Raises DataError, ConfigError.
        """
        result = train(
            self.dataset,
            self.split,
            self.features,
            self.settings.towers,
            self.settings.training,
            run_dir=run_dir,
            validate=self._validation(watch),
            positive_actions=self.settings.data.positive_actions,
            warm=warm,
            show=show,
        )
        return self._with_unknown_scale(result)

    def refit(
        self, chosen: TrainResult, run_dir: Path, *, show: bool, warm: WarmStart | None = None
    ) -> tuple[Training, TrainResult]:
        """Train anew on the validation targets, too, for as many epochs as `chosen` found best; goes on in `run_dir`.

        What was fitted on the validation targets stays as `chosen` has it: its metrics, and how far scores of unknown
        items are trusted. Returns the training of these events, and its result.
        """
        histories, training = self.dataset.histories, self.settings.training
        epochs = chosen.best_epoch or chosen.epochs
        settings = self.settings.model_copy(update={"training": training.model_copy(update={"epochs": epochs})})
        split = through_validation(self.split, histories)
        features = fit_read(settings.features, self.dataset, split, settings.training)
        made = Training(settings, self.dataset, split, features)
        result = train(
            self.dataset,
            split,
            features,
            settings.towers,
            settings.training,
            run_dir=run_dir,
            positive_actions=settings.data.positive_actions,
            warm=warm,
            show=show,
        )
        with torch.no_grad():
            result.pair.item.unknown_scale.copy_(chosen.pair.item.unknown_scale)
        return made, replace(
            result,
            metrics=chosen.metrics,
            best_epoch=chosen.best_epoch,
            seconds=chosen.seconds + result.seconds,
            steps=chosen.steps + result.steps,
            examples=chosen.examples + result.examples,
            resumed_at=chosen.resumed_at + result.resumed_at,
            curves=chosen.curves,
        )

    def _with_unknown_scale(self, result: TrainResult) -> TrainResult:
        """The same towers with what can be trusted of unknown items fitted, and the metrics that they have with it."""
        scale = scale_unknown_items(
            result.pair, self.settings, self.dataset, self.split, features=self.features, items=self.items()
        )
        if scale == 1.0:
            return result
        validate = self._validation(None)
        return result if validate is None else replace(result, metrics=validate(result.pair))

    def evaluate(self, pair: TowerPair, name: str, *, show: bool) -> EvaluationReport | None:
        """Test metrics of the trained towers; None where the split has no test targets."""
        if not len(self.split.test):
            return None
        vectors = PairVectors(self.dataset, self.features, self.items())
        return evaluate_vectors(
            self.dataset.histories,
            self.split.test,
            lambda rows: vectors.users(pair, rows),
            vectors.items_at_any_time(pair),
            corpus=measured_corpus(self.settings.corpus, self.dataset, self.split, "test"),
            train_end=self.split.train_end,
            config=self.settings.evaluation,
            users=self.dataset.users,
            items=self.dataset.items,
            name=name,
            split=f"{self.split.name} test",
            show=show,
        )

    def export(
        self,
        store: ArtifactStore,
        version: ModelVersion,
        pair: TowerPair,
        facts: Mapping[str, Any],
        extra: list[Path],
        *,
        golden: GoldenUsers,
        training_state: WriteState | None = None,
    ) -> Manifest:
        """Publish the trained towers; what is served is compared with them first. Raises GateError."""
        return export_version(
            store,
            version,
            pair,
            self.features,
            self.items(),
            facts=facts,
            extra_files=extra,
            training_state=training_state,
            check=lambda served: self._check_export(served, golden),
        )

    def _validation(self, watch: Watch | None) -> Validate | None:
        rows = evenly_spaced(self.split.valid, self.settings.training.validation_targets)
        if not len(rows):
            return None
        vectors = PairVectors(self.dataset, self.features, self.items())
        corpus = measured_corpus(self.settings.corpus, self.dataset, self.split, "valid")

        def validate(pair: TowerPair) -> Mapping[str, float]:
            metrics = hit_rate_and_ndcg(
                self.dataset.histories,
                rows,
                lambda chosen: vectors.users(pair, chosen),
                vectors.items_at_any_time(pair),
                corpus=corpus,
            )
            if watch is not None:
                watch(metrics)
            return metrics

        return validate

    def golden_users(self, pair: TowerPair) -> GoldenUsers:
        """What the trained tower gives for the newest events of some users."""
        histories = self.dataset.histories
        rows = last_training_rows(histories, histories.offsets[1:])[:_GOLDEN_USERS]
        vectors = PairVectors(self.dataset, self.features, self.items()).users(pair, rows)
        return GoldenUsers(rows, vectors, self.dataset.snapshot)

    def _check_export(self, tower: UserTower, golden: GoldenUsers) -> None:
        """What is served must be what was trained: the same users, through both. Raises GateError."""
        served = tower.embed(inputs_at(self.dataset, self.features, golden.rows))
        off = float(np.abs(golden.vectors - served).max())
        if not off <= _GOLDEN_TOLERANCE:  # nor is it where it is no number
            raise GateError(
                f"{tower.version}: the exported user tower differs from the trained one by {off:.2g} "
                f"(allowed {_GOLDEN_TOLERANCE:g}); it is not published"
            )


def _found(registry: Registry, store: ArtifactStore, model: str, address: str) -> VersionRow | None:
    """A ready version of these inputs; one that was published but not yet registered becomes ready now."""
    row = registry.find_version_by_inputs(model, address)
    if row is not None and store.exists(row.key):
        return row
    reserved = registry.find_version_by_inputs(model, address, state="reserved")
    if reserved is not None and store.exists(version_key(reserved.id)):
        return registry.add_version(_published(store, reserved))
    return None


def _reserved(registry: Registry, model: str, address: str, *, force: bool) -> VersionRow:
    """The number that an interrupted run of these inputs had reserved, else the next one."""
    left = None if force else registry.find_version_by_inputs(model, address, state="reserved")
    return left or registry.reserve_version(model, inputs_hash=address)


def _published(store: ArtifactStore, reserved: VersionRow) -> VersionRow:
    key = version_key(reserved.id)
    manifest = read_manifest(store.open_artifact(key, kind=VERSION_KIND))
    return replace(
        reserved,
        space_id=manifest.facts["space_id"],
        key=key,
        digest=manifest.digest,
        metrics=manifest.facts.get("metrics", {}),
    )


def _facts(
    settings: Settings, made: Training, result: TrainResult, report: EvaluationReport | None, address: str
) -> dict[str, Any]:
    """What the version's manifest says about how it came about."""
    sections, own = ("data", "corpus", "features", "towers", "training"), own_code(settings)
    return {
        "settings": {name: getattr(settings, name).model_dump(mode="json") for name in sections},
        "data_snapshot": made.dataset.snapshot,
        "split": made.split.name,
        "code_version": code_version(),
        **({"own_code": own} if own else {}),
        "seed": settings.training.seed,
        "inputs_hash": address,
        "metrics": {} if report is None else dict(report.metrics),
        "validation": dict(result.metrics),
        "training": {
            "epochs": result.epochs,
            "best_epoch": result.best_epoch,
            "steps": result.steps,
            "examples": result.examples,
            "seconds": round(result.seconds, 1),
            "device": result.device,
            "precision": result.precision,
            "unknown_scale": round(float(result.pair.item.unknown_scale), 4),
            "temperature": float(result.pair.log_temperature.detach().exp()),
        },
    }
