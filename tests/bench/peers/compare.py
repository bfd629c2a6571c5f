"""Our encoders beside RecTools' SASRec and HSTU: one run, the same events, shape, length, steps and loss.

Each fit is a process of its own with the same number of threads; a progress line on stderr when it is done.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from retrieval.data import Dataset, Split
from retrieval.workflows.workspace import Workspace
from retrieval.workflows.workspace.upgrade import upgrade_workspace
from tests.bench.peers.environment import peer_python
from tests.bench.quality.datasets import DATASETS, prepare
from tests.bench.report import Row, write_report

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"
LENGTH, DIM, HEADS, BLOCKS, DROPOUT, BATCH_USERS, NEGATIVES = 200, 64, 2, 2, 0.2, 128, 128
# the peer draws its negatives for each target; shared ones are as good a sample only where there are more of them
SHARED_NEGATIVES = 1024
FULL, SAMPLED = "full softmax", "sampled softmax"
_PEERS = {
    "sasrec": "RecTools SASRec",
    "flat": "RecTools fast_transformers SASRec",
    "hstu": "RecTools HSTU",
}
SHAPE = {
    "length": LENGTH,
    "dim": DIM,
    "heads": HEADS,
    "blocks": BLOCKS,
    "dropout": DROPOUT,
    "batch_users": BATCH_USERS,
    "negatives": NEGATIVES,
}
_HERE = Path(__file__).parent
_CHECKOUT = _HERE.parents[2]


@dataclass(frozen=True)
class Contender:
    """One row: who, which model, and how ours is set."""

    name: str
    model: str
    """What it is compared as: transformer or hstu."""
    windows: str
    negatives: str
    loss: str
    """full softmax, or sampled softmax: rows of the same model and loss are held against each other."""
    peer: str | None = None
    recipe: str | None = None
    overrides: tuple[str, ...] = ()


def contenders(users: int) -> list[Contender]:
    """RecTools first, then ours in the same shape and with the same loss, then our recipe.

    With full softmax both compare each target with every item, so that rates can be compared. With negatives they
    can't quite: RecTools draws for each target, ours for a batch, which is cheaper and a worse sample unless larger.
    """
    made = []
    data = DATASETS["ml1m"]
    for model, peers, track in (("transformer", ("sasrec", "flat"), "no-time"), ("hstu", ("hstu",), "time")):
        for loss in (FULL, SAMPLED):
            drawn = "every item" if loss == FULL else f"{NEGATIVES} uniform, each target its own"
            made += [Contender(f"{_PEERS[peer]}, {loss}", model, "last", drawn, loss, peer) for peer in peers]
        for windows in ("last", "all"):
            made.append(_ours(model, users, windows, None))
        for windows, negatives in (("last", NEGATIVES), ("last", SHARED_NEGATIVES), ("all", NEGATIVES)):
            made.append(_ours(model, users, windows, negatives))
        ours, recipe = f"retrieval recipe {data.recipes[track]}, {track}", data.recipes[track]
        made.append(Contender(ours, model, "recipe", "recipe", FULL, None, recipe, data.inputs[track]))
    return made


def _ours(model: str, users: int, windows: str, negatives: int | None) -> Contender:
    same = (*_same_shape(model, users), f"training.windows={windows}")
    if negatives is None:
        every = (*same, "training.loss=full_softmax")
        return Contender(f"retrieval {model}, {windows}, {FULL}", model, windows, "every item", FULL, overrides=every)
    drawn = (*same, "training.loss=sampled_softmax", f"training.negatives.uniform={negatives}")
    shared = f"{negatives:,} uniform, shared by the batch"
    name = f"retrieval {model}, {windows}, {negatives:,}"
    return Contender(name, model, windows, shared, SAMPLED, overrides=drawn)


def _same_shape(model: str, users: int) -> tuple[str, ...]:
    timed = str(model == "hstu").lower()
    return (
        f"features.history.length={LENGTH}",
        "features.history.actions=false",
        f"features.history.time={timed}",
        f"towers.encoder={model}",
        f"towers.time_bias={timed}",
        f"towers.dim={DIM}",
        f"towers.heads={HEADS}",
        f"towers.blocks={BLOCKS}",
        "towers.expansion=1",  # as SASRec's feed-forward layers; HSTU has none
        f"towers.dropout={DROPOUT}",
        "training.negatives.in_batch=0",
        # ours batches by tokens: as many steps an epoch as there are batches of 128 users
        f"training.batch_tokens={BATCH_USERS * (LENGTH + 1)}",
        f"training.min_batches={math.ceil(users / BATCH_USERS)}",
    )


def configure(parser: argparse.ArgumentParser) -> None:
    """Flags of the comparison."""
    parser.add_argument("--peers", action="store_true", help="compare with RecTools on real data instead")
    parser.add_argument("--dataset", choices=("ml1m",), default="ml1m", help="--peers: which data")
    parser.add_argument("--data", type=Path, default=DATA, help="--peers: folder of the data sets")
    parser.add_argument("--epochs", type=int, default=1, help="--peers: of every fit")
    parser.add_argument("--seed", type=int, default=1, help="--peers: of every fit")
    parser.add_argument("--precision", choices=("bf16", "float32"), help="--peers: ours; as shipped if not given")
    parser.add_argument("--only", metavar="TEXT", action="append", help="--peers: rows with this in their name")
    parser.add_argument("--peer-env", type=Path, metavar="DIR", help="--peers: RecTools' environment; made if need be")
    parser.add_argument("--work", type=Path, default=Path("build/bench-peers"), help="--peers: the workspace is kept")


def compare(given: argparse.Namespace) -> list[Row]:
    """Rows for all contenders; none, with a message, where the data is absent."""
    source: Path = given.data if (given.data / DATASETS[given.dataset].folder).is_dir() else given.data.parent
    if not (source / DATASETS[given.dataset].folder).is_dir():
        sys.stderr.write(f"skipped: no {given.dataset} in {given.data}; say with --data where the data sets are\n")
        return []
    root = given.work.resolve() / (given.dataset if given.users is None else f"{given.dataset}-{given.users}")
    prepare(DATASETS[given.dataset], source, root, given.users)
    workspace = Workspace.open(root, DATASETS[given.dataset].protocol)
    upgrade_workspace(workspace)
    dataset = workspace.dataset()
    chosen = [
        one
        for one in contenders(dataset.histories.users)
        if not given.only or any(text.lower() in one.name.lower() for text in given.only)
    ]
    python = peer_python(given.peer_env) if any(one.peer for one in chosen) else Path(sys.executable)
    threads = given.threads or os.cpu_count() or 1
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        _write_events(dataset, workspace.split(dataset), Path(folder) / "events.npz")
        for one in chosen:
            answer = _fit(one, given, root, Path(folder), python, threads)
            rows.append(_row(one, answer))
            sys.stderr.write(f"{one.name}: {rows[-1]}\n")
            write_report(given, _beside_the_peer(rows))
    return _beside_the_peer(rows)


def _write_events(dataset: Dataset, split: Split, path: Path) -> None:
    """What RecTools is given: the very events, in the very order, and what each is for."""
    histories = dataset.histories
    part = np.zeros(len(histories.items), np.uint8)
    part[split.valid], part[split.test] = 1, 2
    np.savez(
        path,
        user=np.repeat(np.arange(histories.users), np.diff(histories.offsets)),
        item=np.asarray(histories.items, np.int64),
        seconds=np.asarray(histories.timestamps) // 1_000_000,
        part=part,
    )


def _fit(
    one: Contender, given: argparse.Namespace, root: Path, folder: Path, python: Path, threads: int
) -> dict[str, Any]:
    request_file, answer_file = folder / "request.json", folder / "answer.json"
    answer_file.unlink(missing_ok=True)
    request = {
        **SHAPE,
        "model": one.peer,
        "loss": "softmax" if one.loss == FULL else "sampled_softmax",
        "data": str(folder / "events.npz"),
        "epochs": given.epochs,
        "seed": given.seed,
        "threads": threads,
        "workspace": str(root),
        "recipe": one.recipe,
        "overrides": [*DATASETS[given.dataset].protocol, *one.overrides, *_every_run(given, threads)],
    }
    request_file.write_text(json.dumps(request), encoding="utf-8")
    command: list[str | Path] = [python, _HERE / "rectools_fit.py"]
    if one.peer is None:
        command = [sys.executable, "-m", "tests.bench.peers.retrieval_fit"]
    surroundings = os.environ | {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", "DO_NOT_TRACK": "1"}
    ended = subprocess.run(
        [*command, request_file, answer_file], cwd=_CHECKOUT, env=surroundings, stdout=sys.stderr, check=False
    )
    if ended.returncode or not answer_file.exists():
        return {"failed": f"exit code {ended.returncode}"}
    answer: dict[str, Any] = json.loads(answer_file.read_text(encoding="utf-8"))
    return answer


def _every_run(given: argparse.Namespace, threads: int) -> tuple[str, ...]:
    """Equal epochs: no early stop, no choice of a checkpoint, no checkpoints within an epoch (the peer has none)."""
    return (
        f"training.epochs={given.epochs}",
        f"training.seed={given.seed}",
        f"training.threads={threads}",
        "training.device=cpu",
        "training.validate_every=1",
        "training.select=epoch",
        "training.checkpoint_seconds=86400",
        "evaluation.baselines=[]",
        "evaluation.ks=[10]",
        *((f"training.precision={given.precision}",) if given.precision else ()),
    )


def _row(one: Contender, answer: dict[str, Any]) -> Row:
    row: Row = {"loop": one.name, "model": one.model, "windows": one.windows, "negatives": one.negatives}
    row |= {"loss": one.loss}
    if "failed" in answer:
        return row | {"failed": answer["failed"]}
    epoch_s = statistics.median(answer["epoch_seconds"])
    return row | {
        "examples_per_s": answer["targets"] / epoch_s,
        "epoch_s": epoch_s,
        "targets": answer["targets"],
        "steps": answer["steps"],
        "epochs": len(answer["epoch_seconds"]),
        "fit_s": answer["fit_seconds"],
        "HR@10": answer["metrics"]["hr@10"],
        "NDCG@10": answer["metrics"]["ndcg@10"],
        "parameters": answer["parameters"],
        "measure_s": answer["measure_seconds"],
        "versions": " ".join(f"{name} {version}" for name, version in answer["versions"].items()),
        "epoch_seconds": " ".join(f"{seconds:.1f}" for seconds in answer["epoch_seconds"]),
    }


def _beside_the_peer(rows: list[Row]) -> list[Row]:
    """Each row with its rate as a multiple of RecTools' of the same model and loss: the faster of its two paths."""
    peers: dict[tuple[str, str], float] = {}
    for row in rows:
        if row["loop"].startswith("RecTools") and "examples_per_s" in row:
            key = (row["model"], row["loss"])
            peers[key] = max(row["examples_per_s"], peers.get(key, 0.0))
    return [
        row | {"times_peer": row["examples_per_s"] / peers[row["model"], row["loss"]]}
        if (row["model"], row["loss"]) in peers and "examples_per_s" in row
        else row
        for row in rows
    ]
