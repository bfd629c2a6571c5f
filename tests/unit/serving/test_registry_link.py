from __future__ import annotations

import threading
from pathlib import Path

import pytest

from retrieval.backoff import Backoff
from retrieval.errors import UnavailableError
from retrieval.registry import Registry
from retrieval.serving.registry_link import RegistryLink

URL = "sqlite:///registry.db"
AT_ONCE = Backoff(first_s=0.0, longest_s=0.0)


def test_a_registry_file_that_is_moved_away_and_back_keeps_its_rows(tmp_path: Path) -> None:
    registry = Registry.create(URL, root=tmp_path)
    registry.reserve_version("feed")
    registry.close()
    held = RegistryLink(lambda: Registry.open(URL, root=tmp_path), retries=AT_ONCE)  # asked before it went
    assert held.ask(lambda opened: len(opened.list_versions("feed")), -1) == 1
    file, elsewhere = tmp_path / "registry.db", tmp_path / "elsewhere.db"
    file.rename(elsewhere)
    began = RegistryLink(
        lambda: Registry.open(URL, root=tmp_path), retries=AT_ONCE
    )  # a service that starts while it is away
    for link in (held, began, held, began):
        assert link.ask(lambda opened: len(opened.list_versions("feed")), -1) == -1
        assert link.ask(lambda opened: opened.reserve_version("feed").version, -1) == -1
        assert "registry.db" in link.error
    with pytest.raises(UnavailableError, match="put it back if it was moved"):  # a command
        Registry.open(URL, root=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["elsewhere.db"]
    elsewhere.rename(file)
    for link, expected in ((held, 1), (began, 1), (held, 1)):
        assert link.ask(lambda opened: len(opened.list_versions("feed")), -1) == expected
        assert link.error == ""
    assert began.ask(lambda opened: opened.reserve_version("feed").version, -1) == 2
    for link in (held, began):
        link.close()


def test_rows_survive_a_file_that_comes_and_goes_while_many_ask_and_write(tmp_path: Path) -> None:
    Registry.create(URL, root=tmp_path).close()
    file, elsewhere = tmp_path / "registry.db", tmp_path / "elsewhere.db"
    stop, given = threading.Event(), list[int]()

    def serve() -> None:
        link = RegistryLink(lambda: Registry.open(URL, root=tmp_path), retries=AT_ONCE)
        while not stop.is_set():
            number = link.ask(lambda opened: opened.reserve_version("feed").version, 0)
            if number:
                given.append(number)
        link.close()

    threads = [threading.Thread(target=serve) for _ in range(3)]
    for thread in threads:
        thread.start()
    pause = threading.Event()
    for _ in range(8):
        pause.wait(0.05)
        file.rename(elsewhere)
        pause.wait(0.02)
        assert not file.exists()
        elsewhere.rename(file)
    stop.set()
    for thread in threads:
        thread.join()
    registry = Registry.open(URL, root=tmp_path)
    assert {row.version for row in registry.list_versions("feed")} >= set(given)
    registry.close()
    assert given


def test_a_registry_that_is_away_is_not_asked_every_time(tmp_path: Path) -> None:
    Registry.create(URL, root=tmp_path).close()
    attempts = list[bool]()
    away = True

    def connect() -> Registry:
        attempts.append(away)
        if away:
            raise UnavailableError("away")
        return Registry.open(URL, root=tmp_path)

    link = RegistryLink(connect, retries=Backoff(first_s=0.2, longest_s=0.2, jitter=0.0))
    for _ in range(50):
        assert link.ask(lambda _: 1, 0) == 0
    assert attempts == [True]
    away = False
    assert link.ask(lambda _: 1, 0) == 0
    assert link.error == "away"
    threading.Event().wait(0.25)
    assert link.ask(lambda _: 1, 0) == 1
    assert link.error == ""
    link.close()
