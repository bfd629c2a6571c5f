"""Logs and progress: what people see while work goes on."""

from retrieval.observability.logs import set_up_logs
from retrieval.observability.progress import SILENT, Tracker, track

__all__ = ["SILENT", "Tracker", "set_up_logs", "track"]
