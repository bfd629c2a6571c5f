"""A whole training on the device: in bf16 beside the CPU's, twice the same, and killed and taken up again.

python -m tests.gpu.training FOLDER DEVICE ENCODER small|full     # the run that is killed
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import torch

from retrieval.data.corpus import CorpusConfig, open_corpus
from retrieval.evaluation import hit_rate_and_ndcg
from retrieval.towers.offline import item_inputs
from retrieval.towers.pair import TowerPair
from retrieval.training.journal import METRICS, read_journal
from retrieval.training.loop import TrainResult, train
from retrieval.training.vectors import PairVectors
from tests.gpu.report import Recorder
from tests.gpu.sections import Place
from tests.gpu.world import World, furthest, make_world, settings, towers, unequal

# how far bf16 on the device may be from float32 on the CPU, drawing other dropout: shares of what the CPU has
_METRIC, _LOSS = 0.15, 0.05
_KILLED_AT = 3  # steps
_SECONDS = 60.0


def run(record: Recorder, place: Place) -> None:
    """Learning, then repeating: the default encoder, and one whose attention torch's own kernels would do."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        world = _world(root / "world", time=True, small=place.small)
        with record.check("bf16 learns as the CPU does") as figures:
            here = _trained(world, "hstu", place.device, root / "here", small=place.small, validated=True)
            there = _trained(world, "hstu", torch.device("cpu"), root / "there", small=place.small, validated=True)
            first, last, last_there = (
                _losses(root / "here")[0],
                _losses(root / "here")[-1],
                _losses(root / "there")[-1],
            )
            figures.update({"first_loss": first, "cpu_loss": last_there, "cpu_ndcg@10": there.metrics["ndcg@10"]})
            figures.update({"seconds_here": here.seconds, "seconds_cpu": there.seconds, "steps": here.steps})
            figures.at_most("loss", last, first - 0.02)
            figures.at_most("loss_apart", abs(last - last_there) / last_there, _LOSS)
            figures["ndcg@10"] = here.metrics["ndcg@10"]
            apart = abs(here.metrics["ndcg@10"] / there.metrics["ndcg@10"] - 1)
            figures.at_most("ndcg@10_apart", apart, _METRIC)
        for encoder, timed in (("hstu", True),) if place.small else (("hstu", True), ("transformer", False)):
            _repeated(record, place, root / encoder, encoder, timed=timed)


def _repeated(record: Recorder, place: Place, root: Path, encoder: str, *, timed: bool) -> None:
    """The same seed gives the same weights, bit by bit; and so does a run that was killed and taken up again."""
    name = encoder if timed else f"{encoder}, no time"
    world = _world(root / "world", time=timed, small=place.small)
    whole: dict[str, torch.Tensor] = {}
    with record.check(f"{name}: the same seed, the same weights") as figures:
        whole = _trained(world, encoder, place.device, root / "whole", small=place.small).pair.state_dict()
        again = _trained(world, encoder, place.device, root / "again", small=place.small).pair.state_dict()
        figures["furthest"] = furthest(whole, again)
        figures.at_most("unequal_weights", unequal(whole, again), 0)
    with record.check(f"{name}: killed and taken up again") as figures:
        _kill(root, place, encoder)
        resumed = _trained(world, encoder, place.device, root / "killed", small=place.small)
        figures.update({"resumed_at": resumed.resumed_at, "steps": resumed.steps})
        figures["furthest"] = furthest(whole, resumed.pair.state_dict())
        figures.at_least("resumed_at", resumed.resumed_at, 1)
        figures.at_most("unequal_weights", unequal(whole, resumed.pair.state_dict()), 0)


def _world(root: Path, *, time: bool, small: bool) -> World:
    users, items, events, length = (60, 40, 20, 12) if small else (800, 80, 80, 50)
    return make_world(root, users=users, items=items, events=events, length=length, time=time)


def _trained(
    world: World, encoder: str, device: torch.device, folder: Path, *, small: bool, validated: bool = False
) -> TrainResult:
    """A few epochs in bf16 on the device (float32 on the CPU), a checkpoint after every step unless validated."""
    config = settings(
        device,
        small=small,
        epochs=4 if validated else 2,
        precision="bf16" if device.type == "cuda" else "float32",
        learning_rate=0.01 if small else 0.004,
        checkpoint_seconds=60.0 if validated else 0.0,
        threads=1 if small else 0,
    )
    shape = towers(encoder, small=small, dropout=0.1)
    validate = _validation(world) if validated else None
    return train(
        world.dataset, world.split, world.features, shape, config, run_dir=folder, validate=validate, show=False
    )


def _validation(world: World):  # type: ignore[no-untyped-def]
    histories = world.dataset.histories
    vectors = PairVectors(world.dataset, world.features, item_inputs(world.dataset, world.features, histories.last_us))
    corpus = open_corpus(CorpusConfig(), world.dataset)

    def validate(pair: TowerPair) -> Mapping[str, float]:
        return hit_rate_and_ndcg(
            histories,
            world.split.valid,
            lambda rows: vectors.users(pair, rows),
            vectors.items(pair),
            corpus=corpus,
        )

    return validate


def _losses(folder: Path) -> list[float]:
    return [row["loss"] for row in read_journal(folder / METRICS) if row["kind"] == "train"]


def _kill(root: Path, place: Place, encoder: str) -> None:
    """Start the same training in another process and kill it after a few steps."""
    size = "small" if place.small else "full"
    command = [sys.executable, "-m", "tests.gpu.training", str(root), place.device.type, encoder, size]
    with subprocess.Popen(command) as process:
        deadline = time.monotonic() + _SECONDS
        while not any(_steps(path) >= _KILLED_AT for path in (root / "killed").glob("checkpoint-*")):
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise RuntimeError(f"the run to be killed ended with {process.poll()} before it had a checkpoint")
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)


def _steps(checkpoint: Path) -> int:
    return int(checkpoint.name.split("-")[1])


def _train_to_be_killed(folder: str, device: str, encoder: str, size: str) -> None:
    small, root = size == "small", Path(folder)
    world = _world(root / "killed-world", time=encoder == "hstu", small=small)
    _trained(world, encoder, torch.device(device), root / "killed", small=small)


if __name__ == "__main__":
    _train_to_be_killed(*sys.argv[1:])
