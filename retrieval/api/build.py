"""An index build as Python callers have it."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from retrieval.registry import BuildRow
    from retrieval.workflows.workspace import Workspace as Opened


class Build:
    """An index build: the corpus encoded by one model version, in shards that carry that version."""

    def __init__(self, opened: Opened, row: BuildRow) -> None:
        self._opened, self._row = opened, row

    def __repr__(self) -> str:
        recall = "" if self.recall is None else f", recall {self.recall:.4f}"
        return f"<Build {self.name} of {self.version}: {self.items:,} items in {self.shards} shards{recall}>"

    @property
    def name(self) -> str:
        """As commands take it: `shop-b3`."""
        return str(self._row.id)

    @property
    def number(self) -> int:
        """Its number among the model's builds, from 1."""
        return self._row.number

    @property
    def version(self) -> str:
        """The model version whose item tower made it: `shop@2`."""
        return str(self._row.model_version)

    @property
    def space_id(self) -> str:
        """The embedding space of its vectors."""
        return self._row.space_id

    @property
    def items(self) -> int:
        """How many items can be retrieved from it."""
        return self._row.items

    @property
    def shards(self) -> int:
        """How many shards it has."""
        return self._row.shards

    @property
    def recall(self) -> float | None:
        """Measured when it was built: the share of exact answers that its search finds, in the worst shard."""
        return self._row.recall

    @property
    def created_at(self) -> datetime:
        """When it was registered, UTC."""
        return self._row.created_at

    def vectors(self) -> pa.Table:
        """Every item's embedding: `item_id` text, `vector` float32 [D], a row an item.

        Raises NotFoundError where the build's files are gone, ArtifactError where they are damaged.
        """
        from retrieval.workflows.indexing.vectors import build_vectors

        return build_vectors(self._opened.store(), self._row)

    def verify(self, *, show: bool = True) -> None:
        """Check every file, structure, canary answer and golden item again. Raises ArtifactError that names a fault."""
        from retrieval.workflows.indexing.verify import verify_version_index

        verify_version_index(self._opened, self._row.id, show=show)

    def deploy(self) -> None:
        """Make it the build that the model's hosts serve: those that run are rolled over, those to come begin with it.

        Raises UnavailableError, GateError or ConflictError where it can't be; all then stay as they were.
        """
        from retrieval.workflows.fleet.deployment import deploy_build

        opened, model = self._opened, self._row.model
        with closing(opened.registry()) as registry:
            alive = registry.hosts(model, role="ann", alive_within_s=opened.settings.registry.alive_s)
        deploy_build(opened, self._row.id, without_hosts=not alive)
