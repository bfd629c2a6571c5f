"""Evaluation of a stored model version: the towers as they are served, against the full corpus."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from retrieval.data import Dataset, Split, make_split, open_dataset
from retrieval.errors import NotFoundError
from retrieval.evaluation import EvaluationConfig, EvaluationReport, candidate_items, evaluate_vectors
from retrieval.evaluation.evaluate import ItemVectors
from retrieval.evaluation.popularity import last_training_time
from retrieval.features import ITEM_ID
from retrieval.pipeline.user_inputs import inputs_at
from retrieval.pipeline.workspace import Workspace
from retrieval.towers.runtime import UserTower, load_user_tower
from retrieval.types import ModelVersion

Targets = Literal["test", "valid"]
Vectors = npt.NDArray[np.float32]

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
    settings = workspace.settings
    dataset = open_dataset(settings.data, workspace.root, show=show)
    split = make_split(settings.data, dataset.histories)
    wanted = tuple(dict.fromkeys((*settings.evaluation.slices, *slices)))
    config = settings.evaluation.model_copy(update={"slices": wanted})
    store = workspace.store()
    tower = load_user_tower(store, version, threads=os.cpu_count() or 1)
    items = item_vectors(workspace, version, dataset, split)
    return evaluate_towers(dataset, split, tower, items, config, targets=targets, show=show)


def evaluate_towers(
    dataset: Dataset,
    split: Split,
    tower: UserTower,
    items: ItemVectors,
    config: EvaluationConfig,
    *,
    targets: Targets = "test",
    show: bool = True,
) -> EvaluationReport:
    """Measure a served user tower against item vectors float32 [N, D] (or such as of any moment) of the same space."""
    rows = split.test if targets == "test" else split.valid
    return evaluate_vectors(
        dataset.histories,
        rows,
        lambda chosen: user_vectors(dataset, tower, chosen),
        items,
        candidates=candidate_items(dataset.histories, config),
        train_end=split.train_end,
        config=config,
        users=dataset.users,
        items=dataset.items,
        name=str(tower.version),
        split=f"{split.name} {targets}",
        show=show,
    )


def user_vectors(dataset: Dataset, tower: UserTower, rows: npt.NDArray[np.int64]) -> Vectors:
    """Embeddings float32 [n, D] of the users of some event rows, each as of its event."""
    vectors = np.empty((len(rows), tower.dim), np.float32)
    histories = dataset.histories
    # histories of about one length together, so that little is padding
    order = np.argsort(rows - histories.offsets[histories.users_of(rows)], kind="stable")
    for start in range(0, len(order), _USERS_AT_ONCE):
        chosen = order[start : start + _USERS_AT_ONCE]
        vectors[chosen] = tower.embed(inputs_at(dataset, tower.features, rows[chosen]))
    return vectors


def item_vectors(workspace: Workspace, version: ModelVersion, dataset: Dataset, split: Split) -> ItemVectors:
    """The item tower's vectors of the whole catalog, float32 [N, D], as seen at the end of training.

    Where `evaluation.reindex_minutes` has the index rebuilt, a function from a moment in µs to those seen then.
    """
    from retrieval.towers.loading import load_item_tower
    from retrieval.towers.offline import catalog_at

    tower = load_item_tower(workspace.store(), version, device=workspace.settings.training.device)
    table = with_item_ids(dataset)

    def seen_at(at_us: int) -> Vectors:
        return tower.encode(catalog_at(table, dataset.histories, tower.features, at_us), at_us)

    if workspace.settings.evaluation.reindex_minutes:
        return seen_at
    return seen_at(last_training_time(dataset.histories, split.train_end))


def with_item_ids(dataset: Dataset) -> pa.Table:
    """The items table with its ids as text in the column `item_id`, as item towers read them."""
    table = dataset.items
    if ITEM_ID in table.column_names:
        table = table.drop_columns([ITEM_ID])
    return table.append_column(ITEM_ID, dataset.histories.item_ids)


def newest_version(workspace: Workspace) -> ModelVersion:
    """The newest version of the workspace's model that is ready. Raises NotFoundError where there is none."""
    rows = workspace.registry().list_versions(workspace.model, states=("ready",))
    if not rows:
        raise NotFoundError(f"{workspace.model} has no version yet; make one with `retrieval train`")
    return max(rows, key=lambda row: row.version).id
