"""Step `publish`: the user tower loads and answers, and every candidate service that is up holds it.

Before any host serves the new build: a host that switches must find its user tower wherever requests are answered.
"""

from __future__ import annotations

import time

import numpy as np

from retrieval.errors import ArtifactError, UnavailableError
from retrieval.storage.keys import half_key
from retrieval.towers.artifact import USER_KIND
from retrieval.towers.runtime import load_user_tower
from retrieval.towers.user_input import UserInput
from retrieval.types import ModelVersion
from retrieval.workflows.retrain.step import Made, Outputs, Step, Surroundings, Values

_POLL_S = 0.25


def _inputs(_: Surroundings, outputs: Outputs) -> Values:
    trained = outputs["train"]
    return {"key": trained["key"], "digest": trained["digest"], "space_id": trained["space_id"]}


def _run(around: Surroundings, outputs: Outputs) -> Made:
    version = ModelVersion(around.workspace.model, int(outputs["train"]["version"]))
    tower = load_user_tower(around.store, version)
    vectors = tower.embed([UserInput(at=around.as_of_us)])
    if not np.isfinite(vectors).all():
        raise ArtifactError(f"{version}: its user tower answers an unknown user with {vectors}")
    holding = _wait_until_held(around, version)
    around.say(
        f"publish: the user tower of {version} answers; held by {', '.join(holding) or 'no service, none is up'}"
    )
    return Made(output={"tower": half_key(str(outputs["train"]["key"]), USER_KIND), "held_by": holding})


def _wait_until_held(around: Surroundings, version: ModelVersion) -> list[str]:
    """Ids of the candidate services that are up. Raises UnavailableError where one hasn't loaded the tower in time."""
    settings = around.workspace.settings
    until = time.monotonic() + settings.rollout.host_wait_s
    while True:
        rows = around.registry.hosts(version.model, role="candidates", alive_within_s=settings.registry.alive_s)
        without = [row.host_id for row in rows if version.version not in row.towers and row.state != "stopping"]
        if not without:
            return [row.host_id for row in rows]
        if time.monotonic() >= until:
            raise UnavailableError(
                f"{', '.join(without)} did not load the user tower of {version} within {settings.rollout.host_wait_s:g}"
                " s (rollout.host_wait_s); see its log. Nothing was rolled out"
            )
        time.sleep(_POLL_S)


STEP = Step(
    name="publish",
    about="The user tower loads and answers, and every candidate service that is up holds it",
    after=("train", "check_serving"),
    settings=("serving.towers_kept",),
    code=("towers",),
    inputs=_inputs,
    run=_run,
)
