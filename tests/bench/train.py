"""Examples per second of the training loop, beside a plain PyTorch loop that does the same.

    python -m tests.bench.train --json train.json

Both train two pre-norm transformer blocks on the last 200 events of every user, the next item at every position,
against the same number of in-batch and uniform negatives with popularity correction, in batches of as many tokens. The
plain loop is what one writes first: every history padded to 200, torch's own layers, attention mask and dropout, and
cross-entropy over a [positions, negatives] matrix. An example is one real target. Rounds alternate, so that a busy
machine slows all alike; `per_cpu_second` counts processor time instead of the clock's.

    python -m tests.bench.train --peers --dataset ml1m --epochs 1 --json peers.json

Epochs of RecTools' SASRec and HSTU (an environment of its own is made for it with pip, once) beside ours on real data:
2 blocks, 2 heads, 64 wide, 200 events, 128 negatives a target, as many steps an epoch as batches of 128 users.
RecTools reads the last 200 events of a user only: ours does so too in the rows "last", and cuts the whole history into
windows in the rows "all". `examples_per_s` and `targets` count real targets; `epoch_s` is the median epoch. HR@10 and
NDCG@10 are of the test targets after the last epoch (no checkpoint is chosen), over all rated films, what was seen left
out; the `hstu` rows use time, that of the request as well.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn

from retrieval.data import DataConfig, Dataset, Split, leave_one_out, open_dataset
from retrieval.data.facts.training import item_counts
from retrieval.features import Features, FeatureSpec, HistorySpec, fit_features
from retrieval.towers.config import TowerConfig
from retrieval.training.config import NegativesConfig, TrainingConfig
from retrieval.training.epoch import plan_epoch, take_step
from retrieval.training.machine import cpu_threads, limit_kernel_cache, matrix_precision
from retrieval.training.negatives.in_batch import InBatch
from retrieval.training.negatives.mixed import mix
from retrieval.training.negatives.uniform import Uniform
from retrieval.training.popularity.counts import Counts
from retrieval.training.run import TrainingInputs, prepare_run
from tests.bench.peers import compare as peers
from tests.bench.report import Row, bench_main

LENGTH, DIM, HEADS, BLOCKS, DROPOUT = 200, 64, 2, 2, 0.2
IN_BATCH, UNIFORM = 1024, 2048
SHOWN = (
    *("loop", "examples_per_s", "per_cpu_second", "step_ms", "times_best_plain", "times_best_plain_cpu"),
    *(
        "times_peer",
        "epoch_s",
        "targets",
        "steps",
        "epochs",
        "fit_s",
        "HR@10",
        "NDCG@10",
        "loss",
        "negatives",
        "failed",
    ),
)
Step = Callable[[], int]


def bench_dataset(root: Path, users: int, items: int) -> Dataset:
    """Histories of MovieLens-1M's shape: 20 to 2,000 events a user, half of them under 100; Zipf popularity."""
    rng = np.random.default_rng(0)
    counts = np.clip(rng.lognormal(np.log(96), 1.0, users), 20, 2000).astype(int)
    share = 1 / np.arange(1, items + 1) ** 0.8
    events = int(counts.sum())
    table = {
        "user_id": np.repeat(np.arange(users), counts),
        "item_id": rng.choice(items, events, p=share / share.sum()),
        "timestamp": 1_600_000_000 + np.cumsum(rng.integers(1, 100, events)),
    }
    (root / "data").mkdir()
    pq.write_table(pa.table(table), root / "data" / "events.parquet")
    return open_dataset(DataConfig(events="data/events.parquet"), root, show=False)


class PlainModel(nn.Module):
    """SASRec's shape out of torch's own layers."""

    def __init__(self, codes: int) -> None:
        super().__init__()
        self.items = nn.Embedding(codes, DIM)
        self.positions = nn.Embedding(LENGTH + 1, DIM)
        nn.init.normal_(self.items.weight, std=0.02)
        self.drop = nn.Dropout(DROPOUT)
        layer = nn.TransformerEncoderLayer(
            DIM, HEADS, 4 * DIM, DROPOUT, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, BLOCKS, norm=nn.LayerNorm(DIM), enable_nested_tensor=False)
        self.log_temperature = nn.Parameter(torch.tensor(-2.66))

    def forward(self, tokens: Tensor) -> Tensor:
        """int64 [B, L] -> unit vectors [B, L, D]."""
        L = tokens.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(L)
        x = self.drop(self.items(tokens) + self.positions(torch.arange(L)))
        return nn.functional.normalize(self.blocks(x, mask=mask, is_causal=True), dim=-1)


def plain_steps(dataset: Dataset, split: Split, features: Features, users_at_once: int, *, autocast: bool) -> Step:
    """A step of the plain loop: padded histories, logits [P, K], cross-entropy."""
    histories = dataset.histories
    codes, _ = features.history_codes(histories)
    known = features.history_inputs()
    model = PlainModel(known.items_cardinality).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.001, weight_decay=0.01)
    counts = Counts(item_counts(histories, split.train_end))
    sources = [InBatch(counts, IN_BATCH), Uniform(counts, UNIFORM)]
    rng = np.random.default_rng(0)

    def step() -> int:
        users = rng.choice(histories.users, users_at_once, replace=False)
        tokens = np.full((users_at_once, LENGTH + 1), known.pad)
        wanted = np.full((users_at_once, LENGTH + 1), -1)
        for row, user in enumerate(users):
            end = int(split.train_end[user])
            events = histories.items[max(int(histories.offsets[user]), end - LENGTH - 1) : end]
            tokens[row, : len(events)] = np.concatenate([[known.bos], codes[events[:-1]]])
            wanted[row, : len(events)] = events
        real = torch.from_numpy(wanted >= 0)
        targets = wanted[wanted >= 0]
        drawn = mix(sources, targets, rng, corrected=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            vectors = model(torch.from_numpy(tokens))[real] * torch.exp(-model.log_temperature)
            everything = nn.functional.normalize(model.items.weight, dim=-1)
            own = (vectors * everything[torch.from_numpy(codes[targets])]).sum(-1, keepdim=True)
            logits = vectors @ everything[torch.from_numpy(codes[drawn.items])].T + torch.from_numpy(drawn.bias)
        hits = torch.from_numpy(drawn.items)[None, :] == torch.from_numpy(targets)[:, None]
        logits = torch.cat([own.float(), logits.float().masked_fill(hits, -torch.inf)], dim=1)
        loss = nn.functional.cross_entropy(logits, torch.zeros(len(targets), dtype=torch.int64))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        loss.item()
        return len(targets)

    return step


def our_steps(dataset: Dataset, split: Split, features: Features, config: TrainingConfig, folder: Path) -> Step:
    """A step of the package's own loop, reading, negatives and optimiser included."""
    towers = TowerConfig(dim=DIM, heads=HEADS, blocks=BLOCKS, dropout=DROPOUT)
    run = prepare_run(TrainingInputs(dataset, split, features, towers, config, folder), torch.device("cpu"))
    run.pair.train()
    windows, steps = plan_epoch(run, 0)
    done = 0

    def step() -> int:
        nonlocal done
        with matrix_precision(config, run.device):
            examples, _ = take_step(run, windows, steps[done % len(steps)], done)
        done += 1
        return examples

    return step


def time_rounds(steps: dict[str, Step], rounds: int, seconds: float) -> list[Row]:
    """Each loop in turn for `seconds`, `rounds` times over; the median round counts."""
    rates: dict[str, list[tuple[float, float, float]]] = {name: [] for name in steps}
    for step in steps.values():
        step()
    for _ in range(rounds):
        for name, step in steps.items():
            examples = count = 0
            wall, cpu = time.perf_counter(), time.process_time()
            while time.perf_counter() - wall < seconds:
                examples, count = examples + step(), count + 1
            clock, used = time.perf_counter() - wall, time.process_time() - cpu
            rates[name].append((examples / clock, examples / used, 1000 * clock / count))
    rows: list[Row] = []
    for name, found in rates.items():
        per_s, per_cpu_s, step_ms = (float(np.median(column)) for column in zip(*found, strict=True))
        rows.append({"loop": name, "examples_per_s": per_s, "per_cpu_second": per_cpu_s, "step_ms": step_ms})
    plain = {
        column: max(row[column] for row in rows if row["loop"].startswith("plain"))
        for column in rows[0]
        if "per_" in column
    }
    for row in rows:
        row["times_best_plain"] = row["examples_per_s"] / plain["examples_per_s"]
        row["times_best_plain_cpu"] = row["per_cpu_second"] / plain["per_cpu_second"]
    return rows


def measure(given: argparse.Namespace) -> Sequence[Row]:
    """Rows for both loops in float32 and with bf16 products; with --peers, those of the comparison with RecTools."""
    if given.peers:
        return peers.compare(given)
    limit_kernel_cache()
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        dataset = bench_dataset(root, given.users or 1500, given.items)
        split = leave_one_out(dataset.histories)
        features = fit_features(
            FeatureSpec(history=HistorySpec(length=LENGTH, actions=False, time=False)), dataset, split
        )
        stack.enter_context(cpu_threads(TrainingConfig(threads=given.threads)))
        users_at_once = max(1, given.batch_tokens // (LENGTH + 1))
        steps: dict[str, Step] = {}
        for precision in ("float32", "bf16"):
            config = TrainingConfig(
                windows="last",
                batch_tokens=given.batch_tokens,
                min_batches=1,
                precision=precision,
                threads=given.threads,
                negatives=NegativesConfig(in_batch=IN_BATCH, uniform=UNIFORM),
            )
            steps[f"plain {precision}"] = plain_steps(
                dataset, split, features, users_at_once, autocast=precision == "bf16"
            )
            steps[f"retrieval {precision}"] = our_steps(dataset, split, features, config, root / precision)
        return time_rounds(steps, given.rounds, given.seconds)


def configure(parser: argparse.ArgumentParser) -> None:
    """Flags of this bench."""
    parser.add_argument("--users", type=int, help="1500 if not given; with --peers, all")
    parser.add_argument("--items", type=int, default=3706)
    parser.add_argument("--batch-tokens", type=int, default=12_864, help="64 histories of 201 tokens")
    parser.add_argument("--threads", type=int, default=0, help="0: all cores")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0, help="per loop and round")
    peers.configure(parser)


if __name__ == "__main__":
    bench_main("training: examples per second", configure, measure, columns=SHOWN)
