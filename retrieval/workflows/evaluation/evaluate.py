"""Evaluation of a stored model version: the towers as they are served, against the full corpus."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from retrieval.arrays import Vectors
from retrieval.data import Dataset, Split, make_split, open_dataset
from retrieval.data.corpus import Corpus, end_of_log, measured_corpus
from retrieval.data.splits import through_validation
from retrieval.errors import NotFoundError
from retrieval.evaluation import EvaluationConfig, EvaluationReport, evaluate_vectors
from retrieval.evaluation.evaluate import ItemVectors
from retrieval.evaluation.ranking import Observer
from retrieval.features import ITEM_ID
from retrieval.storage import read_manifest
from retrieval.storage.keys import version_key
from retrieval.towers.artifact import VERSION_KIND
from retrieval.towers.runtime import UserTower, load_user_tower
from retrieval.types import ModelVersion
from retrieval.workflows.evaluation.served_corpus import served_otherwise
from retrieval.workflows.evaluation.user_inputs import inputs_at
from retrieval.workflows.workspace import Workspace

Targets = Literal["test", "valid"]

_USERS_AT_ONCE = 64


def evaluate_version(
    workspace: Workspace,
    version: ModelVersion | None = None,
    *,
    targets: Targets = "test",
    slices: Sequence[str] = (),
    show: bool = True,
) -> EvaluationReport:
    """Measure a version (the newest where none is given) on the workspace's data, as it would be served.

    `slices` are columns to show beside those in the settings. Raises NotFoundError, ArtifactError, DataError and
    ConfigError.
    """
    version = version or newest_version(workspace)
    setup = EvaluationSetup.open(workspace, targets=targets, slices=slices, show=show).learned_by(version)
    return setup.measure(*setup.towers(version), show=show)


@dataclass(frozen=True)
class EvaluationSetup:
    """What versions are measured on: a workspace's data, split, targets and settings."""

    workspace: Workspace
    dataset: Dataset
    split: Split
    """Training ends as data.split says; after `learned_by` where that of a version's towers ended."""
    config: EvaluationConfig
    corpus: Corpus
    targets: Targets
    differs: str = ""
    """In what the corpus differs from the one that is served."""

    @classmethod
    def open(
        cls, workspace: Workspace, *, targets: Targets = "test", slices: Sequence[str] = (), show: bool = True
    ) -> EvaluationSetup:
        """The workspace's; `slices` are columns beside those in the settings. Raises DataError and ConfigError."""
        settings = workspace.settings
        dataset = open_dataset(settings.data, workspace.root, show=show)
        split = make_split(settings.data, dataset.histories)
        wanted = tuple(dict.fromkeys((*settings.evaluation.slices, *slices)))
        config = settings.evaluation.model_copy(update={"slices": wanted})
        corpus = measured_corpus(settings.corpus, dataset, split, targets)
        return cls(workspace, dataset, split, config, corpus, targets, served_otherwise(workspace))

    def learned_by(self, version: ModelVersion) -> EvaluationSetup:
        """The same with training ending where that of a version's towers did, so that baselines learn from the same.

        Raises NotFoundError, ArtifactError.
        """
        manifest = read_manifest(self.workspace.store().open_artifact(version_key(version), kind=VERSION_KIND))
        refit = bool(manifest.facts.get("training", {}).get("refit", False))
        return replace(self, split=as_learned(self.split, self.dataset, self.targets, refit=refit))

    def towers(self, version: ModelVersion) -> tuple[UserTower, ItemVectors]:
        """A version's served user tower, and its vectors of all items. Raises NotFoundError, ArtifactError."""
        tower = load_user_tower(self.workspace.store(), version, threads=os.cpu_count() or 1)
        return tower, item_vectors(self.workspace, version, self.dataset)

    def measure(
        self, tower: UserTower, items: ItemVectors, *, show: bool = True, observe: Observer | None = None
    ) -> EvaluationReport:
        """Measure one version; `observe` is shown its scores."""
        report = evaluate_towers(
            self.dataset,
            self.split,
            tower,
            items,
            self.config,
            corpus=self.corpus,
            targets=self.targets,
            show=show,
            observe=observe,
        )
        return replace(report, differs=self.differs)

    def model_only(self) -> EvaluationSetup:
        """The same without baselines and slices, for a version that is measured beside another."""
        return replace(self, config=self.config.model_copy(update={"baselines": (), "slices": ()}))


def as_learned(split: Split, dataset: Dataset, targets: Targets, *, refit: bool) -> Split:
    """The split with training ending where that of the towers does, so that baselines learn from the same events.

    After a refit (training.refit) that is at the test targets; of validation targets nothing counts as learned.
    """
    if not refit or targets != "test":
        return split
    return replace(split, train_end=through_validation(split, dataset.histories).train_end)


def evaluate_towers(
    dataset: Dataset,
    split: Split,
    tower: UserTower,
    items: ItemVectors,
    config: EvaluationConfig,
    *,
    corpus: Corpus,
    targets: Targets = "test",
    show: bool = True,
    observe: Observer | None = None,
) -> EvaluationReport:
    """Measure a served user tower against item vectors float32 [N, D] (or such as of any moment) of the same space."""
    rows = split.test if targets == "test" else split.valid
    return evaluate_vectors(
        dataset.histories,
        rows,
        lambda chosen: user_vectors(dataset, tower, chosen),
        items,
        corpus=corpus,
        train_end=split.train_end,
        config=config,
        users=dataset.users,
        items=dataset.items,
        name=str(tower.version),
        split=f"{split.name} {targets}",
        show=show,
        observe=observe,
    )


def user_vectors(dataset: Dataset, tower: UserTower, rows: npt.NDArray[np.int64]) -> Vectors:
    """Embeddings float32 [n, D] of the users of some event rows, each as of its event; of E interests [n, E, D]."""
    vectors = np.empty((len(rows), *tower.shape), np.float32)
    histories = dataset.histories
    # histories of about one length together, so that little is padding
    order = np.argsort(rows - histories.first_rows_of(rows), kind="stable")
    for start in range(0, len(order), _USERS_AT_ONCE):
        chosen = order[start : start + _USERS_AT_ONCE]
        vectors[chosen] = tower.embed(inputs_at(dataset, tower.features, rows[chosen]))
    return vectors


def item_vectors(workspace: Workspace, version: ModelVersion, dataset: Dataset) -> ItemVectors:
    """The item tower's vectors of the whole catalog, float32 [N, D].

    Where item features vary with time, a function from a moment in µs to those seen then.
    """
    from retrieval.towers.loading import load_item_tower
    from retrieval.towers.offline import catalog_at

    tower = load_item_tower(workspace.store(), version, device=workspace.settings.training.device)
    table = with_item_ids(dataset)

    def seen_at(at_us: int) -> Vectors:
        return tower.encode(catalog_at(table, dataset.histories, tower.features, at_us), at_us)

    if any(feature.time_varying for feature in tower.features.spec.item):
        return seen_at
    return seen_at(end_of_log(dataset.histories))


def with_item_ids(dataset: Dataset) -> pa.Table:
    """The items table with its ids as text in the column `item_id`, as item towers read them."""
    table = dataset.items
    if ITEM_ID in table.column_names:
        table = table.drop_columns([ITEM_ID])
    return table.append_column(ITEM_ID, dataset.histories.item_ids)


def newest_version(workspace: Workspace) -> ModelVersion:
    """The newest version of the workspace's model that is ready. Raises NotFoundError where there is none."""
    with closing(workspace.registry()) as registry:
        rows = registry.list_versions(workspace.model, states=("ready",))
    if not rows:
        raise NotFoundError(f"{workspace.model} has no version yet; make one with `retrieval train`")
    return max(rows, key=lambda row: row.version).id
