"""An alert handed to a program."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress

from retrieval.observability.alerts.alert import Alert
from retrieval.observability.alerts.config import AlertsConfig
from retrieval.observability.alerts.delivery import HopelessError, TryAgainError


def run(alert: Alert, config: AlertsConfig) -> None:
    """Run the command, the alert on its standard input; what it prints is dropped.

    Raises TryAgainError (took too long: it and what it started are killed; or ended with another status than 0),
    HopelessError (can't be run).
    """
    try:
        process = subprocess.Popen(  # noqa: S603 - the settings' own command
            config.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
    except (OSError, ValueError) as error:
        raise HopelessError(f"can't be run ({type(error).__name__})") from None
    with process:
        try:
            process.communicate(alert.as_json(), timeout=config.timeout_s)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise TryAgainError(f"took longer than {config.timeout_s:g} s") from None
    if process.returncode:
        raise TryAgainError(f"ended with {process.returncode}")
