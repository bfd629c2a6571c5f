"""A workspace as Python callers have it: from a log to versions, builds and candidates."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.api.build import Build
from retrieval.api.version import Version

if TYPE_CHECKING:
    from retrieval.api.retriever import Retriever
    from retrieval.registry import BuildRow
    from retrieval.workflows.workspace import Workspace as Opened

Setting = str | int | float | bool | Sequence[Any]
Table = Any
"""A path (Parquet, CSV), or a table of any library that streams as Arrow: pandas, polars, DuckDB, Arrow itself."""


class Workspace:
    """A folder with one retrieval.toml: settings, data, model versions, index builds, and the registry that lists them.

    Make one with `create`, open one with `open`. What is done here is what the `retrieval` command does in that folder.
    """

    def __init__(self, opened: Opened) -> None:
        self._opened = opened

    def __repr__(self) -> str:
        return f"<Workspace {self.path}: model {self.model}>"

    @classmethod
    def create(
        cls,
        path: str | Path,
        *,
        events: Table,
        items: Table | None = None,
        users: Table | None = None,
        user: str = "user_id",
        item: str = "item_id",
        timestamp: str = "timestamp",
        action: str | None = None,
        default_action: str | None = None,
        action_rules: Sequence[str] = (),
        context: Sequence[str] = (),
        item_features: Sequence[str] = (),
        user_features: Sequence[str] = (),
        model: str = "main",
        recipe: str | None = None,
        settings: Mapping[str, Setting] | None = None,
        show: bool = True,
    ) -> Workspace:
        """Make a workspace in a new folder, and read a log into it.

        `events` has a row an event; `items` and `users`, a row each, have what is known of them under the same id
        columns. All three are paths (Parquet, CSV), Arrow tables or readers, data frames of pandas or polars, or DuckDB
        relations. `user`, `item`, `timestamp` and `action` name their columns; ids are integers or text, times are
        timestamps or plain numbers (s, ms, µs or ns since 1970). `action_rules` tell the action from other columns
        (`"cancel: InvoiceNo ~ ^C"`). `context` are columns that a request will bring, too; `item_features` and
        `user_features` columns of the events that describe the item or the user.

        `settings` go into retrieval.toml: `{"training.epochs": 5}`. Where neither they nor a `recipe` say how to learn,
        the recipe that fits the log does, if it has 20,000 events or more. Features are declared from the columns'
        types, unless features of columns are declared already. Rows that can't be used lie in data/rejects, each with
        its reason.

        Raises ConflictError where the folder is a workspace already, DataError for events that can't be used,
        ConfigError.
        """
        from retrieval.data.importers import ActionRule, ColumnMapping
        from retrieval.workflows.data.importing import import_events

        mapping = ColumnMapping(
            user=user,
            item=item,
            timestamp=timestamp,
            action=action,
            action_rules=tuple(ActionRule.parse(rule) for rule in action_rules),
            default_action=default_action,
            context=tuple(context),
            item_features=tuple(item_features),
            user_features=tuple(user_features),
        )
        with _new_workspace(Path(path), model, recipe, settings) as opened:
            import_events(
                opened,
                _table(events),
                mapping=mapping,
                users=None if users is None else _table(users),
                items=None if items is None else _table(items),
                write_settings=True,
                keep_features=opened.settings.features.of_columns,
                show=show,
            )
            return cls(opened.reopen())

    @classmethod
    def simulate(
        cls,
        path: str | Path,
        *,
        users: int = 2_000,
        items: int = 1_500,
        days: int = 14,
        seed: int = 1,
        model: str = "main",
        settings: Mapping[str, Setting] | None = None,
        show: bool = True,
    ) -> Workspace:
        """Make a workspace with the log of a simulated world (people with interests, items with topics), to try things.

        The same `seed` makes the same world. Raises ConflictError where the folder is a workspace already.
        """
        from retrieval.simulation.synthetic import SynthConfig
        from retrieval.workflows.data.synthesis import synthesise_events

        config = SynthConfig(users=users, items=items, days=days, seed=seed)
        with _new_workspace(Path(path), model, None, settings) as opened:
            synthesise_events(opened, config, write_settings=True, show=show)
            return cls(opened.reopen())

    @classmethod
    def open(cls, path: str | Path | None = None, *, settings: Mapping[str, Setting] | None = None) -> Workspace:
        """Open the workspace in a folder; without a path, the nearest one at or above the current folder.

        `settings` go before those in retrieval.toml, for this object alone. Raises NotFoundError, ConfigError.
        """
        from retrieval.workflows.workspace.opening import open_workspace

        flags = [f"{key}={json.dumps(value)}" for key, value in (settings or {}).items()]
        return cls(open_workspace(None if path is None else Path(path), flags))

    @property
    def path(self) -> Path:
        """The folder."""
        return self._opened.root

    @property
    def model(self) -> str:
        """Name of the model that is trained here; versions are `model@1`, builds `model-b1`."""
        return self._opened.model

    def stats(self) -> dict[str, Any]:
        """Figures that describe the log: events, users, items, actions, their spread, the columns, the targets."""
        from dataclasses import asdict

        from retrieval.workflows.data.checking import describe_data

        found = describe_data(self._opened, show=False)
        return {**asdict(found.stats), "targets": None if found.targets is None else asdict(found.targets)}

    def train(self, *, fresh: bool = False, force: bool = False, show: bool = True) -> Version:
        """Train both towers, measure them on the full corpus, and register them as the model's next version.

        The same settings, data, code and seed address the same version: asked for again, it is found. An interrupted
        training goes on where it stopped, except with `fresh`; `force` makes a new version of the same inputs. `show`
        shows progress. Raises DataError, ConfigError, ConflictError, ArtifactError.
        """
        from retrieval.workflows.training.train import train_version

        outcome = train_version(self._opened, fresh=fresh, force=force, show=show)
        return Version(self._opened, outcome.version, outcome.report)

    def versions(self) -> list[Version]:
        """Model versions that are ready, oldest first."""
        with closing(self._opened.registry()) as registry:
            rows = registry.list_versions(self.model, states=("ready",))
        return [Version(self._opened, row) for row in rows]

    def version(self, which: str | int | None = None) -> Version:
        """A version by name or number (`shop@2`, 2), else the newest one. Raises NotFoundError."""
        from retrieval.types import ModelVersion
        from retrieval.workflows.evaluation.evaluate import newest_version

        wanted = newest_version(self._opened) if which is None else ModelVersion.parse(str(which), model=self.model)
        with closing(self._opened.registry()) as registry:
            return Version(self._opened, registry.get_version(wanted))

    def build_index(
        self, version: Version | str | int | None = None, *, shards: int | None = None, show: bool = True
    ) -> Build:
        """Encode the corpus with a version's item tower (the newest's, unless given) and build its index.

        The same inputs address the same build. Raises GateError, and registers nothing, where its recall is under
        `index.min_recall`.
        """
        from retrieval.types import ModelVersion
        from retrieval.workflows.indexing.build import build_version_index

        name = version.name if isinstance(version, Version) else version
        wanted = None if name is None else ModelVersion.parse(str(name), model=self.model)
        outcome = build_version_index(self._opened, wanted, shards=shards, show=show)
        return Build(self._opened, outcome.build)

    def builds(self) -> list[Build]:
        """Index builds that are ready, oldest first."""
        with closing(self._opened.registry()) as registry:
            rows = registry.list_builds(self.model, states=("ready",))
        return [Build(self._opened, row) for row in rows]

    def build(self, which: str | int | None = None) -> Build:
        """A build by name or number (`shop-b3`, 3), else the newest one. Raises NotFoundError."""
        return Build(self._opened, self._build_row(which))

    def load_users(self, *, show: bool = True) -> int:
        """Fill the user store with histories and profiles from the log; returns how many users it holds."""
        from retrieval.workflows.fleet.users import load_users

        return load_users(self._opened, show=show).users

    def retriever(self, build: Build | str | int | None = None, *, show: bool = True) -> Retriever:
        """Candidates in this process, by the same engine and with the same version checks as the services.

        `build` is the one that was deployed, unless given, or the newest where none was. The user store is filled first
        where it is not of the log as it is now. Raises NotFoundError without a build, ArtifactError for a damaged one.
        """
        from retrieval.api.retriever import open_retriever

        name = build.name if isinstance(build, Build) else build
        return open_retriever(self._opened, self._build_row(name, deployed=True), show=show)

    def _build_row(self, which: str | int | None, *, deployed: bool = False) -> BuildRow:
        """The row of a build by name or number; else of the deployed one, where that is wanted, or of the newest."""
        from retrieval.errors import NotFoundError
        from retrieval.types import BuildId

        with closing(self._opened.registry()) as registry:
            if which is not None:
                return registry.get_build(BuildId.parse(str(which), model=self.model))
            active = registry.active_build(self.model) if deployed else None
            if active is not None:
                return active
            ready = registry.list_builds(self.model, states=("ready",))
        if not ready:
            raise NotFoundError(f"{self.model} has no build yet; make one with build_index()")
        return ready[-1]


@contextmanager
def _new_workspace(
    path: Path, model: str, recipe: str | None, settings: Mapping[str, Setting] | None
) -> Iterator[Opened]:
    """A workspace that is there only if the block succeeds: what failed half-way can be done again."""
    from retrieval.config import FILE_NAME
    from retrieval.workflows.workspace.create import create_workspace

    was_there = path.exists()
    sections: dict[str, Any] = {}
    for key, value in (settings or {}).items():
        *outer, name = key.split(".")
        target = sections
        for part in outer:
            target = target.setdefault(part, {})
        target[name] = value
    opened = create_workspace(path, model=model, recipe=recipe, settings=sections)
    try:
        yield opened
    except BaseException:
        if was_there:
            (path / FILE_NAME).unlink(missing_ok=True)
        else:
            shutil.rmtree(path, ignore_errors=True)
        raise


def _table(given: Table) -> Any:
    """A path as a path, a lazy frame as a frame; other tables as they are."""
    if isinstance(given, (str, Path)):
        return Path(given).expanduser()
    return given.collect() if hasattr(given, "collect_schema") and hasattr(given, "collect") else given
