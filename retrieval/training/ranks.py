"""The processes that train one model together: each takes its part of every step, and all take the same step.

All draw the same batch from (seed, epoch, step); process r of R computes every R-th window of it, against candidates
drawn from the targets of the whole batch, dropping what one process would drop of these windows. Gradients are summed
in one exchange, so weights and optimisers stay equal; loss and weights don't depend on R, but for the order of sums.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from retrieval.errors import UnavailableError

_RENDEZVOUS_TIMEOUT = timedelta(seconds=120)
# The others wait while the first validates. One that dies is noticed at once, whatever this is.
_COLLECTIVE_TIMEOUT = timedelta(hours=2)


class Ranks:
    """This process among those of one training: `number` of `count`, `here` of them on this machine, and its device."""

    def __init__(
        self,
        number: int = 0,
        count: int = 1,
        device: torch.device | None = None,
        *,
        here: int = 1,
        group: dist.ProcessGroup | None = None,
    ) -> None:
        self.number, self.count, self.here = number, count, here
        self.device = device or torch.device("cpu")
        self._group = group

    @property
    def first(self) -> bool:
        """The one that validates, writes and reports."""
        return self.number == 0

    def sum_gradients(self, weights: Sequence[nn.Parameter], loss: Tensor) -> Tensor:
        """Put the sum over all processes into every weight's gradient; returns the sum of their losses.

        A weight that has a gradient nowhere keeps none. Raises UnavailableError where a process is gone.
        """
        if self.count == 1:
            return loss
        sizes = [weight.numel() for weight in weights]
        gradients = [weight.new_zeros(weight.numel()) if weight.grad is None else weight.grad for weight in weights]
        present = torch.tensor([weight.grad is not None for weight in weights], dtype=loss.dtype)
        parts = [*(gradient.reshape(-1) for gradient in gradients), present.to(loss.device), loss.detach().reshape(1)]
        flat = torch.cat(parts)
        self._exchange(flat, dist.ReduceOp.SUM)
        *summed, present, loss = torch.split(flat, [*sizes, len(sizes), 1])
        for weight, gradient, there in zip(weights, summed, present.tolist(), strict=True):
            weight.grad = gradient.view_as(weight) if there else None
        return loss[0]

    def broadcast_first(self, value: float) -> float:
        """The first process's value, in all of them."""
        if self.count == 1:
            return value
        sent = torch.tensor([value if self.first else 0.0], dtype=torch.float64, device=self.device)
        self._exchange(sent, dist.ReduceOp.SUM)
        return float(sent[0])

    def check_equal(self, weights: Sequence[Tensor], steps: int) -> None:
        """Raises UnavailableError where a process has other weights, or stands at another step."""
        if self.count == 1:
            return
        with torch.no_grad():
            sums = [part for w in weights for part in (w.sum(dtype=torch.float64), w.abs().sum(dtype=torch.float64))]
            own = torch.stack([torch.tensor(float(steps), dtype=torch.float64, device=self.device), *sums])
            both = torch.cat([own, -own])
            self._exchange(both, dist.ReduceOp.MAX)
        most, least = both[: len(own)], -both[len(own) :]
        if not torch.equal(most, least):
            where = "stand at different steps" if most[0] != least[0] else "have come to different weights"
            raise UnavailableError(
                f"the {self.count} training processes {where} (steps {int(least[0])} to {int(most[0])}); "
                "all must see the same run folder, data and settings"
            )

    def _exchange(self, values: Tensor, how: dist.ReduceOp.RedOpType) -> None:
        try:
            dist.all_reduce(values, how, group=self._group)
        except RuntimeError as error:
            raise UnavailableError(
                f"training process {self.number + 1} of {self.count} lost the others: {error}; "
                "run again to go on from the last checkpoint"
            ) from error


def launched_elsewhere() -> bool:
    """Whether torchrun, or something like it, has started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


@contextmanager
def joined_from_environment(device: torch.device) -> Iterator[Ranks]:
    """Join by RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, as torchrun sets them."""
    number, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    with _group(device, "env://", number, count, here=int(os.environ.get("LOCAL_WORLD_SIZE", count))) as ranks:
        yield ranks


@contextmanager
def joined_on_this_machine(device: torch.device, rendezvous: Path, number: int, count: int) -> Iterator[Ranks]:
    """Join processes of one machine, which find each other by the file `rendezvous` and listen on loopback only.

    GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME name another interface.
    """
    loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), None)
    before = dict(os.environ)
    if loopback is not None:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)
        os.environ.setdefault("NCCL_SOCKET_IFNAME", loopback)
    try:
        with _group(device, f"file://{rendezvous}", number, count, here=count) as ranks:
            yield ranks
    finally:
        for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            if name not in before:
                os.environ.pop(name, None)


@contextmanager
def _group(device: torch.device, where: str, number: int, count: int, *, here: int) -> Iterator[Ranks]:
    backend = "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
        backend = "nccl"
    try:
        dist.init_process_group(backend, init_method=where, rank=number, world_size=count, timeout=_RENDEZVOUS_TIMEOUT)
        group = dist.new_group(timeout=_COLLECTIVE_TIMEOUT)
    except RuntimeError as error:
        raise UnavailableError(f"training process {number + 1} of {count} did not meet the others: {error}") from error
    try:
        yield Ranks(number, count, device, here=here, group=group)
    finally:
        dist.destroy_process_group()
