"""The event service as it runs: log, user store and server, started and stopped together."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from retrieval.data.config import DataConfig
from retrieval.data.event_log.config import EventsConfig
from retrieval.data.event_log.log import EventLog
from retrieval.data.reading.forgotten import ForgottenFile, forgotten_file
from retrieval.serving.config import ServingConfig
from retrieval.serving.events.recorder import LogRecorder
from retrieval.serving.events.servicer import SERVICE, EventServicer
from retrieval.serving.users.store import UserStore
from retrieval.serving.wire.server import GrpcServer
from retrieval.v1 import events_pb2_grpc

_WAITING = 64


class EventService:
    """An event service, listening. Use: `start()`, then `stop()`."""

    def __init__(
        self, config: EventsConfig, serving: ServingConfig, data: DataConfig, root: Path, *, address: str
    ) -> None:
        """Open the log and the user store of the workspace at `root`, and bind to `address` (host:port).

        Raises ConflictError where another process records, NotFoundError without a user store, ConfigError, DataError,
        ArtifactError, UnavailableError.
        """
        with ExitStack() as opened:
            users = UserStore.open(root / serving.user_store, gib=serving.user_store_gib, write=True)
            opened.callback(users.close)
            log = EventLog(config, data, root)
            opened.callback(log.close)
            forgotten = ForgottenFile(forgotten_file(data, root))
            recorder = LogRecorder(log, users, history_events=config.history_events, forgotten=forgotten)
            servicer = EventServicer(recorder, config)
            self._server = GrpcServer(
                SERVICE,
                lambda server: events_pb2_grpc.add_EventServiceServicer_to_server(servicer, server),
                address=address,
                threads=config.streams,
                max_waiting=_WAITING,
                max_message_mib=serving.max_message_mib,
            )
            self._held = opened.pop_all()
        self._drain_s = serving.drain_s
        self.address = self._server.address

    def start(self) -> None:
        """Begin to answer."""
        self._server.start()
        self._server.set_ready(True)

    def stop(self) -> None:
        """Let messages under way be recorded, then make a segment of what is there, and close."""
        self._server.stop(self._drain_s)
        self._held.close()
