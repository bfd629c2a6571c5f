"""The demo, step by step: the same functions and commands that an operator would use, one after another."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from rich.console import Console

from retrieval.config import FILE_NAME
from retrieval.data import Dataset, open_dataset
from retrieval.errors import ConflictError, DataError
from retrieval.evaluation import EvaluationReport
from retrieval.serving.local_fleet.supervisor import free_port
from retrieval.simulation.synthetic import SynthConfig, write_synthetic
from retrieval.towers.runtime import load_user_tower
from retrieval.towers.user_input import History, UserInput
from retrieval.types import ModelVersion
from retrieval.workflows.demo.answers import Answer, Moment, draw_timeline
from retrieval.workflows.demo.check import count_mismatches
from retrieval.workflows.demo.fleet import local_fleet, run_command, wait_until_serving
from retrieval.workflows.demo.summary import Summary
from retrieval.workflows.demo.traffic import Traffic, TrafficRequests
from retrieval.workflows.evaluation.served.measure import measure_served
from retrieval.workflows.evaluation.user_inputs import profiles_of
from retrieval.workflows.indexing.build import IndexOutcome, build_version_index
from retrieval.workflows.training.train import train_version
from retrieval.workflows.workspace import Workspace
from retrieval.workflows.workspace.upgrade import upgrade_workspace

MARK = ".made-by-retrieval-demo"
_WORLD = SynthConfig(users=2000, items=3000, days=18, events_per_user_day=4.0, new_items_per_day=50, seed=11)
_NEWER_DAYS = 2
_STEADY_S = 4.0
_DEVICES = ("phone", "desktop", "tablet")


@dataclass(frozen=True)
class _Trained:
    version: ModelVersion
    report: EvaluationReport
    index: IndexOutcome


def run_demo(root: Path, *, console: Console, show: bool = True) -> Summary:
    """Run the whole path in the folder `root` (made anew) and return what was measured. Raises ConflictError."""
    began = time.monotonic()
    workspace = _make_workspace(root)

    def step(text: str) -> None:
        console.rule(f"[bold]{text}[/bold]  ({time.monotonic() - began:.0f} s)", align="left", style="dim")

    step("1  A synthetic event log")
    made = write_synthetic(_WORLD, workspace.root / "data", show=show)
    console.print(f"{made.events:,} events of {made.users:,} users on {made.items:,} items over {made.days} days")

    step("2  Train demo@1, measure it on the full corpus, index it")
    first = _train_and_index(workspace, console, show)
    run_command(workspace.root, "users", "load")
    run_command(workspace.root, "deploy", str(first.index.build.id), "--without-hosts")

    step("3  Serve: 2 shards x 2 replicas and the candidate service, as processes on loopback")
    log = workspace.root / "serve.log"
    address = f"127.0.0.1:{workspace.settings.serving.candidates_port}"
    dataset = open_dataset(workspace.settings.data, workspace.root, show=False)
    with local_fleet(workspace.root, replicas=workspace.settings.serving.replicas, log=log):
        wait_until_serving(address, timeout_s=60, log=log)
        (busiest,) = _busy_users(dataset, 1)
        example = run_command(workspace.root, "query", busiest, "--k", "5")
        console.print(f"`retrieval query {busiest} --k 5` over gRPC: {_items_of(example)}")

        step(f"4  {_NEWER_DAYS} days of newer events; retrain to demo@2 and index it")
        newer = SynthConfig(**{**vars(_WORLD), "days": _WORLD.days + _NEWER_DAYS})
        more = write_synthetic(newer, workspace.root / "data", first_day=_WORLD.days, show=show)
        console.print(f"{more.events:,} newer events, {more.items - made.items:,} new items")
        second = _train_and_index(workspace, console, show)

        step("5  Deploy demo@2 host by host and roll it back, while clients keep asking")
        answers, moments, states, context_of = _under_traffic(workspace, address, dataset, second, console)

        step("6  Deploy demo@2 to stay, and ask the services for its test targets: is what was measured served?")
        run_command(workspace.root, "users", "load")
        run_command(workspace.root, "deploy", str(second.index.build.id))
        served = measure_served(workspace, second.version, address=address, show=show)
        console.print(*served.tables(), *served.remarks, sep="\n", highlight=False)

    step("7  Recompute every answer from the raw artifacts of the version it names")
    inputs = _inputs_of(workspace, dataset, first.version, context_of)
    mismatches = count_mismatches(answers, workspace.store(), inputs)
    timeline = workspace.root / "timeline.png"
    draw_timeline(answers, moments, timeline)
    return Summary(
        versions=(str(first.version), str(second.version)),
        reports=(first.report, second.report),
        recalls=tuple(float(made.index.build.recall or 0.0) for made in (first, second)),
        answers=answers,
        moments=moments,
        mismatches=mismatches,
        active_after=states,
        served=served,
        seconds=time.monotonic() - began,
        workspace=workspace.root,
        timeline=timeline,
    )


def _make_workspace(root: Path) -> Workspace:
    if root.exists() and any(root.iterdir()) and not (root / MARK).exists():
        raise ConflictError(f"{root} is not empty and was not made by the demo; give another folder with --workspace")
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    (root / MARK).touch()
    template = resources.files("retrieval.workflows.demo").joinpath("settings.toml").read_text(encoding="utf-8")
    (root / FILE_NAME).write_text(template.replace("{port}", str(free_port())), encoding="utf-8")
    workspace = Workspace.open(root)
    upgrade_workspace(workspace)
    return workspace


def _train_and_index(workspace: Workspace, console: Console, show: bool) -> _Trained:
    trained = train_version(workspace, show=show)
    if trained.report is None:
        raise DataError(f"{trained.version.id}: the log has no test events to measure it on")
    for table in trained.report.tables():
        console.print(table)
    index = build_version_index(workspace, trained.version.id, show=show)
    build = index.build
    console.print(
        f"{build.id}: {build.items:,} items in {build.shards} shards, recall {build.recall:.4f} against exact search"
    )
    return _Trained(trained.version.id, trained.report, index)


def _under_traffic(
    workspace: Workspace, address: str, dataset: Dataset, second: _Trained, console: Console
) -> tuple[list[Answer], list[Moment], tuple[str, str], Callable[[Answer], dict[str, str]]]:
    contexts = tuple({"device": device} for device in _DEVICES)
    requests = TrafficRequests(_busy_users(dataset, 500), contexts, at_us=dataset.histories.last_us + 60_000_000)
    traffic = Traffic(address, requests)
    moments: list[Moment] = []

    def act(what: str, *arguments: str) -> None:
        moments.append(Moment(traffic.now, f"{what} begins"))
        run_command(workspace.root, *arguments)
        moments.append(Moment(traffic.now, f"{what} done"))
        console.print(f"{what}: {moments[-1].at - moments[-2].at:.1f} s  (`retrieval {' '.join(arguments)}`)")

    traffic.start()
    try:
        time.sleep(_STEADY_S)
        act("roll-out", "deploy", str(second.index.build.id))
        after_deploy = _active_version(workspace)
        time.sleep(_STEADY_S)
        act("roll-back", "rollback", "--yes")
        after_rollback = _active_version(workspace)
        time.sleep(_STEADY_S)
    finally:
        answers = traffic.stop()
    return answers, moments, (after_deploy, after_rollback), lambda answer: dict(traffic.context_of(answer))


def _active_version(workspace: Workspace) -> str:
    with closing(workspace.registry()) as registry:
        active = registry.active_build(workspace.model)
    return "none" if active is None else str(active.model_version)


def _busy_users(dataset: Dataset, count: int) -> list[str]:
    """Users with the longest histories, so that answers lean on them."""
    lengths = np.diff(np.asarray(dataset.histories.offsets))
    chosen = np.argsort(-lengths, kind="stable")[:count]
    ids: list[str] = dataset.histories.user_ids.take(pa.array(chosen)).to_pylist()
    return ids


def _items_of(answer: dict[str, Any]) -> str:
    return ", ".join(str(item) for item in answer.get("item_ids", []))


def _inputs_of(
    workspace: Workspace, dataset: Dataset, version: ModelVersion, context_of: Callable[[Answer], dict[str, str]]
) -> Callable[[Answer], UserInput]:
    """What the user tower had to be told for an answer: the log as it was when the user store was filled."""
    histories = dataset.histories
    codes = {user: code for code, user in enumerate(histories.user_ids.to_pylist())}
    features = load_user_tower(workspace.store(), version).features
    items, names = histories.item_ids, np.array(histories.action_names, object)
    known: dict[str, tuple[History, dict[str, Any]]] = {}

    def user_input(answer: Answer) -> UserInput:
        if answer.user_id not in known:
            code = codes[answer.user_id]
            rows = slice(int(histories.offsets[code]), int(histories.offsets[code + 1]))
            history = History(
                items.take(pa.array(histories.items[rows])).to_pylist(),
                names[histories.actions[rows]].tolist(),
                np.asarray(histories.timestamps[rows]),
            )
            known[answer.user_id] = history, dict(profiles_of(dataset, features, np.array([code]))[0])
        history, profile = known[answer.user_id]
        return UserInput(history, profile, context_of(answer), answer.at_us)

    return user_input
