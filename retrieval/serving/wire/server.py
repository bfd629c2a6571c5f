"""What every service of this package shares: limits, health, reflection, and a stop that lets calls finish."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from retrieval.errors import UnavailableError

_log = logging.getLogger(__name__)
_SPARE_THREADS = 4  # for health and reflection while every other thread waits


class GrpcServer:
    """A gRPC server with health and reflection.

    Health: "" says that the process answers; the service's own name, that it is ready to do its work.
    """

    def __init__(
        self,
        service: str,
        add: Callable[[grpc.Server], None],
        *,
        address: str,
        threads: int,
        max_waiting: int,
        max_message_mib: int,
    ) -> None:
        """Bind `service`, which `add` adds to the server, to `address` (host:port). Raises UnavailableError."""
        self._service = service
        self._pool = ThreadPoolExecutor(threads + _SPARE_THREADS, thread_name_prefix="grpc")
        self._server = grpc.server(
            self._pool,
            options=[
                ("grpc.max_receive_message_length", max_message_mib << 20),
                ("grpc.max_send_message_length", -1),
                # Two processes on one port would share its calls without anybody noticing
                ("grpc.so_reuseport", 0),
            ],
            maximum_concurrent_rpcs=threads + max_waiting,
        )
        add(self._server)
        self._health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection([service, health.SERVICE_NAME, reflection.SERVICE_NAME], self._server)
        self.set_ready(False)
        try:
            self.port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise UnavailableError(f"can't listen on {address}: {error}; is the port taken?") from error
        self.address = f"{address.rpartition(':')[0]}:{self.port}"

    def start(self) -> None:
        """Begin to answer."""
        self._server.start()
        self._health.set("", health_pb2.HealthCheckResponse.SERVING)
        _log.info("listening on %s", self.address)

    def set_ready(self, ready: bool) -> None:
        """Say in the health of the service whether it can do its work."""
        states = health_pb2.HealthCheckResponse
        self._health.set(self._service, states.SERVING if ready else states.NOT_SERVING)

    def stop(self, drain_s: float) -> None:
        """Take no new calls, let those under way finish for `drain_s` seconds, then close."""
        self._health.enter_graceful_shutdown()
        self._server.stop(drain_s).wait()
        self._pool.shutdown(wait=False)


def wait_for_signal(signals: Sequence[signal.Signals] = (signal.SIGTERM, signal.SIGINT)) -> signal.Signals:
    """Block until one of `signals` arrives; a second one ends the process at once."""
    arrived = threading.Event()
    received: list[signal.Signals] = []

    def note(number: int, _frame: object) -> None:
        received.append(signal.Signals(number))
        arrived.set()
        for each in signals:
            signal.signal(each, signal.SIG_DFL)

    for each in signals:
        signal.signal(each, note)
    arrived.wait()
    _log.info("stopping after %s", received[0].name)
    return received[0]
