"""Logs and progress: what people see while work goes on."""

from typing import TYPE_CHECKING

from retrieval.lazy import lazy_names

if TYPE_CHECKING:
    from retrieval.observability.logs import set_up_logs
    from retrieval.observability.progress import SILENT, Tracker, track

__all__ = ["SILENT", "Tracker", "set_up_logs", "track"]

__getattr__ = lazy_names(
    __name__,
    {
        "retrieval.observability.logs": ("set_up_logs",),
        "retrieval.observability.progress": ("SILENT", "Tracker", "track"),
    },
)
