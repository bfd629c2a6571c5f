"""Sending an alert by every way that the settings name, again and again until it is delivered or given up."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from retrieval.backoff import Backoff
from retrieval.observability.alerts import command, webhook
from retrieval.observability.alerts.alert import Alert
from retrieval.observability.alerts.config import AlertsConfig
from retrieval.observability.alerts.delivery import HopelessError, TryAgainError

_log = logging.getLogger(__name__)
_LONGEST_WAIT_S = 600.0

Way = Callable[[Alert, AlertsConfig], None]
WAYS: Mapping[str, Way] = {"webhook": webhook.post, "command": command.run}
"""Ways to tell people, by the setting that asks for it."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """How sending ended: `sent` by every way; or not, `note` says why; or `stopped` before it was known."""

    sent: bool
    note: str = ""
    stopped: bool = False


def send_alert(alert: Alert, config: AlertsConfig, wait: Callable[[float], bool]) -> Delivery:
    """Send an alert by every way that the settings name. `wait` waits so many seconds, and is True once it is to end.

    Nothing secret is in the note: no URL, no argument, no answer's text.
    """
    failed = []
    for name, way in WAYS.items():
        if not getattr(config, name):
            continue
        why = _delivered(alert, config, name, way, wait)
        if why is None:
            return Delivery(sent=False, stopped=True)
        if why:
            failed.append(f"{name}: {why}")
    return Delivery(sent=not failed, note="; ".join(failed))


def _delivered(alert: Alert, config: AlertsConfig, name: str, way: Way, wait: Callable[[float], bool]) -> str | None:
    """Empty once it is delivered; why not, where it is given up; None where it is to end before that."""
    backoff = Backoff(first_s=config.first_wait_s, longest_s=_LONGEST_WAIT_S)
    for attempt in range(1, config.attempts + 1):
        try:
            way(alert, config)
        except HopelessError as error:
            _log.error("alert %s is given up: %s %s", alert.id, name, error)
            return str(error)
        except TryAgainError as error:
            if attempt == config.attempts:
                _log.error("alert %s is given up after %d attempts: %s %s", alert.id, attempt, name, error)
                return f"{error}, {attempt} times"
            seconds = backoff.wait_s(attempt)
            _log.warning("alert %s: %s %s; again in %.1f s", alert.id, name, error, seconds)
            if wait(seconds):
                return None
        else:
            return ""
    raise AssertionError("the last attempt returns")
