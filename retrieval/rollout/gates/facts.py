"""What gates are shown: plain facts, made by the steps of the retraining chain and kept in the registry as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaFacts:
    """Files and columns that the settings name."""

    faults: tuple[str, ...]
    """What is not there, or of no use, a sentence each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts:
    """A log as of a moment, its newest window beside those before it, and beside the log of the live version."""

    as_of_us: int
    last_us: int
    rows: int
    """Read, those refused among them."""
    rejected: Mapping[str, int]
    events: int
    window_hours: float
    window_events: int
    """In the window that ends with the last event."""
    usual_events: float | None
    """The median of the windows before it; None where the log isn't long enough to tell."""
    drift: Mapping[str, float]
    """Population stability index by column (`action` among them), the newest window against those before it."""
    repeated: float | None = None
    """Share of the window's events whose user had done the very same with the item before in it; None where few."""
    usual_repeated: float | None = None
    """The median of the windows before it."""
    before_1973: int = 0
    """Events whose time lies before 1973, in a log that is read long after that."""
    live: str = ""
    """The live version, empty where there is none or nothing is known of its log."""
    live_events: int | None = None
    """Events of its log."""
    live_drift: Mapping[str, float] = field(default_factory=dict)
    """As `drift`, against the newest window of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A version's metric minus another's on the same targets, with the bounds that hold 95 of 100 resamples."""

    other: str
    metric: str
    targets: int
    slice: str
    """Which targets, in words."""
    ours: float
    theirs: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceGap:
    """A version's metric beside the live version's, within one slice of the targets."""

    column: str
    value: str
    metric: str
    targets: int
    ours: float
    theirs: float
    high: float
    """Upper bound of the difference; the bounds of all slices hold together in 95 of 100 resamples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """Item vectors of a version, those of items that it knows by their id."""

    count: int
    dim: int
    longest: float
    shortest: float
    """Their lengths."""
    effective_rank: float
    """exp of the entropy of the normalised singular values, of centred vectors (Roy and Vetterli 2007)."""
    duplicates: float
    """Share of vectors that another item has, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """A trained version as measured, beside the live one and popularity."""

    version: str
    losses: tuple[float | None, ...]
    """Mean loss of every epoch; None where it was no number."""
    gaps: Mapping[str, Mapping[str, Gap]]
    """By whom it is compared with, `live` or `popularity`, and metric, `ndcg` or `hr`."""
    coverage: float | None
    """Share of the corpus that its lists show."""
    live_coverage: float | None
    vectors: Vectors
    live_lift: float | None = None
    """NDCG of the live version over that of popularity, less 1, as it was measured when it was new."""
    slices: tuple[SliceGap, ...] = ()
    """Against the live version, those with enough targets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildFacts:
    """An index build as verified, beside what it should hold."""

    build: str
    recall: float | None
    items: int
    corpus_items: int
    """Items that the declared corpus holds at its moment, and that the version knows something of."""
    fault: str = ""
    """What verification found: a file that is damaged, or an item that is encoded otherwise; empty where nothing."""
    live: str = ""
    live_items: int | None = None
    """Of the build that is served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """The same users through the trained, the exported and the served tower: the largest differences."""

    users: int
    exported: float
    """In a number of a user's vector, between the trained tower and the exported one as it was loaded."""
    served: float
    """In the score of an answered item, between what the trained tower gives and the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """What of HR@k gets lost between the trained towers and the answer."""

    k: int
    targets: int
    measured: float
    served: float
    lost: float
    """The most that is lost at a stage, or in all, by more than chance; 0 where nothing is."""
    where: str
    """At which stage that is, in words; empty where nothing is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """One index, searched with the user tower of its own version and with another's."""

    items: str
    """Version of the index."""
    users: str
    """The other version, whose user tower it is."""
    matched: float
    """HR@k with its own user tower."""
    crossed: float
    """HR@k with the other's."""
    overlap: float
    """Share of the items listed with its own that are listed with the other's, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skew:
    """What it would cost if two versions met: both directions."""

    k: int
    targets: int
    crossings: tuple[Crossing, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """The same requests, asked of a build and of the live one in turns. Latencies in ms, of whole calls."""

    requests: int
    k: int
    overlap: float
    """Share of the live answers' items that the candidate answers, too."""
    empty: float
    """Share of the candidate's answers without any item."""
    live_empty: float
    p99_ms: float
    live_p99_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingFacts:
    """A build as services answer from it that nobody else knows of; beside the live one."""

    version: str
    build: str
    live: str = ""
    """The live build, empty where there is none, or it can't be read."""
    parity: Parity | None
    lost: Lost | None
    skew: Skew | None
    replay: Replay | None
    unmeasured: Mapping[str, str] = field(default_factory=dict)
    """Why what is None was not measured, by its name."""
