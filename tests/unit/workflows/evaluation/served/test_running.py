"""Which build answers: one only, of hosts that can be reached."""

from __future__ import annotations

import pytest

from retrieval.errors import ConflictError, UnavailableError
from retrieval.types import BuildId
from retrieval.v1 import ann_pb2, build_pb2, candidates_pb2
from retrieval.workflows.evaluation.served.running import build_in_use


def state(*builds: int, reachable: bool = True) -> candidates_pb2.GetServingStateResponse:
    hosts = [
        candidates_pb2.KnownHost(
            reachable=reachable,
            metadata=ann_pb2.HostMetadata(
                active=[build_pb2.BuildInfo(model="shop", build=build), build_pb2.BuildInfo(model="other", build=99)]
            ),
        )
        for build in builds
    ]
    return candidates_pb2.GetServingStateResponse(model="shop", hosts=hosts)


def test_the_one_build_of_the_model_is_found() -> None:
    assert build_in_use(state(4, 4)) == BuildId("shop", 4)


def test_a_roll_out_under_way_is_said() -> None:
    with pytest.raises(ConflictError, match=r"shop-b4, shop-b5.*roll-out"):
        build_in_use(state(5, 4))


@pytest.mark.parametrize("nobody", [state(), state(4, reachable=False)])
def test_nobody_who_serves_is_said(nobody: candidates_pb2.GetServingStateResponse) -> None:
    with pytest.raises(UnavailableError, match="no host that serves"):
        build_in_use(nobody)
