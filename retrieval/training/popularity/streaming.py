"""The streaming estimate of Yi et al. 2019: an item that comes back every B examples has the probability 1 / B.

B is a moving average of the gap between two appearances of an item (their Algorithm 2), held in arrays that items are
hashed into, so that nothing grows with the number of items. Two items that share a bucket look like one more popular
item; with several hashes the largest B, from the emptiest of an item's buckets, is the estimate (their Algorithm 3).

Two things are settled differently here. *Time is counted in examples, not in batches*: the paper's 1 / B is the
probability that a batch holds the item, which for batches of thousands of examples is 1 for every popular item, while
the correction needs the expected number of draws. In a batch of n examples an item that comes c times updates B once,
by its mean gap and with the weight of c updates, 1 - (1 - α)^c; one example a batch gives the paper's recursion. *The
first appearances are averaged plainly*: the weight is at least c over the appearances so far, so that the estimate
starts at what was seen and not at an arbitrary B.
"""

from __future__ import annotations

import numpy as np

from retrieval.arrays import Ints, Shares
from retrieval.errors import ArtifactError
from retrieval.training.popularity.base import State

# odd multipliers for multiply-shift hashing; fixed, so that a resumed run hashes as it did before
_MULTIPLIERS = np.random.default_rng(0x5EED).integers(2**62, size=16, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


def streaming(counts: Ints, *, alpha: float, buckets: int, hashes: int) -> Streaming:
    """A moving average of the gap between an item's appearances, for the items that `counts` int64 [N] has seen."""
    return Streaming(np.flatnonzero(counts), alpha=alpha, buckets=buckets, hashes=hashes)


class Streaming:
    """Estimates of 1 / B; `buckets` is a power of two, `alpha` the weight of one new gap, `seen` int64 items."""

    def __init__(self, seen: Ints, *, alpha: float, buckets: int, hashes: int) -> None:
        self._seen_items = seen
        self._alpha = alpha
        self._shift = np.uint64(64 - (buckets.bit_length() - 1))
        self._multipliers = _MULTIPLIERS[:hashes, None]
        # one flat array per quantity; bucket j of hash i stands at i · buckets + j
        self._first = (np.arange(hashes, dtype=np.int64) * buckets)[:, None]
        self._size = hashes * buckets
        self._clock = 0
        self._last = np.zeros(self._size, np.int64)
        self._gap = np.zeros(self._size, np.float64)
        self._times = np.zeros(self._size, np.int64)

    @property
    def seen(self) -> Ints:
        """Catalog items with a target in the training window."""
        return self._seen_items

    def share(self, items: Ints) -> Shares:
        """1 / B; of an item that never came, one over the examples so far: it is at most that probable."""
        gaps = self._gap[self._buckets(items)]
        longest = np.where(gaps > 0, gaps, self._clock + 1.0).max(0)
        share: Shares = 1.0 / np.maximum(longest, 1.0)
        return share

    def observe(self, targets: Ints, at_us: int | None = None) -> None:  # noqa: ARG002
        """Take in a batch's targets [P], in order."""
        if not len(targets):
            return
        # buckets of all hashes side by side; the last appearance of each bucket is the one that a repeat overwrites
        buckets = self._buckets(targets)
        at = np.broadcast_to(np.arange(1, len(targets) + 1), buckets.shape)
        touched, times = np.unique(buckets, return_counts=True)
        latest = self._last[touched]
        self._last[buckets.ravel()] = self._clock + at.ravel()
        mean_gap = (self._last[touched] - latest) / times
        self._times[touched] += times
        weight = np.maximum(1.0 - (1.0 - self._alpha) ** times, times / self._times[touched])
        self._gap[touched] += weight * (mean_gap - self._gap[touched])
        self._clock += len(targets)

    def state(self) -> State:
        """The clock, and the three arrays."""
        clock = np.array([self._clock], np.int64)
        return {"clock": clock, "last": self._last, "gap": self._gap, "times": self._times}

    def restore(self, state: State) -> None:
        """Take up what `state` gave. Raises ArtifactError where the arrays have another size."""
        if any(len(state[name]) != self._size for name in ("last", "gap", "times")):
            raise ArtifactError("the streaming estimate in the checkpoint has another size; train with --fresh")
        self._clock = int(state["clock"][0])
        self._last, self._times = state["last"].astype(np.int64), state["times"].astype(np.int64)
        self._gap = state["gap"].astype(np.float64)

    def _buckets(self, items: Ints) -> Ints:
        """Where each item stands, per hash [hashes, n]."""
        hashed = (items.astype(np.uint64) + np.uint64(1))[None, :] * self._multipliers
        return (hashed >> self._shift).astype(np.int64) + self._first
