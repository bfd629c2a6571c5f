"""What an import is asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from retrieval.data.config import DataConfig
from retrieval.data.importers.actions import ActionRule
from retrieval.data.reading.arrow_streams import ArrowStream
from retrieval.data.reading.forgotten import NOBODY, Forgotten


@dataclass(frozen=True, kw_only=True)
class ColumnMapping:
    """Which columns of the source mean what."""

    user: str = "user_id"
    item: str = "item_id"
    timestamp: str = "timestamp"
    timestamp_unit: str = "auto"
    action: str | None = None
    """None = the column `action`, where there is one and no rule or default is given."""
    action_rules: tuple[ActionRule, ...] = ()
    default_action: str | None = None
    context: tuple[str, ...] = ()
    item_features: tuple[str, ...] = ()
    """Columns of the events from which features of the items are derived."""
    user_features: tuple[str, ...] = ()
    """Columns of the events from which features of the users are derived."""
    from_us: int | None = None
    until_us: int | None = None

    def others(self) -> tuple[str, ...]:
        """Columns that are needed besides user, item, timestamp and action, each once."""
        named = (*self.context, *self.item_features, *self.user_features, *(rule.column for rule in self.action_rules))
        return tuple(dict.fromkeys(named))


@dataclass(frozen=True, kw_only=True)
class ImportRequest:
    """Where to read from, where to write to (a workspace's data folder), and how the columns are mapped."""

    source: Path
    out: Path
    mapping: ColumnMapping = field(default_factory=ColumnMapping)
    settings: DataConfig = field(default_factory=DataConfig)
    """The workspace's: how much memory may be used, and which times are too late to be true."""
    users: Path | ArrowStream | None = None
    items: Path | ArrowStream | None = None
    delimiter: str = ","
    encoding: str = "utf-8"
    replace: bool = False
    show: bool = True
    forgotten: Forgotten = NOBODY
    """Users whose events are left out."""
