"""How long to wait before something that failed is tried again: longer each time, and not everywhere the same."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Waits of `first_s`, twice that, …, at most `longest_s`, each up to `jitter` (a share of it) shorter or longer.

    The jitter keeps processes that failed together, as when a server went away, from coming back together.
    """

    first_s: float
    longest_s: float
    jitter: float = 0.2

    def wait_s(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row (1 is the first)."""
        doublings = min(failures - 1, 60)  # 2**60 is longer than anyone waits, and no float overflows
        return spread(min(self.first_s * 2.0**doublings, self.longest_s), self.jitter)


def spread(seconds: float, share: float) -> float:
    """`seconds`, up to `share` of it shorter or longer, drawn evenly."""
    return seconds * random.uniform(1 - share, 1 + share)  # noqa: S311 - no secret
