"""Settings of `[alerts]`."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from retrieval.config import Section


class AlertsConfig(Section):
    """Who is told when a scheduled job was refused by a gate, failed, or was taken over from a process that died."""

    webhook: str = Field(
        "",
        repr=False,
        description="An http or https URL to which each alert is posted as JSON, with a `text` that chat services "
        "show; never logged. RETRIEVAL_ALERTS__WEBHOOK keeps it out of this file.",
    )
    webhook_token: str = Field(
        "",
        repr=False,
        description="Sent with it as `Authorization: Bearer …`; never logged. RETRIEVAL_ALERTS__WEBHOOK_TOKEN keeps it "
        "out of this file.",
    )
    command: tuple[str, ...] = Field(
        (),
        repr=False,
        description="A program and its arguments, run for each alert with the JSON on its standard input.",
    )
    on: tuple[Literal["refused", "failed", "taken_over"], ...] = Field(
        ("refused", "failed", "taken_over"), description="What is worth an alert."
    )
    timeout_s: float = Field(10.0, gt=0, le=600, description="How long the webhook, or the command, may take.")
    attempts: int = Field(6, ge=1, le=100, description="How often an alert is tried before it is given up.")
    first_wait_s: float = Field(
        2.0, gt=0, le=3600, description="Wait before it is tried again; twice as long each time, ten minutes at most."
    )

    @model_validator(mode="after")
    def _can_be_called(self) -> AlertsConfig:
        # said of the whole section: an error about one key would show what was found, and this is secret
        if self.webhook and not _is_url(self.webhook):
            raise ValueError("webhook is not a URL of http:// or https:// with a host")
        if not self.webhook_token.isprintable() or not self.webhook_token.isascii():
            raise ValueError("webhook_token holds characters that no header may")
        if self.webhook_token and not self.webhook:
            raise ValueError("webhook_token without a webhook")
        if self.command and not self.command[0]:
            raise ValueError("command names no program")
        return self

    @property
    def somebody(self) -> bool:
        """Whether anybody is told at all."""
        return bool(self.webhook or self.command)


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return (
            parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0 and text.isprintable()
        )
    except ValueError:
        return False
