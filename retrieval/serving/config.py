"""Settings of `[serving]`."""

from __future__ import annotations

from pydantic import Field

from retrieval.config import Section

MAX_K = 2000
"""The most candidates that any request may ask for."""


class ServingConfig(Section):
    """How the services answer. Addresses to listen on are flags only: loopback unless one says otherwise."""

    candidates_port: int = Field(50051, ge=0, le=65535, description="Port of the candidate service; 0 = a free one.")
    ann_port: int = Field(
        0, ge=0, le=65535, description="First port of the ANN hosts, counted up from there; 0 = free ones."
    )
    replicas: int = Field(1, ge=1, le=64, description="ANN hosts per shard that `serve all` starts.")
    hosts: tuple[str, ...] = Field(
        (), description="Addresses (host:port) of ANN hosts, beside those that the registry knows."
    )
    towers_kept: int = Field(
        3, ge=1, le=64, description="The latest so many user towers stay loaded, beside any that a live host needs."
    )
    tower_threads: int = Field(1, ge=1, le=256, description="Threads of one user tower's computation.")
    user_store: str = Field("users.lmdb", description="Folder of the user store, relative to the workspace.")
    user_store_gib: int = Field(
        64, ge=1, le=65536, description="The most that the user store may grow to; reserves addresses, not disk."
    )
    threads: int = Field(
        64, ge=2, le=1024, description="Requests that the candidate service works on at once; others queue."
    )
    search_threads: int = Field(4, ge=1, le=256, description="Searches that an ANN host works on at once.")
    max_waiting: int = Field(
        1024, ge=16, le=65536, description="Requests that may wait; further ones are refused with RESOURCE_EXHAUSTED."
    )
    max_k: int = Field(MAX_K, ge=1, le=MAX_K, description="The most candidates that one request may ask for.")
    max_history: int = Field(20_000, ge=1, le=1_000_000, description="The longest history that a request may bring.")
    max_batch_users: int = Field(1000, ge=1, le=10_000, description="The most requests in one batch call.")
    max_batch_candidates: int = Field(
        60_000,
        ge=1,
        le=20_000_000,
        description="The most candidates that one batch call may ask for in all.",
    )
    max_answer_mib: int = Field(
        4,
        ge=1,
        le=512,
        description="The largest batch of answers that is sent; a larger one is refused. Clients read 4 MiB unless "
        "told otherwise (grpc.max_receive_message_length).",
    )
    strict_inputs: bool = Field(
        False,
        description="Refuse a request whose context or profile has a column that no feature reads, or NaN; "
        "otherwise the answer names them.",
    )
    exploration: float = Field(
        0.0,
        ge=0.0,
        le=0.5,
        description="Share of an answer's places that goes to new items, which training never met, even where others "
        "score higher; rounded down, 0 = none. Costs a second search.",
    )
    max_message_mib: int = Field(16, ge=1, le=512, description="The largest message that is accepted.")
    micro_batch: int = Field(
        64, ge=1, le=1024, description="The most requests that share one tower call; 1 = each on its own."
    )
    batches_in_flight: int = Field(
        2, ge=1, le=64, description="Micro-batches worked on at once; while all are busy, arriving requests gather."
    )
    deadline_ms: int = Field(2000, ge=1, le=600_000, description="Time for a request whose caller sets no deadline.")
    max_deadline_ms: int = Field(
        60_000, ge=1, le=3_600_000, description="The most time for any request, whatever its caller allows."
    )
    search_timeout_ms: int = Field(
        500, ge=1, le=600_000, description="An ANN host that is silent for so long counts as lost; another is asked."
    )
    metadata_ttl_ms: int = Field(
        1000, ge=10, le=600_000, description="A host that has not been heard for so long is asked what it serves."
    )
    takedowns: str = Field(
        "",
        description="File of item ids that are never answered, one a line, relative to the workspace; "
        "ANN hosts look for changes every second. Empty: none.",
    )
    heartbeat_s: float = Field(2.0, gt=0, le=3600, description="How often a process reports to the registry.")
    reconcile_s: float = Field(
        5.0, gt=0, le=3600, description="How often an ANN host compares its build with the one deployed."
    )
    drain_s: float = Field(10.0, ge=0, le=3600, description="At the end, so long may requests under way take.")
