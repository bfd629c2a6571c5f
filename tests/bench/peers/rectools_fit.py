"""Runs inside the peer's environment: fit one of RecTools' models, time its epochs, measure it on the test targets.

RecTools 0.19 has a second path, `rectools.fast_transformers` (its pull request 313): sequences built once as tensors,
and a flat SASRec network without item nets. For that network it brings no training of its own, so it is trained here as
its UniSRecLightning trains, with full softmax or with negatives for each target.

    python rectools_fit.py REQUEST.json ANSWER.json

Imports nothing of this project. The request names an .npz file with one row per event, in order: user, item (int64),
seconds (int64, since the epoch) and part (0 training, 1 validation, 2 test).
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Callback, LightningModule, Trainer, seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.dataset.context import get_context
from rectools.fast_transformers import FlatSASRecNet, SequenceBatchDataset, build_sequences
from rectools.fast_transformers.unisrec.model import _NegativeSampler
from rectools.models import HSTUModel, SASRecModel
from rectools.models.nn.item_net import IdEmbeddingsItemNet
from torch.utils.data import DataLoader

K = 10


class EpochClock(Callback):
    """Seconds of every epoch, loading of batches included."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._mark = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._mark = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        now = time.perf_counter()
        self.seconds.append(now - self._mark)
        self._mark = now


def trainer(epochs: int) -> Trainer:
    """A quiet trainer that writes nothing to disk."""
    return Trainer(
        accelerator="cpu",
        devices=1,
        min_epochs=epochs,
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[EpochClock()],
    )


def make(request: dict[str, Any]) -> Any:
    """The model, its settings those of RecTools' tutorials but for the shape that is asked for."""
    shared = {
        "n_blocks": request["blocks"],
        "n_heads": request["heads"],
        "n_factors": request["dim"],
        "dropout_rate": request["dropout"],
        "session_max_len": request["length"],
        "batch_size": request["batch_users"],
        "loss": request["loss"],
        "n_negatives": request["negatives"],
        "lr": 0.001,
        "item_net_block_types": (IdEmbeddingsItemNet,),
        "get_trainer_func": trainer,
        "get_trainer_func_kwargs": {"epochs": request["epochs"]},
    }
    if request["model"] == "sasrec":
        return SASRecModel(**shared)
    return HSTUModel(
        relative_time_attention=True,
        relative_pos_attention=True,
        lightning_module_kwargs={"logits_t": 0.05},
        **shared,
    )


def measure(model: Any, known: pd.DataFrame, test: pd.DataFrame) -> dict[str, float]:
    """HR@10 and NDCG@10 over all items of the training events, what the user has seen left out."""
    context = get_context(test) if model.require_recommend_context else None
    found = model.recommend(
        users=test[Columns.User].to_numpy(),
        dataset=Dataset.construct(known),
        k=K,
        filter_viewed=True,
        context=context,
    )
    wanted = test[[Columns.User, Columns.Item]]
    ranks = wanted.merge(found, on=[Columns.User, Columns.Item])[Columns.Rank].to_numpy()
    return {"hr@10": len(ranks) / len(test), "ndcg@10": float((1 / np.log2(ranks + 1)).sum()) / len(test)}


class FlatTraining(LightningModule):
    """FlatSASRecNet with the losses of RecTools' fast path; padding is no target."""

    def __init__(self, net: FlatSASRecNet, lr: float) -> None:
        super().__init__()
        self.net, self.lr = net, lr

    def training_step(self, batch: dict[str, torch.Tensor], _: int) -> torch.Tensor:
        """Mean cross-entropy over the targets of a batch."""
        logits, wanted = self.net(batch), batch["y"]
        # with negatives the target is the first column, else its own: items count from 1, columns from 0
        labels = torch.zeros_like(wanted) if "negatives" in batch else wanted - 1
        return torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), labels.masked_fill(wanted == 0, -100).flatten(), ignore_index=-100
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam, as RecTools' SASRecModel has it."""
        return torch.optim.Adam(self.net.parameters(), lr=self.lr, betas=(0.9, 0.98))


def fit_flat(request: dict[str, Any], known: pd.DataFrame, test: pd.DataFrame) -> dict[str, Any]:
    """Fit RecTools' flat network, and measure it as `measure` does."""
    # rows are in order already, and several events share a second: their places stand for their times
    train = known[known["part"] == 0]
    columns = [torch.from_numpy(train[name].to_numpy()) for name in (Columns.User, Columns.Item)]
    started = time.perf_counter()
    x, y, items, _ = build_sequences(*columns, torch.arange(len(train)), max_len=request["length"])
    net = FlatSASRecNet(
        len(items), request["dim"], request["blocks"], request["heads"], request["length"], request["dropout"]
    )
    negatives = _NegativeSampler(len(items), request["negatives"]) if request["loss"] == "sampled_softmax" else None
    loader = DataLoader(SequenceBatchDataset(x, y, transform=negatives), request["batch_users"], shuffle=True)
    fitting = trainer(request["epochs"])
    fitting.fit(FlatTraining(net, 0.001), loader)
    fit = time.perf_counter() - started
    clock = next(one for one in fitting.callbacks if isinstance(one, EpochClock))
    started = time.perf_counter()
    return {
        "epoch_seconds": clock.seconds,
        "fit_seconds": fit,
        "steps": len(loader),
        "parameters": sum(one.numel() for one in net.parameters()),
        "metrics": measure_flat(net, items.numpy(), known, test, request["length"]),
        "measure_seconds": time.perf_counter() - started,
    }


@torch.no_grad()
def measure_flat(
    net: FlatSASRecNet, items: np.ndarray, known: pd.DataFrame, test: pd.DataFrame, length: int
) -> dict[str, float]:
    """HR@10 and NDCG@10 over all items of the training events, what the user has seen left out."""
    net.eval()
    histories = {user: own.to_numpy() for user, own in known.groupby(Columns.User)[Columns.Item]}
    every = net.all_item_embeddings()
    ranks = []
    for user, wanted in zip(test[Columns.User], test[Columns.Item], strict=True):
        places = np.searchsorted(items, histories[user]).clip(max=len(items) - 1)
        seen = places[items[places] == histories[user]]
        target = int(np.searchsorted(items, wanted))
        if target == len(items) or items[target] != wanted:
            continue
        line = torch.zeros(1, length, dtype=torch.long)
        newest = torch.from_numpy(seen[-length:] + 1)
        line[0, length - len(newest) :] = newest
        scores = (net.encode_last(line) @ every.T)[0]
        own = scores[target].clone()
        scores[torch.from_numpy(seen)] = -torch.inf
        ranks.append(int((scores > own).sum()))
    hits = np.array([rank for rank in ranks if rank < K], np.float64)
    return {"hr@10": len(hits) / len(test), "ndcg@10": float((1 / np.log2(hits + 2)).sum()) / len(test)}


def fit_model(request: dict[str, Any], known: pd.DataFrame, test: pd.DataFrame) -> dict[str, Any]:
    """Fit SASRecModel or HSTUModel, and measure it."""
    model = make(request)
    started = time.perf_counter()
    model.fit(Dataset.construct(known[known["part"] == 0].drop(columns="part")))
    fit = time.perf_counter() - started
    clock = next(one for one in model.fit_trainer.callbacks if isinstance(one, EpochClock))
    started = time.perf_counter()
    metrics = measure(model, known.drop(columns="part"), test.drop(columns="part"))
    return {
        "epoch_seconds": clock.seconds,
        "fit_seconds": fit,
        "steps": len(model.data_preparator.get_dataloader_train()),
        "parameters": sum(one.numel() for one in model.torch_model.parameters()),
        "measure_seconds": time.perf_counter() - started,
        "metrics": metrics,
    }


def main(request_file: str, answer_file: str) -> None:
    """Answer one request."""
    warnings.simplefilter("ignore")
    request = json.loads(Path(request_file).read_text(encoding="utf-8"))
    torch.set_num_threads(request["threads"])
    seed_everything(request["seed"])
    data = np.load(request["data"])
    events = pd.DataFrame(
        {
            Columns.User: data["user"],
            Columns.Item: data["item"],
            Columns.Datetime: pd.to_datetime(data["seconds"], unit="s"),
            Columns.Weight: 1.0,
        }
    )
    events["part"] = data["part"]
    known, test = events[events["part"] < 2], events[events["part"] == 2].reset_index(drop=True)
    answer = (fit_flat if request["model"] == "flat" else fit_model)(request, known, test)
    counts = events[events["part"] == 0].groupby(Columns.User).size()
    answer["targets"] = int((counts.clip(upper=request["length"] + 1) - 1).sum())
    answer["versions"] = {name: metadata.version(name) for name in ("rectools", "pytorch-lightning", "torch", "numpy")}
    Path(answer_file).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
