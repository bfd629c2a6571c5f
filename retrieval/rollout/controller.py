"""Who drives a deployment: the mark that a controller leaves in the registry, and whether it still runs."""

from __future__ import annotations

import os
import re
import socket

from retrieval.registry import DeploymentRow

_MARK = re.compile(r"controller (?P<pid>\d+) on (?P<host>\S+) since (?P<since>\d+)")


def controller_mark() -> str:
    """Names this process so that another one on the same machine can tell whether it still runs."""
    import psutil

    return f"controller {os.getpid()} on {socket.gethostname()} since {int(psutil.Process().create_time())}"


def was_interrupted(deployment: DeploymentRow) -> bool:
    """Whether the process that drove a running deployment is surely gone. False where that can't be told from here."""
    mark = _MARK.search(deployment.note)
    if mark is None or mark["host"] != socket.gethostname():
        return False
    import psutil

    try:
        return abs(psutil.Process(int(mark["pid"])).create_time() - int(mark["since"])) > 2
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False
