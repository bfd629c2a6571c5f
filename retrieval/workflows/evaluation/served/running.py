"""Services that answer: those that run, over gRPC, or their engine in this process. Which build, and what they say."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TypeVar

import grpc

from retrieval.backoff import Backoff
from retrieval.errors import ConflictError, DeadlineError, NotFoundError, UnavailableError
from retrieval.registry import BuildRow
from retrieval.serving.core.candidates import Users
from retrieval.serving.wire.candidate_client import candidate_service, serving_state
from retrieval.serving.wire.status import read_error
from retrieval.types import BuildId, ModelVersion
from retrieval.v1 import build_pb2, candidates_pb2
from retrieval.workflows.fleet.discovery import find_candidate_service
from retrieval.workflows.fleet.services import open_in_process
from retrieval.workflows.workspace import Workspace

Messages = Sequence[candidates_pb2.GetCandidatesRequest]
Ask = Callable[[Messages], list[list[str]]]
"""Item ids of the answers to some requests, in their order."""

FoundT = TypeVar("FoundT")

_log = logging.getLogger(__name__)
_TIMEOUT_S = 60.0
_TRIES = 5
_MEASURED = 4
_LATER = (
    "ask again when the roll-out or refresh is over; where refreshes follow each other sooner than the targets are "
    "asked for, ask for fewer (evaluation.served_targets) or refresh less often"
)
_WAITS = Backoff(first_s=0.5, longest_s=4.0)


class BuildChangedError(ConflictError):
    """A roll-out or a refresh came between: not all that answers is of one build."""


@dataclass(frozen=True)
class Served:
    """The build that answers, and the candidate service's address; None where it is to be opened in this process."""

    build: BuildRow
    address: str | None


def find_served(
    workspace: Workspace,
    *,
    address: str | None = None,
    build: BuildId | None = None,
    version: ModelVersion | None = None,
) -> Served:
    """What the service at `address` serves, or the workspace's own where one runs; else what this process can serve.

    That is `build`, the deployed one where none is named, or the newest (of `version`). A service whose builds are not
    this workspace's is not its own. Raises NotFoundError, UnavailableError, BuildChangedError (several builds are
    served, or the service has not heard yet of `version`, which is deployed), ConflictError: not that `version`.
    """
    found = _found(workspace, address, build, version)
    if version is not None and found.build.model_version != version:
        where = found.address or "this workspace"
        if found.address is not None and _is_deployed(workspace, version):
            raise BuildChangedError(f"{where} has not heard of {version} yet, which is deployed; {_LATER}")
        raise ConflictError(f"{where} serves {found.build.model_version} ({found.build.id}), not {version}; deploy it")
    return found


def _found(workspace: Workspace, address: str | None, build: BuildId | None, version: ModelVersion | None) -> Served:
    if build is None:
        where = address or find_candidate_service(workspace)
        state = serving_state(where)
        if state is not None and (address is not None or state.model == workspace.model):
            row = _of_this_workspace(workspace, build_in_use(state))
            if row is not None:
                return Served(row, where)
        if address is not None:
            found = "no candidate service answers" if state is None else "the builds of another workspace are served"
            raise UnavailableError(f"{found} at {address}")
    return Served(_here(workspace, build, version), None)


def _is_deployed(workspace: Workspace, version: ModelVersion) -> bool:
    """Whether the deployed build is of `version`: a service hears of it from its hosts, a moment after they changed."""
    with closing(workspace.registry()) as registry:
        active = registry.active_build(workspace.model)
    return active is not None and active.model_version == version


def _of_this_workspace(workspace: Workspace, served: build_pb2.BuildInfo) -> BuildRow | None:
    """The registry's row of a build that is served; None where that is another workspace's of the same name."""
    with closing(workspace.registry()) as registry:
        try:
            row = registry.get_build(BuildId(served.model, served.build))
        except NotFoundError:
            return None
    return row if (row.version, row.space_id) == (served.version, served.space_id) else None


def _here(workspace: Workspace, build: BuildId | None, version: ModelVersion | None) -> BuildRow:
    """What this process can serve: the build that is named, else the one deployed or the newest (of `version`)."""
    with closing(workspace.registry()) as registry:
        if build is not None:
            return registry.get_build(build)
        active = registry.active_build(workspace.model)
        if active is not None and version in {None, active.model_version}:
            return active
        ready = registry.list_builds(workspace.model, states=("ready",))
    of_version = [row for row in ready if version in {None, row.model_version}]
    if not of_version:
        raise NotFoundError(f"{version or workspace.model} has no build yet; make one with `retrieval index build`")
    return of_version[-1]


def build_in_use(state: candidates_pb2.GetServingStateResponse) -> build_pb2.BuildInfo:
    """The one build that a candidate service's hosts serve, as one of them says.

    Raises UnavailableError where there is none, BuildChangedError where there are several.
    """
    reachable = [host.metadata.active for host in state.hosts if host.reachable]
    found = {active.build: active for each in reachable for active in each if active.model == state.model}
    if not found:
        raise UnavailableError(f"the candidate service of {state.model} has no host that serves a build")
    if len(found) > 1:
        names = ", ".join(str(BuildId(state.model, number)) for number in sorted(found))
        raise BuildChangedError(f"the hosts serve several builds ({names}); {_LATER}")
    (only,) = found.values()
    return only


@contextmanager
def over_grpc(address: str, build: BuildId) -> Iterator[Ask]:
    """The candidate service at `address`, whose answers must all be of `build`.

    Calls raise BuildChangedError where one is not, and what the service refuses with; a service that is away for a
    moment is asked again.
    """
    with candidate_service(address) as stub:

        def ask(messages: Messages) -> list[list[str]]:
            batch = candidates_pb2.BatchGetCandidatesRequest(requests=messages)
            answers = _patiently(lambda: _batch(stub.BatchGetCandidates, batch, address)).answers
            for answer in answers:
                _check_build(answer, build)
            return [list(answer.item_ids) for answer in answers]

        yield ask


@contextmanager
def in_process(workspace: Workspace, build: BuildRow) -> Iterator[tuple[Ask, Users]]:
    """The engine of the candidate service with a host for each shard, without ports, and its users.

    Raises ArtifactError.
    """
    with closing(open_in_process(workspace, build)) as service:

        def ask(messages: Messages) -> list[list[str]]:
            return [list(answer.item_ids) for answer in _patiently(lambda: service.answer(messages, _TIMEOUT_S))]

        yield ask, service.users


def _batch(
    call: Callable[..., candidates_pb2.BatchGetCandidatesResponse],
    batch: candidates_pb2.BatchGetCandidatesRequest,
    address: str,
) -> candidates_pb2.BatchGetCandidatesResponse:
    try:
        return call(batch, timeout=_TIMEOUT_S)
    except grpc.RpcError as error:
        raise read_error(error, f"candidate service at {address}") from error


def of_one_build(measure: Callable[[], FoundT]) -> FoundT:
    """What `measure` finds, which asks services for all it needs: anew where their build changed meanwhile.

    Raises BuildChangedError where it does so each time, as where asking takes longer than a build is served.
    """
    for failures in range(1, _MEASURED):
        try:
            return measure()
        except BuildChangedError as error:
            _log.warning("asking anew: %s", error)
            time.sleep(_WAITS.wait_s(failures))
    return measure()


def _patiently(call: Callable[[], FoundT]) -> FoundT:
    for failures in range(1, _TRIES):
        try:
            return call()
        except (UnavailableError, DeadlineError):
            time.sleep(_WAITS.wait_s(failures))
    return call()


def _check_build(answer: candidates_pb2.GetCandidatesResponse, build: BuildId) -> None:
    made = {BuildId(version.model, number) for version in answer.versions for number in version.builds}
    if made != {build}:
        names = ", ".join(sorted(map(str, made)))
        raise BuildChangedError(f"an answer is of {names}, the others of {build}; {_LATER}")
