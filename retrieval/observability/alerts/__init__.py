"""Alerts: what people are told, by webhook or by a command, when nobody is watching."""

from typing import TYPE_CHECKING

from retrieval.lazy import lazy_names

if TYPE_CHECKING:
    from retrieval.observability.alerts.alert import Alert
    from retrieval.observability.alerts.config import AlertsConfig
    from retrieval.observability.alerts.sending import Delivery, send_alert

__all__ = ["Alert", "AlertsConfig", "Delivery", "send_alert"]

__getattr__ = lazy_names(
    __name__,
    {
        "retrieval.observability.alerts.alert": ("Alert",),
        "retrieval.observability.alerts.config": ("AlertsConfig",),
        "retrieval.observability.alerts.sending": ("Delivery", "send_alert"),
    },
)
