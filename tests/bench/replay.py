"""News as they came: events fed in compressed time to a fleet that is refreshed every five minutes while it is asked.

    python -m tests.bench.replay --work /tmp/replay --cut morning --json replay.json
    python -m tests.bench.replay --work /tmp/try --hours 1 --most 1000 --set training.epochs=1  # to try it

Trains on what came before the cut, as `tests.bench.quality` does. A second workspace has no event after the cut: an
index as of the cut is built and served by real processes. Then, five minutes of the log at a time: events are appended,
the index is refreshed as of that moment, and the service is asked for what users clicked in the next five minutes, each
with the history, context and time of the click. Beside it another client asks without pause.

Rows: one a step, with what was encoded and processor seconds of the refresh; then `summary`: HR@10 over gRPC, beside
that of exact search on the same clicks, and how many answers failed.
"""

from __future__ import annotations

import argparse
import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tomlkit

from retrieval.config import FILE_NAME
from retrieval.data import Dataset
from retrieval.data.config import iso_moment
from retrieval.data.importers import ColumnMapping
from retrieval.data.splits import evenly_spaced
from retrieval.registry import VersionRow
from retrieval.types import MINUTE_US
from retrieval.v1 import candidates_pb2 as pb
from retrieval.workflows.data.appending import append_events
from retrieval.workflows.evaluation.evaluate import evaluate_version
from retrieval.workflows.fleet.deployment import deploy_build
from retrieval.workflows.fleet.users import load_changed_users, load_users
from retrieval.workflows.indexing.build import build_version_index
from retrieval.workflows.indexing.refresh import refresh_index
from retrieval.workflows.training.train import train_version
from retrieval.workflows.workspace import Workspace
from retrieval.workflows.workspace.recipes import load_recipe
from retrieval.workflows.workspace.upgrade import upgrade_workspace
from tests.bench.quality.datasets import DATASETS, prepare
from tests.bench.report import Row, bench_main
from tests.serving_fleet import running_fleet
from tests.whole_path import Stub, ask_all, request_before

Rows = npt.NDArray[np.int64]

_DATASET = DATASETS["globo"]
_STEP_MINUTES = 5
_STEP_US = _STEP_MINUTES * MINUTE_US


@dataclass(frozen=True)
class Window:
    """The hours that are replayed."""

    start: datetime
    hours: float

    @property
    def end(self) -> datetime:
        """Itself outside."""
        return self.start + timedelta(hours=self.hours)

    def steps(self) -> Iterator[int]:
        """µs: where each five minutes begin."""
        first = micros(self.start)
        yield from range(first, micros(self.end), _STEP_US)


def micros(moment: datetime) -> int:
    return round(moment.timestamp()) * 1_000_000


@dataclass
class Asking:
    """Asks for candidates of known users without pause; counts answers, and keeps what went wrong."""

    stub: Stub
    users: Sequence[str]
    answers: int = 0
    wrong: list[str] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[None]:
        ended = threading.Event()
        thread = threading.Thread(target=self._run, args=(ended,))
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _run(self, ended: threading.Event) -> None:
        chosen = random.Random(1)
        while not ended.wait(0.02):
            request = pb.GetCandidatesRequest(user_id=chosen.choice(self.users), k=10)
            try:
                found = self.stub.GetCandidates(request, timeout=60)
            except grpc.RpcError as error:
                self.wrong.append(str(error))
                continue
            self.answers += 1
            if len(found.versions) != 1 or found.shards_answered != found.shards_asked or not found.item_ids:
                self.wrong.append(str(found)[:300])


def measure(given: argparse.Namespace) -> Iterator[Row]:
    window = Window(_start(given.cut), given.hours)
    flags = _flags(given, window)
    whole = _whole(given.work / given.cut / "whole", given.data, flags)
    trained = train_version(whole, test=False, show=True).version
    exact = evaluate_version(whole, trained.id, show=False).metrics["hr@10"]
    dataset = whole.dataset(show=False)
    targets = evenly_spaced(whole.split(dataset).test, given.most)
    served = _served(given.work / given.cut / "served", whole, window, trained)
    hits: list[bool] = []
    costs: list[Row] = []
    overrides = [word for flag in served.overrides for word in ("--set", flag)]
    with (
        running_fleet(served.root, *overrides, patience_s=600.0) as fleet,
        grpc.insecure_channel(fleet.address) as channel,
    ):
        stub = Stub(channel)
        asking = Asking(stub, dataset.histories.user_ids.slice(0, 1000).to_pylist())
        with asking.running():
            for number, at_us in enumerate(window.steps()):
                row = {"kind": "step", "at": iso_moment(at_us)} | (_refreshed(served, whole, at_us) if number else {})
                found = _asked(stub, dataset, targets, at_us)
                hits += found
                costs.append(row)
                yield row | {"targets": len(found), "hits": sum(found)}
    refreshes = [row for row in costs if "cpu_s" in row]
    served_rate = float(np.mean(hits))
    yield {
        "kind": "summary",
        "cut": given.cut,
        "HR@10": round(served_rate, 5),
        "HR@10_exact": round(exact, 5),
        "HR@10_difference": round(served_rate - exact, 5),
        "targets": len(hits),
        "refreshes": len(refreshes),
        "cpu_s": round(float(np.mean([row["cpu_s"] for row in refreshes])), 3),
        "append_cpu_s": round(float(np.mean([row["append_cpu_s"] for row in refreshes])), 3),
        "encoded_share": round(float(np.mean([row["moved"] / row["items"] for row in refreshes])), 4),
        "answers": asking.answers + len(hits),
        "failed": len(asking.wrong),
        "failures": asking.wrong[:3],
    }


def _start(cut: str) -> datetime:
    (text,) = [flag for flag in _DATASET.cuts[cut] if flag.startswith("data.split.test_from=")]
    return datetime.fromisoformat(text.partition("=")[2]).replace(tzinfo=UTC)


def _flags(given: argparse.Namespace, window: Window) -> list[str]:
    """Settings of the protocol, for a window that ends when the replay does."""
    flags = [*_DATASET.inputs["time"], *given.set, f"training.threads={given.threads}", *_DATASET.protocol]
    flags += [f"evaluation.max_targets={given.most}", "evaluation.baselines=[]", "evaluation.ks=[10]"]
    flags += [flag for flag in _DATASET.cuts[given.cut] if "test_until" not in flag]
    return [*flags, f"data.split.test_until={window.end:%Y-%m-%dT%H:%M}"]


def _whole(root: Path, source: Path, flags: Sequence[str]) -> Workspace:
    """The workspace with all of the log."""
    prepare(_DATASET, source, root, None)
    workspace = Workspace.open(root, flags, recipe=load_recipe(_DATASET.recipes["time"]).settings)
    upgrade_workspace(workspace)
    return workspace


def _served(root: Path, whole: Workspace, window: Window, version: VersionRow) -> Workspace:
    """A workspace whose log ends at the cut, on the other's store and registry; its build as of then is active."""
    (root / "data" / "events").mkdir(parents=True)
    events = _events(whole, None, micros(window.start))
    pq.write_table(events, root / "data" / "events" / "part-00000.parquet")
    settings = whole.settings.model_dump(mode="json", exclude_none=True)
    # says nothing but whose vectors recall is measured with: there is nothing to test with after the cut
    settings["data"]["split"] = {"method": "time", "valid_hours": 1.0, "test_hours": 1.0}
    settings["store"]["uri"] = whole.store_uri
    settings["registry"]["url"] = f"sqlite:///{whole.root / 'registry.db'}"
    (root / FILE_NAME).write_text(tomlkit.dumps(settings), encoding="utf-8")
    served = Workspace.open(root)
    upgrade_workspace(served)
    as_of = Workspace.open(root, [f"index.as_of={iso_moment(micros(window.start))}"])
    build = build_version_index(as_of, version.id, show=True).build
    deploy_build(served, build.id, without_hosts=True, supersede=True)
    load_users(served, show=False)
    return served


def _events(whole: Workspace, since_us: int | None, until_us: int) -> pa.Table:
    """Imported events of a time."""
    table = pq.read_table(whole.root / whole.settings.data.events)
    times = table["timestamp"].cast(pa.int64())
    chosen = pc.less(times, until_us)
    return table.filter(chosen if since_us is None else pc.and_(chosen, pc.greater_equal(times, since_us)))


def _refreshed(served: Workspace, whole: Workspace, at_us: int) -> Row:
    """Five minutes of events are appended, users and index brought up to now."""
    worked = time.process_time()
    events = _events(whole, at_us - _STEP_US, at_us)
    if events.num_rows:
        mapping = ColumnMapping(context=served.settings.data.context_columns)
        append_events(served, events, mapping=mapping, show=False)
    dataset = served.dataset(show=False)
    users = load_changed_users(served, dataset)
    append_cpu_s = time.process_time() - worked
    found = refresh_index(served, at_us=at_us, dataset=dataset, device="cpu", show=False)
    return {
        "events": events.num_rows,
        "users": users.loaded,
        "items": found.build.items,
        "new": found.new,
        "moved": found.moved,
        "gone": found.gone,
        "append_cpu_s": append_cpu_s,
        "cpu_s": found.cpu_s,
        "seconds": found.total_s,
    }


def _asked(stub: Stub, dataset: Dataset, targets: Rows, at_us: int) -> list[bool]:
    """Whether each click of the next five minutes is among the ten candidates of a request just before it."""
    histories = dataset.histories
    times = histories.timestamps[targets]
    rows = targets[(times >= at_us) & (times < at_us + _STEP_US)]
    answers = ask_all(stub, [request_before(dataset, row) for row in rows.tolist()])
    wanted = histories.item_ids.take(pa.array(histories.items[rows])).to_pylist()
    return [item in answer.item_ids for item, answer in zip(wanted, answers, strict=True)]


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cut", choices=list(_DATASET.cuts), default="morning")
    parser.add_argument("--hours", type=float, default=6.0)
    parser.add_argument("--most", type=int, default=20_000, help="clicks that are asked for, evenly spaced")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the training; repeatable")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, required=True, help="an empty folder for the workspaces")


def main() -> None:
    columns = (
        "kind",
        "at",
        "events",
        "items",
        "new",
        "moved",
        "cpu_s",
        "targets",
        "hits",
        "HR@10",
        "HR@10_exact",
        "failed",
    )
    bench_main("Replay: refreshed while it is asked", configure, lambda given: list(measure(given)), columns=columns)


if __name__ == "__main__":
    main()
