"""How clients connect."""

CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # A host that was restarted shall be found again at once, not after gRPC's two minutes
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
    # A proxy from the environment has no place between hosts of one fleet
    ("grpc.enable_http_proxy", 0),
)
