"""Logs, progress, alerts: what people see while work goes on, and are told when it does not."""

from typing import TYPE_CHECKING

from retrieval.lazy import lazy_names

if TYPE_CHECKING:
    from retrieval.observability.logs import set_up_logs
    from retrieval.observability.progress import SILENT, Reached, Tracker, told_to, track

__all__ = ["SILENT", "Reached", "Tracker", "set_up_logs", "told_to", "track"]

__getattr__ = lazy_names(
    __name__,
    {
        "retrieval.observability.logs": ("set_up_logs",),
        "retrieval.observability.progress": ("SILENT", "Reached", "Tracker", "told_to", "track"),
    },
)
