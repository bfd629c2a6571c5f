"""An alert posted to a URL."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from typing import Any

from retrieval.observability.alerts.alert import Alert
from retrieval.observability.alerts.config import AlertsConfig
from retrieval.observability.alerts.delivery import HopelessError, TryAgainError

_TOO_MANY, _TIMEOUT = 429, 408


class _Unmoved(urllib.request.HTTPRedirectHandler):
    """A redirect would turn the POST into a GET without the alert, and send the token to who knows where."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow nothing; the answer is an error then."""


def post(alert: Alert, config: AlertsConfig) -> None:
    """POST the alert. Raises TryAgainError (no answer in time, 5xx, 429), HopelessError (any other status but 2xx)."""
    headers = {"Content-Type": "application/json", "Idempotency-Key": alert.id, "User-Agent": "retrieval"}
    if config.webhook_token:
        headers["Authorization"] = f"Bearer {config.webhook_token}"
    request = urllib.request.Request(config.webhook, alert.as_json(), headers, method="POST")  # noqa: S310 - see config
    try:
        with urllib.request.build_opener(_Unmoved).open(request, timeout=config.timeout_s):
            return
    except urllib.error.HTTPError as error:
        with error:
            status = error.code
        if status >= 500 or status in {_TOO_MANY, _TIMEOUT}:
            raise TryAgainError(f"answered {status}") from None
        raise HopelessError(f"answered {status}") from None
    except urllib.error.URLError as error:
        raise TryAgainError(f"no connection ({_kind(error.reason)})") from None
    except (OSError, http.client.HTTPException) as error:
        raise TryAgainError(f"no answer ({_kind(error)})") from None


def _kind(error: object) -> str:
    """What went wrong, without words that may hold the URL."""
    return type(error).__name__ if isinstance(error, BaseException) else "failed"
