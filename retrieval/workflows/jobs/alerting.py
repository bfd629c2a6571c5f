"""Sends the alerts that stand in the registry, one after another, in the background."""

from __future__ import annotations

import logging
import threading
from types import TracebackType

from retrieval.errors import UnavailableError
from retrieval.observability.alerts import Alert, AlertsConfig, send_alert
from retrieval.registry import AlertRow, Registry

_log = logging.getLogger(__name__)
_LOOK_S = 2.0


class Alerting:
    """While the block runs, alerts of a model are sent. One that is cut short by its end is sent by the next leader."""

    def __init__(self, registry: Registry, model: str, config: AlertsConfig) -> None:
        self._registry, self._model, self._config = registry, model, config
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)

    def __enter__(self) -> Alerting:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join(timeout=self._config.timeout_s + 1)

    def _run(self) -> None:
        ended = False
        while not ended:
            try:
                self.send_due()
            except UnavailableError as error:
                _log.warning("alerts can't be looked for now: %s", error)
            ended = self._end.wait(_LOOK_S)

    def send_due(self) -> None:
        """Send what is due. Raises UnavailableError."""
        for row in self._registry.jobs.alerts(self._model, states=["due"]):
            if self._end.is_set():
                return
            if not self._config.somebody or row.kind not in self._config.on:
                self._registry.jobs.end_alert(row.id, "given_up", "[alerts] names nobody for it")
                continue
            done = send_alert(_alert(row), self._config, self._end.wait)
            if not done.stopped:
                self._registry.jobs.end_alert(row.id, "sent" if done.sent else "given_up", done.note)


def _alert(row: AlertRow) -> Alert:
    return Alert(
        id=f"{row.model}-alert-{row.id}",
        kind=row.kind,
        model=row.model,
        job=row.job,
        message=row.message,
        at=row.at.isoformat(),
    )
