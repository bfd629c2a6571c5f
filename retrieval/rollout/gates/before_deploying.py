"""What must hold before any build is brought to the hosts, whoever asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from retrieval.data.corpus.words import differences
from retrieval.errors import ArtifactError, ConflictError, GateError, NotFoundError, RetrievalError
from retrieval.index.artifact import BUILD_KIND
from retrieval.registry import BuildRow, HostRow, Registry
from retrieval.storage import ArtifactStore
from retrieval.storage.keys import half_key
from retrieval.types import BuildId

USER_TOWER_KIND = "user_tower"


def check_deployable(registry: Registry, store: ArtifactStore, build: BuildId) -> BuildRow:
    """The build's row, if it and its version are ready and their artifacts are those that were recorded.

    Only manifests are read here; every host verifies the files it loads. Raises NotFoundError, ConflictError,
    ArtifactError, and GateError for what a gate of the retraining chain refused.
    """
    row = registry.get_build(build)
    if row.state != "ready":
        raise ConflictError(f"{build} is {row.state}; only a ready build can be served")
    version = registry.get_version(row.model_version)
    if version.state != "ready":
        raise ConflictError(f"{build} needs the user tower of {version.id}, which is {version.state}")
    check_not_refused(registry, row)
    manifest = store.manifest(row.key, kind=BUILD_KIND, digest=row.digest or None)
    recorded = {"model": row.model, "version": row.version, "space_id": row.space_id, "shards": row.shards}
    wrong = {name: manifest.facts.get(name) for name, value in recorded.items() if manifest.facts.get(name) != value}
    if wrong:
        raise ArtifactError(f"{row.key}: its manifest says {wrong}, the registry {recorded}")
    try:
        store.manifest(half_key(version.key, USER_TOWER_KIND), kind=USER_TOWER_KIND)
    except NotFoundError as error:
        raise NotFoundError(f"{build} needs the user tower of {version.id}, which is gone: {error}") from error
    return row


def check_not_refused(registry: Registry, build: BuildRow) -> None:
    """Raise GateError where gates refused the build, or its version, and nobody passed over that."""
    refused = registry.retraining.refusals(build.model_version, build.id)
    if refused:
        said = "; ".join(f"{row.gate}: {row.sentence}" for row in refused)
        raise GateError(
            f"{build.id} of {build.model_version} was refused and is not deployed. {said} "
            '(`retrieval retrain run --force "REASON"` passes over it)'
        )


def check_corpus(store: ArtifactStore, build: BuildRow, declared: Mapping[str, Any]) -> None:
    """The build must hold the corpus that the settings declare, which is what is measured. Raises GateError."""
    held = store.manifest(build.key, kind=BUILD_KIND, digest=build.digest or None).facts.get("corpus", {})
    other = differences(declared, held)
    if other:
        raise GateError(
            f"{build.id} holds another corpus than [corpus] declares: {other}; build the index again, or declare what "
            "it holds"
        )


def check_hosts(build: BuildRow, hosts: Sequence[HostRow]) -> None:
    """Every shard of the build needs a host that is up, and every host a shard of the build. Raises GateError."""
    held = {host.shard for host in hosts if host.shard is not None}
    missing = sorted(set(range(build.shards)) - held)
    if missing:
        up = ", ".join(f"{host.host_id} (shard {host.shard})" for host in hosts) or "none"
        raise GateError(
            f"{build.id} has {build.shards} shards, but no host is up for shard {', '.join(map(str, missing))} "
            f"(from 0); hosts that are up: {up}"
        )
    too_many = [host.host_id for host in hosts if host.shard is not None and host.shard >= build.shards]
    if too_many:
        raise GateError(
            f"{build.id} has {build.shards} shards, nothing for {', '.join(too_many)}: stop these hosts "
            f"(`retrieval list hosts`), or index with more shards"
        )


def possible_builds(registry: Registry, store: ArtifactStore, model: str) -> list[BuildId]:
    """Builds that pass `check_deployable`, oldest first."""
    found = []
    for row in registry.list_builds(model, states=["ready"]):
        try:
            found.append(check_deployable(registry, store, row.id).id)
        except RetrievalError:
            continue
    return found
