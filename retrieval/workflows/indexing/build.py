"""Building the index of a model version: data, item tower, shards, registry."""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from retrieval.arrays import Vectors
from retrieval.data import Dataset, make_split, open_dataset
from retrieval.data.config import parse_moment
from retrieval.data.corpus import CorpusConfig, end_of_log, open_corpus
from retrieval.errors import ArtifactError, ConfigError, GateError, NotFoundError
from retrieval.features import Features
from retrieval.index.build import BuildReport, build_index
from retrieval.index.config import IndexConfig
from retrieval.index.contents import Contents, build_inputs_hash, make_contents
from retrieval.index.encode import ItemEncoder
from retrieval.index.files import ITEM_ID
from retrieval.index.metadata import ExpectedShard
from retrieval.index.query import NEW_ITEM
from retrieval.index.verify import verify_build
from retrieval.registry import BuildRow, Registry, VersionRow
from retrieval.storage import ArtifactStore, read_manifest
from retrieval.storage.keys import build_key
from retrieval.towers.runtime import UserTower, load_user_tower
from retrieval.types import ModelVersion
from retrieval.workflows.evaluation.evaluate import user_vectors, with_item_ids
from retrieval.workflows.workspace import Workspace

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class IndexOutcome:
    """The build that stands for what was asked; `report` is None where a build of the same inputs was found."""

    build: BuildRow
    report: BuildReport | None


def build_version_index(
    workspace: Workspace,
    version: ModelVersion | None = None,
    *,
    shards: int | None = None,
    device: str = "auto",
    show: bool = True,
) -> IndexOutcome:
    """Encode the corpus with `version`'s item tower (None: the newest ready one), build its shards, register it.

    The same inputs again give the build that is there; an interrupted one is taken up where it stopped. Raises
    GateError where recall is too low (then nothing is published), NotFoundError, ConflictError, DataError.
    """
    from retrieval.towers.loading import load_item_tower

    with closing(workspace.registry()) as registry:
        row = _ready_version(registry, workspace.model, version)
        store = workspace.store()
        config = _config(workspace.settings.index, shards)
        tower = load_item_tower(store, row.id, device=device)
        if tower.space_id != row.space_id:
            raise ArtifactError(f"{row.id}: its item tower is of space {tower.space_id}, registered is {row.space_id}")
        dataset = open_dataset(workspace.settings.data, workspace.root, show=show)
        contents = index_contents(dataset, tower.features, config, workspace.settings.corpus)
        address = build_inputs_hash(tower, contents, config)
        found = registry.find_build_by_inputs(row.model, address)
        if found is not None and store.exists(found.key):
            return IndexOutcome(found, None)
        reserved = registry.find_build_by_inputs(row.model, address, state="building")
        if reserved is None:
            reserved = registry.reserve_build(row.id, inputs_hash=address)
        elif store.exists(build_key(reserved.id)):  # published, but stopped before it was registered
            return IndexOutcome(registry.add_build(_published(store, reserved, tower)), None)
        queries = _queries(workspace, dataset, load_user_tower(store, row.id), config)
        try:
            report = build_index(store, tower, contents, reserved.id, config, queries=queries, show=show)
        except GateError as error:
            registry.set_build_state(reserved.id, "failed", reason=str(error))
            raise
        return IndexOutcome(registry.add_build(_published(store, reserved, tower)), report)


def _published(store: ArtifactStore, reserved: BuildRow, tower: ItemEncoder) -> BuildRow:
    """The registry's row of a build that is in the store. Raises ArtifactError where it is damaged or another."""
    folder = store.locate(build_key(reserved.id))
    wanted = ExpectedShard(model=reserved.model, version=reserved.version, build=reserved.number)
    shards = verify_build(folder, replace(wanted, space_id=tower.space_id))
    manifest = read_manifest(folder)
    return replace(
        reserved,
        space_id=tower.space_id,
        key=build_key(reserved.id),
        shards=len(shards),
        items=sum(m.count for m in shards),
        recall=min(m.recall for m in shards),
        digest=manifest.digest,
        at_us=manifest.facts["at_us"],
    )


def _ready_version(registry: Registry, model: str, version: ModelVersion | None) -> VersionRow:
    if version is not None:
        return registry.get_version(version)
    ready = registry.list_versions(model, states=["ready"])
    if not ready:
        raise NotFoundError(f"{model}: no version is ready to be indexed; make one with `retrieval train`")
    return ready[-1]


def _config(config: IndexConfig, shards: int | None) -> IndexConfig:
    if shards is None:
        return config
    if not 1 <= shards <= 4096:
        raise ConfigError(f"--shards {shards}: expected 1 … 4096")
    return config.model_copy(update={"shards": shards})


# -- what is indexed, and whom it is measured with


def index_contents(dataset: Dataset, features: Features, config: IndexConfig, corpus: CorpusConfig) -> Contents:
    """What an index holds as of index.as_of, or after the last event. Raises ConfigError and DataError."""
    from retrieval.towers.offline import catalog_at, known_items

    histories = dataset.histories
    at_us = parse_moment(config.as_of) if config.as_of else end_of_log(histories)
    items = catalog_at(with_item_ids(dataset), histories, features, at_us)
    items = items.filter(pa.array(open_corpus(corpus, dataset).items_at(at_us)))
    known = np.ones(items.num_rows, np.bool_) if corpus.unknown_items else known_items(features, items, at_us)
    left_out = int((~known).sum())
    if left_out:
        _log.info(
            "%s of %s items are left out, of which the model version knows nothing; corpus.unknown_items asks for them",
            f"{left_out:,}",
            f"{len(known):,}",
        )
    # the id under its own name, and what is known of an item's events: nobody filters on them
    hidden = [*dataset.items.column_names[:1], *(set(items.column_names) - set(dataset.items.column_names) - {ITEM_ID})]
    items = items.filter(pa.array(known))
    contents = make_contents(
        items,
        config,
        snapshot=dataset.snapshot,
        at_us=at_us,
        hidden=hidden,
        left_out=left_out,
        declared=corpus.of_index(),
    )
    return _with_new(contents, features)


def _with_new(contents: Contents, features: Features) -> Contents:
    """The same with the attribute that says which items are new to the model version."""
    new = features.id_codes(contents.items[ITEM_ID]) < features.item_vocabulary.first
    columns = {name: contents.attributes[name] for name in contents.attributes.column_names}
    return replace(contents, attributes=pa.table({**columns, NEW_ITEM: new}))


def _queries(workspace: Workspace, dataset: Dataset, tower: UserTower, config: IndexConfig) -> Vectors | None:
    """Embeddings of users as they were when they met their test (or validation) events; None without any.

    [Q, D], of E interests [Q, E, D].
    """
    split = make_split(workspace.settings.data, dataset.histories)
    targets = split.test if len(split.test) else split.valid
    if not len(targets):
        return None
    chosen = np.random.default_rng(config.seed).choice(len(targets), min(len(targets), config.recall_queries), False)
    return user_vectors(dataset, tower, targets[np.sort(chosen)])
