"""Runs inside the peer's environment: fit one of RecTools' models, time its epochs, measure it on the test targets.

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
from pytorch_lightning import Callback, Trainer, seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.dataset.context import get_context
from rectools.models import HSTUModel, SASRecModel
from rectools.models.nn.item_net import IdEmbeddingsItemNet

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
        "loss": "sampled_softmax",
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
    part = data["part"]
    model = make(request)
    started = time.perf_counter()
    model.fit(Dataset.construct(events[part == 0]))
    fit = time.perf_counter() - started
    clock = next(one for one in model.fit_trainer.callbacks if isinstance(one, EpochClock))
    counts = events[part == 0].groupby(Columns.User).size()
    targets = (counts.clip(upper=request["length"] + 1) - 1).sum()
    started = time.perf_counter()
    metrics = measure(model, events[part < 2], events[part == 2].reset_index(drop=True))
    answer = {
        "epoch_seconds": clock.seconds,
        "fit_seconds": fit,
        "targets": int(targets),
        "steps": len(model.data_preparator.get_dataloader_train()),
        "parameters": sum(one.numel() for one in model.torch_model.parameters()),
        "measure_seconds": time.perf_counter() - started,
        "metrics": metrics,
        "versions": {name: metadata.version(name) for name in ("rectools", "pytorch-lightning", "torch", "numpy")},
    }
    Path(answer_file).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
