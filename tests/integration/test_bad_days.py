"""Days on which something upstream is broken: each is refused by a gate that says what, and what is live answers on."""

from __future__ import annotations

import math
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrieval.errors import GateError
from retrieval.index import shard_build
from retrieval.index.encode import EncodedItems
from retrieval.serving.ann.host import AnnHost
from retrieval.serving.ann.service import AnnService
from retrieval.serving.candidates import service as candidates_module
from retrieval.serving.candidates.service import CandidateService
from retrieval.serving.candidates.servicer import SERVICE
from retrieval.serving.local_fleet.supervisor import answers
from retrieval.towers.pair import TowerPair
from retrieval.towers.runtime import UserTower
from retrieval.towers.user_input import History, UserInput
from retrieval.training import export, run
from retrieval.types import ModelVersion
from retrieval.v1 import candidates_pb2, candidates_pb2_grpc
from retrieval.workflows.fleet.users import load_users
from retrieval.workflows.retrain.chain import run_retrain
from retrieval.workflows.workspace import Workspace
from tests.retraining import after_days, retrain_workspace

LIVE = ModelVersion("demo", 1)
SERVING = """
[serving]
heartbeat_s = 0.2
reconcile_s = 0.3
"""
COLLAPSING = (
    "towers.dim=48",
    "towers.learn_temperature=false",
    "training.epochs=8",
    "training.validate_every=8",
    "training.learning_rate=0.1",
    "training.min_batches=100",
)
Spoil = Callable[[Workspace, pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Day:
    """What happens, and who says what about it."""

    spoil: Spoil
    refused_by: str
    said: str
    """Pattern of the sentence."""
    until: float = 21.0
    """The chain is run for the log as of so many days."""
    settings: tuple[str, ...] = ()


def events_changed(change: Callable[[pa.Table, np.ndarray], pa.Table], days: float = 1.0) -> Spoil:
    """The log with the events of so many days after day 20 changed: `change` is given all, and which are of them."""

    def spoil(workspace: Workspace, _: pytest.MonkeyPatch) -> None:
        path = workspace.root / "data" / "events.parquet"
        table = pq.read_table(path)
        times = np.asarray(table["timestamp"])
        pq.write_table(change(table, (times >= after_days(20)) & (times < after_days(20 + days))), path)

    return spoil


def items_changed(change: Callable[[pa.Table], pa.Table]) -> Spoil:
    def spoil(workspace: Workspace, _: pytest.MonkeyPatch) -> None:
        path = workspace.root / "data" / "items.parquet"
        pq.write_table(change(pq.read_table(path)), path)

    return spoil


def half_missing(events: pa.Table, newest: np.ndarray) -> pa.Table:
    return events.filter(pa.array(~newest | (np.arange(len(newest)) % 2 == 0)))


def clicked_by_a_bot(events: pa.Table, newest: np.ndarray) -> pa.Table:
    return pa.concat_tables([events, *[events.filter(pa.array(newest)).slice(0, 1)] * 150])


def shuffled(events: pa.Table, newest: np.ndarray) -> pa.Table:
    rows = np.arange(len(newest))
    rows[newest] = np.random.default_rng(0).permutation(rows[newest])
    place = events.column_names.index("item_id")
    return events.set_column(place, "item_id", events["item_id"].take(pa.array(rows)))


def in_milliseconds(events: pa.Table, newest: np.ndarray) -> pa.Table:
    times = np.asarray(events["timestamp"])
    place = events.column_names.index("timestamp")
    return events.set_column(place, "timestamp", pa.array(np.where(newest, times // 1000, times)))


def without(events: pa.Table, newest: np.ndarray) -> pa.Table:
    return events.filter(pa.array(~newest))


def renamed(items: pa.Table) -> pa.Table:
    return items.rename_columns(["hue" if name == "colour" else name for name in items.column_names])


def constant(items: pa.Table) -> pa.Table:
    place = items.column_names.index("colour")
    return items.set_column(place, "colour", pa.array(["red"] * items.num_rows))


def temperature_of_ten_thousand(_: Workspace, patched: pytest.MonkeyPatch) -> None:
    build = run.build_pair

    def broken(*arguments: object) -> TowerPair:
        pair = build(*arguments)  # type: ignore[arg-type]
        pair.log_temperature.data.fill_(math.log(1e4))
        return pair

    patched.setattr(run, "build_pair", broken)


def rows_of_other_items(_: Workspace, patched: pytest.MonkeyPatch) -> None:
    encode = shard_build.encode_items

    def off_by_one(*arguments: object) -> Iterator[EncodedItems]:
        for block in encode(*arguments):  # type: ignore[arg-type]
            yield EncodedItems(np.roll(block.vectors, 1, axis=0), block.fingerprints)

    patched.setattr(shard_build, "encode_items", off_by_one)


def exported_from_other_weights(_: Workspace, patched: pytest.MonkeyPatch) -> None:
    write = export.write_user_tower

    def other(folder: Path, pair: TowerPair, *rest: object) -> None:
        before = {name: value.clone() for name, value in pair.user.state_dict().items()}
        for value in pair.user.parameters():
            value.data.mul_(1.1).add_(0.02)
        write(folder, pair, *rest)  # type: ignore[arg-type]
        pair.user.load_state_dict(before)

    patched.setattr(export, "write_user_tower", other)


def served_with_histories_the_wrong_way_round(_: Workspace, patched: pytest.MonkeyPatch) -> None:
    load = candidates_module.load_user_tower

    def turned(given: UserInput) -> UserInput:
        history = given.history
        return replace(given, history=History(history.item_ids[::-1], history.actions[::-1], history.timestamps))

    def loaded(*arguments: Any, **options: Any) -> UserTower:
        tower = load(*arguments, **options)
        embed = tower.embed
        patched.setattr(tower, "embed", lambda users: embed([turned(one) for one in users]))
        return tower

    patched.setattr(candidates_module, "load_user_tower", loaded)


DAYS = {
    "half of the events missing": Day(
        events_changed(half_missing), "volume", r"the last 24 h brought \d+ events, \d\d% of the usual .* is missing"
    ),
    "an item column renamed": Day(
        items_changed(renamed),
        "missing_columns",
        r"features\.item read 'colour', and the items \(data/items\.parquet\) have no such column; they have: .*hue.*"
        r"Was it renamed\?",
    ),
    "clicks of a bot": Day(
        events_changed(clicked_by_a_bot),
        "repeated_events",
        r"\d\d\.\d% of the events of the last 24 h repeat an earlier one of the same user, item and action, where "
        r"\d\.\d% are usual .* a bot clicks",
    ),
    "labels shuffled": Day(
        events_changed(shuffled, days=5.0),
        "kept_lift",
        r"has NDCG@10 .*, popularity .* on \d+ targets .* where the live version had \+\d+% when it was new .* "
        r"whether users and items still belong together",
        until=25.0,
    ),
    "a constant feature": Day(
        items_changed(constant),
        "feature_drift",
        r"item\.colour is spread most unlike .* see what writes this column, and whether it is constant",
    ),
    "timestamps in milliseconds": Day(
        events_changed(in_milliseconds),
        "wrong_unit",
        r"\d+ of .* events \(\d\.\d%\) are dated before 1973 .* of a coarser unit",
    ),
    "an empty day": Day(
        events_changed(without), "freshness", r"the last event is 2\d\.\d h old .* if events still happen"
    ),
    "embeddings that collapsed": Day(
        temperature_of_ten_thousand,
        "effective_rank",
        r"the vectors of 60 items fill \d\.\d of 48 dimensions .* they have collapsed: see towers\.temperature",
        settings=COLLAPSING,
    ),
    "an index with the rows of other items": Day(
        rows_of_other_items,
        "sound_build",
        r"demo-b\d+ is not sound: .*item 'i\d+' is encoded otherwise by demo@\d+ now .* build it again",
        settings=("training.seed=9",),
    ),
    "a user tower that is not the trained one": Day(
        exported_from_other_weights,
        "train",
        r"the exported user tower differs from the trained one by .*; it is not published",
        settings=("training.seed=10",),
    ),
    "a service that reads histories otherwise": Day(
        served_with_histories_the_wrong_way_round,
        "tower_parity",
        r"for 64 users of the log .* scores of answers by up to 0\.\d+ .* what answers is not what was trained",
        settings=("training.seed=11",),
    ),
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace whose version of day 20 is live."""
    made = retrain_workspace(tmp_path_factory.mktemp("days") / "workspace", users=400, more=SERVING)
    run_retrain(made, as_of_us=after_days(20))
    load_users(made, show=False)
    return made


@pytest.fixture(scope="module")
def candidates(workspace: Workspace) -> Iterator[candidates_pb2_grpc.CandidateServiceStub]:
    """The services of that workspace, over gRPC; they do what the registry says."""
    settings, run_folder = workspace.settings, workspace.root / "run"
    host = AnnService(
        AnnHost("ann-0", "demo", 0, workspace.store()),
        settings.serving,
        address="127.0.0.1:0",
        run_folder=run_folder,
        connect=workspace.registry,
    )
    service = CandidateService(
        "demo",
        workspace.store(),
        settings.serving,
        address="127.0.0.1:0",
        user_store=workspace.root / settings.serving.user_store,
        corpus=settings.corpus,
        connect=workspace.registry,
    )
    host.start()
    service.start()
    by = time.monotonic() + 30
    while not answers(service.address, SERVICE):
        assert time.monotonic() < by
        time.sleep(0.05)
    with grpc.insecure_channel(service.address) as channel:
        yield candidates_pb2_grpc.CandidateServiceStub(channel)
    service.stop()
    host.stop()


@pytest.fixture
def data_put_back(workspace: Workspace) -> Iterator[None]:
    data, kept = workspace.root / "data", workspace.root / "kept"
    names = ["events.parquet", "items.parquet"]
    kept.mkdir()
    for name in names:
        shutil.copy2(data / name, kept / name)
    yield
    for name in names:
        shutil.copy2(kept / name, data / name)
    shutil.rmtree(kept)


@contextmanager
def asked_throughout(stub: candidates_pb2_grpc.CandidateServiceStub) -> Iterator[list[tuple[int, int]]]:
    """Ask for candidates all the while: (version, number of candidates) of each answer."""
    found: list[tuple[int, int]] = []
    failed: list[BaseException] = []
    over = threading.Event()

    def ask() -> None:
        request = candidates_pb2.GetCandidatesRequest(user_id="u1", k=10)
        try:
            while not over.wait(0.02):
                answer = stub.GetCandidates(request, timeout=20)
                found.append((answer.versions[0].version, len(answer.item_ids)))
        except grpc.RpcError as error:
            failed.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()
    assert not failed


@pytest.mark.usefixtures("data_put_back")
@pytest.mark.parametrize("day", DAYS.values(), ids=DAYS.keys())
def test_a_bad_day_is_refused_and_what_is_live_answers_on(
    workspace: Workspace,
    candidates: candidates_pb2_grpc.CandidateServiceStub,
    monkeypatch: pytest.MonkeyPatch,
    day: Day,
) -> None:
    day.spoil(workspace, monkeypatch)
    opened = Workspace.open(workspace.root, day.settings)
    with asked_throughout(candidates) as answered, pytest.raises(GateError, match=day.said) as refused:
        run_retrain(opened, as_of_us=after_days(day.until))
    assert set(answered) == {(LIVE.version, 10)}
    with closing(workspace.registry()) as registry:
        active = registry.active_build("demo")
        assert active is not None
        assert active.model_version == LIVE
        (newest,) = registry.retraining.runs("demo", limit=1)
        assert (newest.state, newest.note) == ("refused", str(refused.value))
        gates = {row.gate for row in registry.retraining.gates("demo", run=newest.id) if row.outcome == "refused"}
        steps = {
            row.step for row in registry.retraining.steps("demo") if (row.run, row.state) == (newest.id, "refused")
        }
    assert day.refused_by in gates | steps


def test_an_ordinary_day_passes_every_gate(workspace: Workspace) -> None:
    without_hosts = Workspace.open(workspace.root, ("retrain.deploy=false",))
    assert run_retrain(without_hosts, as_of_us=after_days(25)).run.state == "done"
