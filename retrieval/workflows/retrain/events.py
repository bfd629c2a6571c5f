"""Step `events`: which files of the log are read, and the hash of what they hold."""

from __future__ import annotations

from retrieval.data.reading.snapshot import input_files, snapshot_of
from retrieval.data.reading.until import event_files
from retrieval.observability import track
from retrieval.workflows.retrain.step import Made, Outputs, Step, Surroundings, Values


def _inputs(around: Surroundings, _: Outputs) -> Values:
    data = around.workspace.settings.data
    files = input_files(data, around.workspace.root)
    found = {name: [path.stat().st_size, path.stat().st_mtime_ns] for name, path in files}
    cut = event_files(data, around.workspace.root).cut
    return {"files": found, "until": data.until if cut else ""}


def _run(around: Surroundings, _: Outputs) -> Made:
    data, root = around.workspace.settings.data, around.workspace.root
    sizes = [path.stat().st_size for _, path in input_files(data, root)]
    with track("Hashing the inputs", sum(sizes), unit="bytes", show=around.show) as tracker:
        snapshot = snapshot_of(data, root, tracker=tracker)
    around.say(f"events: {len(sizes)} files, snapshot {snapshot[:12]}")
    return Made(output={"snapshot": snapshot, "files": len(sizes), "bytes": sum(sizes)})


STEP = Step(
    name="events",
    about="Which files of the log lie before the moment, and the hash of what they hold",
    settings=("data",),
    code=("data/reading",),
    inputs=_inputs,
    run=_run,
)
