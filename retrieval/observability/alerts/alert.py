"""An alert as it is sent."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

MESSAGE_AT_MOST = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One thing that happened; the same `id` again is the same alert sent twice. Times are ISO 8601, UTC."""

    id: str
    kind: str
    model: str
    job: int
    message: str
    at: str

    def as_json(self) -> bytes:
        """The fields, and a `text` for people, which chat services show."""
        told = asdict(self) | {"text": f"retrieval: {self.message}"[:MESSAGE_AT_MOST]}
        return json.dumps(told, ensure_ascii=False).encode()
