"""A model version as Python callers have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from retrieval.evaluation import EvaluationReport
    from retrieval.registry import VersionRow
    from retrieval.workflows.workspace import Workspace as Opened


class Version:
    """A model version: two towers of one embedding space, trained, measured, exported and registered together."""

    def __init__(self, opened: Opened, row: VersionRow, evaluation: EvaluationReport | None = None) -> None:
        self._opened, self._row = opened, row
        self.evaluation = evaluation
        """Test metrics beside those of baselines, where this comes from a training; `evaluate` measures anew."""

    def __repr__(self) -> str:
        shown = ", ".join(f"{name} {value:.4f}" for name, value in list(self.metrics.items())[:2])
        return f"<Version {self.name}{': ' if shown else ''}{shown}>"

    @property
    def name(self) -> str:
        """As commands take it: `shop@2`."""
        return str(self._row.id)

    @property
    def number(self) -> int:
        """Its number among the model's versions, from 1."""
        return self._row.version

    @property
    def space_id(self) -> str:
        """The embedding space of both towers: a SHA-256 (hex) over their weights and the features."""
        return self._row.space_id

    @property
    def created_at(self) -> datetime:
        """When it was registered, UTC."""
        return self._row.created_at

    @property
    def metrics(self) -> Mapping[str, float]:
        """Test metrics on the full corpus by name (hr@10, ndcg@10, mrr …), as they were when it was trained."""
        return self._row.metrics

    @property
    def curves(self) -> pa.Table:
        """How training went: a row for each stretch of it (kind "train": step, epoch, loss …) and for each validation
        (kind "validation": its metrics), null where a row has no such figure.

        Raises NotFoundError where the version's files are gone.
        """
        import pyarrow as pa

        from retrieval.training.journal import METRICS, read_journal

        notes = read_journal(self._opened.store().locate(self._row.key) / METRICS)
        rows = [{**note, **note.get("metrics", {})} for note in notes]
        names = dict.fromkeys(name for row in rows for name in row if name != "metrics")
        return pa.table({name: [row.get(name) for row in rows] for name in names})

    def evaluate(self, *, slices: Sequence[str] = (), show: bool = True) -> EvaluationReport:
        """Measure it on the workspace's test targets as it would be served, the baselines beside it.

        `slices` are columns (`user.country`) to show beside those in the settings. Raises DataError, ConfigError,
        ArtifactError.
        """
        from retrieval.workflows.evaluation.evaluate import evaluate_version

        return evaluate_version(self._opened, self._row.id, slices=slices, show=show)

    def report(self, path: str | Path, *, against: Version | str | int | None = None, show: bool = True) -> Path:
        """Write the evaluation as one page (.html or .md): plots, 95 % intervals, a paired comparison with `against`.

        Returns the page's path. Raises ConfigError for another ending, or where `against` was trained on other data.
        """
        from retrieval.evaluation.reports import check_report_path, make_page, write_page
        from retrieval.types import ModelVersion
        from retrieval.workflows.evaluation.report import examine_version

        target = Path(path)
        check_report_path(target)
        name = against.name if isinstance(against, Version) else against
        rival = None if name is None else ModelVersion.parse(str(name), model=self._row.model)
        write_page(make_page(examine_version(self._opened, self._row.id, against=rival, show=show)), target)
        return target
