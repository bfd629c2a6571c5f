from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from retrieval.registry import Registry

MADE_BY = "anna@desk"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a server: RETRIEVAL_TEST_POSTGRES, or a private one started from this machine's binaries."""
    given = os.environ.get("RETRIEVAL_TEST_POSTGRES")
    if given:
        yield given
        return
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [
        Path(path) for path in [shutil.which("initdb")] if path
    ]
    if not found:
        pytest.skip("no PostgreSQL: RETRIEVAL_TEST_POSTGRES is not set, and no initdb is installed")
    yield from _private_server(found[-1].parent)


def _private_server(binaries: Path) -> Iterator[str]:
    # a short path outside pytest's: a Unix socket's path has 107 bytes at most, and another user must reach it
    folder = Path(tempfile.mkdtemp(prefix="rpg", dir="/tmp"))
    prefix = _as_other_user(folder)
    cluster = folder / "data"
    init = [str(binaries / "initdb"), "-D", str(cluster), "-U", "tester", "-A", "trust", "-E", "UTF8", "-N"]
    port = _free_port()
    options = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder} -c fsync=off -c max_connections=60"
    control = [str(binaries / "pg_ctl"), "-D", str(cluster), "-w", "-t", "60"]
    try:
        subprocess.run([*prefix, *init], check=True, capture_output=True, cwd=folder)
        start = [*prefix, *control, "-l", str(folder / "log"), "-o", options, "start"]
        subprocess.run(start, check=True, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        yield f"postgresql://tester:nothing-secret@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*prefix, *control, "-m", "immediate", "stop"], check=False, capture_output=True, cwd=folder)
        shutil.rmtree(folder, ignore_errors=True)


def _as_other_user(folder: Path) -> list[str]:
    """PostgreSQL refuses to run as root: run it as `postgres` (or `nobody`) then."""
    if os.geteuid() != 0:
        return []
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        if shutil.which("setpriv"):
            os.chown(folder, user.pw_uid, user.pw_gid)
            return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    pytest.skip("PostgreSQL can't run as root, and there is no setpriv or no other user to run it as")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'registry.db'}"


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """A database of its own for each test."""
    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
    yield postgres_server.rpartition("/")[0] + "/" + name
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest) -> str:
    """The same test on both databases."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def registry(url: str) -> Iterator[Registry]:
    opened = Registry.create(url, who=MADE_BY)
    yield opened
    opened.close()
