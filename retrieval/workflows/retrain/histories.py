"""Step `histories`: every user's events in time order, rows checked on the way."""

from __future__ import annotations

from retrieval.data.dataset import histories_folder
from retrieval.errors import ConflictError
from retrieval.workflows.retrain.step import Made, Outputs, Step, Surroundings, Values


def _inputs(_: Surroundings, outputs: Outputs) -> Values:
    return {"snapshot": outputs["events"]["snapshot"]}


def _run(around: Surroundings, outputs: Outputs) -> Made:
    histories = around.workspace.dataset(show=around.show).histories
    expected = outputs["events"]["snapshot"]
    if histories.snapshot != expected:
        raise ConflictError(
            f"the files of events changed while they were read (snapshot {histories.snapshot[:12]}, it was "
            f"{expected[:12]}); run the chain again"
        )
    around.say(
        f"histories: {histories.events:,} events of {histories.users:,} users, {len(histories.item_ids):,} items"
    )
    return Made(
        output={
            "snapshot": histories.snapshot,
            "events": histories.events,
            "rows": histories.rows,
            "rejected": dict(histories.rejected),
            "users": histories.users,
            "items": len(histories.item_ids),
            "first_us": histories.first_us,
            "last_us": histories.last_us,
        }
    )


def _holds(around: Surroundings, output: Values) -> bool:
    return histories_folder(around.workspace.root, str(output["snapshot"])).is_dir()


STEP = Step(
    name="histories",
    about="Every user's events in time order; bad rows go to a file of rejects",
    after=("events", "validate"),
    settings=("data",),
    code=("data/reading", "data/histories"),
    inputs=_inputs,
    run=_run,
    holds=_holds,
)
