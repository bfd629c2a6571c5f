"""Where a stored version comes from: its manifest's facts, and the temperature that it was trained to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from retrieval.errors import ConfigError, DataError
from retrieval.storage import ArtifactStore, read_manifest
from retrieval.storage.keys import version_key
from retrieval.towers.artifact import VERSION_KIND
from retrieval.training.journal import METRICS, read_journal
from retrieval.training.losses import LOSSES, SOFTMAX
from retrieval.types import ModelVersion


@dataclass(frozen=True)
class Provenance:
    """What a version's manifest and journal say; what they don't say is None or missing."""

    version: ModelVersion
    created: str
    facts: Mapping[str, Any]
    temperature: float | None
    """T of the epoch whose weights were kept; None where no softmax over items was learned, or nothing is recorded."""

    @property
    def snapshot(self) -> str | None:
        """The data that it was trained on."""
        return self.facts.get("data_snapshot")

    @property
    def split(self) -> str | None:
        """How that data was split."""
        return self.facts.get("split")

    def setting(self, section: str, name: str) -> Any:
        """A setting that it was trained with, None where it isn't recorded."""
        return self.facts.get("settings", {}).get(section, {}).get(name)


def provenance_of(store: ArtifactStore, version: ModelVersion) -> Provenance:
    """Read a version's facts. Raises NotFoundError, ArtifactError."""
    folder = store.open_artifact(version_key(version), kind=VERSION_KIND)
    manifest = read_manifest(folder)
    found = Provenance(version, manifest.created, manifest.facts, None)
    if not LOSSES.has(found.setting("training", "loss"), SOFTMAX):
        return found
    trained = manifest.facts.get("training", {})
    if "temperature" in trained:
        return Provenance(version, manifest.created, manifest.facts, trained["temperature"])
    best = trained.get("best_epoch")
    rows = [row for row in read_journal(folder / METRICS) if row.get("kind") == "train" and row.get("epoch") == best]
    return Provenance(version, manifest.created, manifest.facts, rows[-1].get("temperature") if rows else None)


def check_different(version: ModelVersion, against: ModelVersion) -> None:
    """Raises ConfigError where a version would be compared with itself."""
    if version == against:
        raise ConfigError(f"--against {against}: that is the version that is measured; name another one")


def check_same_data(ours: Provenance, theirs: Provenance) -> None:
    """Raises DataError where two versions were not trained on the same data, split alike: figures would mislead."""
    for what, own, other in (
        ("data snapshot", ours.snapshot, theirs.snapshot),
        ("split", ours.split, theirs.split),
    ):
        if own != other:
            raise DataError(
                f"--against {theirs.version}: trained on {what} {other or '(not recorded)'}, {ours.version} on "
                f"{own or '(not recorded)'}; one may have seen more, or even the targets. Add --other-data to compare "
                "them all the same"
            )
