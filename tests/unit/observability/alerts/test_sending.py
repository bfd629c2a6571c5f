from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from retrieval.errors import ConfigError
from retrieval.observability.alerts import Alert, AlertsConfig, send_alert
from retrieval.workflows.workspace import Workspace
from tests.tiny import make_workspace

ALERT = Alert(
    id="alert-7",
    kind="failed",
    model="feed",
    job=12,
    message="retrain of feed failed: no disk",
    at="2026-01-01T12:00:00Z",
)
SECRET = "hush-hush"


@dataclass
class Hook:
    """A real server: answers with `answers` in turn, the last one for ever; None: not at all."""

    answers: list[int | None]
    got: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    url: str = ""
    silent: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    found = Hook([204])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found.got.append((self.path, dict(self.headers), body))
            status = found.answers.pop(0) if len(found.answers) > 1 else found.answers[0]
            if status is None:
                found.silent.wait()
                return
            self.send_response(status)
            self.send_header("Location", f"{found.url}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield found
    found.silent.set()
    server.shutdown()
    server.server_close()
    thread.join()


class Waits:
    """Notes what would be waited, and says "end" after so many waits."""

    def __init__(self, end_after: int = 100) -> None:
        self.seconds: list[float] = []
        self._end_after = end_after

    def __call__(self, seconds: float) -> bool:
        self.seconds.append(seconds)
        return len(self.seconds) >= self._end_after


def test_a_webhook_gets_the_alert_as_json_with_its_token(hook: Hook) -> None:
    config = AlertsConfig(webhook=f"{hook.url}/services/{SECRET}", webhook_token="open sesame")
    assert send_alert(ALERT, config, Waits()).sent
    ((path, headers, body),) = hook.got
    assert path == f"/services/{SECRET}"
    assert headers["Authorization"] == "Bearer open sesame"
    assert headers["Content-Type"] == "application/json"
    assert headers["Idempotency-Key"] == "alert-7"
    assert body == {
        "id": "alert-7",
        "kind": "failed",
        "model": "feed",
        "job": 12,
        "message": "retrain of feed failed: no disk",
        "at": "2026-01-01T12:00:00Z",
        "text": "retrieval: retrain of feed failed: no disk",
    }


def test_a_server_in_trouble_is_tried_again_later_each_time(hook: Hook) -> None:
    hook.answers = [503, 429, 500, 200]
    waits = Waits()
    assert send_alert(ALERT, AlertsConfig(webhook=hook.url, first_wait_s=4.0), waits).sent
    assert len(hook.got) == 4
    assert {headers["Idempotency-Key"] for _, headers, _ in hook.got} == {"alert-7"}
    assert [round(seconds / (4.0 * 2**n)) for n, seconds in enumerate(waits.seconds)] == [1, 1, 1]


@pytest.mark.parametrize("status", [302, 400, 403, 404])
def test_an_answer_that_will_not_change_is_not_asked_for_again(hook: Hook, status: int) -> None:
    hook.answers = [status]
    waits = Waits()
    done = send_alert(ALERT, AlertsConfig(webhook=hook.url), waits)
    assert (done.sent, done.note) == (False, f"webhook: answered {status}")
    assert waits.seconds == []
    assert len(hook.got) == 1, "a redirect is not followed"


def test_a_server_that_does_not_answer_is_left_after_a_while(hook: Hook) -> None:
    hook.answers = [None, 200]
    assert send_alert(ALERT, AlertsConfig(webhook=hook.url, timeout_s=0.2), Waits()).sent
    assert len(hook.got) == 2


def test_it_is_given_up_after_so_many_attempts_and_nothing_secret_is_told(
    hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    hook.answers = [500]
    config = AlertsConfig(
        webhook=f"{hook.url}/{SECRET}", webhook_token=SECRET, command=("/no/such", SECRET), attempts=3
    )
    with caplog.at_level(logging.DEBUG):
        done = send_alert(ALERT, config, Waits())
    assert done.note == "webhook: answered 500, 3 times; command: can't be run (FileNotFoundError)"
    assert len(hook.got) == 3
    assert "again in" in caplog.text
    for said in (caplog.text, done.note, repr(config)):
        assert SECRET not in said
        assert hook.url not in said


def test_nobody_there_is_tried_again() -> None:
    waits = Waits()
    done = send_alert(ALERT, AlertsConfig(webhook=f"http://127.0.0.1:1/{SECRET}", attempts=2), waits)
    assert done.note == "webhook: no connection (ConnectionRefusedError), 2 times"
    assert len(waits.seconds) == 1


def test_it_ends_when_it_is_to_end(hook: Hook) -> None:
    hook.answers = [500]
    done = send_alert(ALERT, AlertsConfig(webhook=hook.url), Waits(end_after=2))
    assert done.stopped
    assert not done.sent
    assert len(hook.got) == 2


def test_a_command_gets_it_on_its_standard_input(tmp_path: Path) -> None:
    out = tmp_path / "got.json"
    code = f"import pathlib, sys; pathlib.Path({str(out)!r}).write_bytes(sys.stdin.buffer.read())"
    assert send_alert(ALERT, AlertsConfig(command=(sys.executable, "-c", code)), Waits()).sent
    assert json.loads(out.read_text())["message"] == ALERT.message


def test_a_command_that_fails_is_run_again_one_that_hangs_is_killed_with_all_it_started(tmp_path: Path) -> None:
    tries, child = tmp_path / "tries", tmp_path / "child"
    fails = f"open({str(tries)!r}, 'a').write('x'); raise SystemExit(3)"
    done = send_alert(ALERT, AlertsConfig(command=(sys.executable, "-c", fails), attempts=2), Waits())
    assert (done.note, tries.read_text()) == ("command: ended with 3, 2 times", "xx")
    hangs = f"sleep 600 & echo $! > {child}; wait"
    config = AlertsConfig(command=("/bin/sh", "-c", hangs), attempts=1, timeout_s=5.0)
    assert send_alert(ALERT, config, Waits()).note == "command: took longer than 5 s, 1 times"
    number = int(child.read_text())
    by = time.monotonic() + 60
    while not is_gone(number):
        assert time.monotonic() < by
        time.sleep(0.01)


def is_gone(number: int) -> bool:
    try:
        return bool(psutil.Process(number).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize(
    "line",
    [
        f'webhook = "hush/{SECRET}"',
        f'webhook = "ftp://host/{SECRET}"',
        f'webhook = "https://host:nine/{SECRET}"',
        f'webhook_token = "{SECRET}"',
        f'webhook = "https://host/x"\nwebhook_token = "{SECRET}\\n"',
        f'command = ["", "{SECRET}"]',
    ],
)
def test_settings_that_can_not_work_are_refused_without_showing_them(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigError, match=r"retrieval\.toml.*alerts: ") as caught:
        make_workspace(tmp_path, f"[alerts]\n{line}\n")
    assert SECRET not in str(caught.value)


def test_a_webhook_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_workspace(tmp_path, "")
    assert not made.settings.alerts.somebody
    monkeypatch.setenv("RETRIEVAL_ALERTS__WEBHOOK", "https://hooks.example/T0/B1")
    assert Workspace.open(made.root).settings.alerts.webhook == "https://hooks.example/T0/B1"
