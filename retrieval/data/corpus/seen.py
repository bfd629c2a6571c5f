"""What of a user's history can't be retrieved again."""

from __future__ import annotations

from dataclasses import dataclass

from retrieval.types import HOUR_US

_EVER = -(2**63)


@dataclass(frozen=True, slots=True)
class Seen:
    """Items that a user engaged with are left out: all of them, or those of the last `hours`; or they are `allowed`."""

    allowed: bool = False
    hours: float | None = None

    @property
    def within_us(self) -> int | None:
        """How long (µs) before a request an event leaves its item out; None: whenever it was."""
        return None if self.hours is None else round(self.hours * HOUR_US)

    def since(self, at_us: int) -> int:
        """The first moment (µs) whose events leave their items out of what is asked at `at_us`, where they do."""
        return _EVER if self.within_us is None else at_us - self.within_us
