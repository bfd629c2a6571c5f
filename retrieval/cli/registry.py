"""`retrieval list` and `retrieval show`: what the registry holds."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from retrieval.cli.console import JsonOption, SetOption, WorkspaceOption, emit, open_workspace, table
from retrieval.cli.rows import moment, plain, short
from retrieval.errors import ConfigError, RetrievalError
from retrieval.types import BuildId, ModelVersion

if TYPE_CHECKING:
    from rich.console import Console

    from retrieval.workflows.workspace import Workspace


LimitOption = Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most so many, the newest.")]


def register(app: typer.Typer) -> None:
    """Add this noun's commands to the command line."""
    lists = typer.Typer(help="List versions, builds, hosts, deployments or the audit trail.", no_args_is_help=True)
    lists.command("versions")(list_versions)
    lists.command("builds")(list_builds)
    lists.command("hosts")(list_hosts)
    lists.command("deployments")(list_deployments)
    lists.command("audit")(list_audit)
    app.add_typer(lists, name="list")
    shows = typer.Typer(help="Show one version, build, host or deployment.", no_args_is_help=True)
    shows.command("version")(show_version)
    shows.command("build")(show_build)
    shows.command("host")(show_host)
    shows.command("deployment")(show_deployment)
    app.add_typer(shows, name="show")


def list_versions(workspace: WorkspaceOption = None, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """List the model's versions.

    Example: `retrieval list versions --json`
    """
    opened = open_workspace(workspace, overrides)
    with closing(opened.registry()) as registry:
        rows = registry.list_versions(opened.model)
    lines = [[str(r.id), r.state, moment(r.created_at), short(r.space_id), _metrics(r.metrics)] for r in rows]
    _emit_list("Versions", ["version", "state", "made", "space", "metrics"], rows, lines, as_json)


def list_builds(workspace: WorkspaceOption = None, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """List the model's index builds.

    Example: `retrieval list builds`
    """
    opened = open_workspace(workspace, overrides)
    with closing(opened.registry()) as registry:
        rows = registry.list_builds(opened.model)
    lines = [
        [str(r.id), str(r.model_version), r.state, moment(r.created_at), r.shards, r.items, r.recall] for r in rows
    ]
    _emit_list("Builds", ["build", "version", "state", "made", "shards", "items", "recall"], rows, lines, as_json)


def list_hosts(
    everything: Annotated[
        bool, typer.Option("--all", help="Also hosts that were retired or not seen for long.")
    ] = False,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the hosts that have reported.

    Example: `retrieval list hosts --all`
    """
    opened = open_workspace(workspace, overrides)
    within = None if everything else opened.settings.rollout.host_lost_s
    with closing(opened.registry()) as registry:
        rows = registry.hosts(opened.model, alive_within_s=within)
    lines = [[r.host_id, r.role, r.shard, r.address, r.state, r.build, r.version, moment(r.seen_at)] for r in rows]
    columns = ["host", "role", "shard", "address", "state", "build", "version", "seen"]
    _emit_list("Hosts", columns, rows, lines, as_json)


def list_deployments(
    limit: LimitOption = 50,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """List deployments and roll-backs, newest first.

    Example: `retrieval list deployments --limit 5`
    """
    opened = open_workspace(workspace, overrides)
    with closing(opened.registry()) as registry:
        rows = registry.list_deployments(opened.model, limit=limit)
    lines = [[str(r.id), r.kind, str(r.build_id), r.state, r.who, moment(r.started_at), r.note] for r in rows]
    _emit_list("Deployments", ["id", "kind", "build", "state", "who", "started", "note"], rows, lines, as_json)


def list_audit(
    subject: Annotated[str | None, typer.Option("--subject", help="Only this, e.g. homefeed@3 or homefeed-b2.")] = None,
    limit: LimitOption = 50,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """List who changed what and when, newest first; of all models.

    Example: `retrieval list audit --subject homefeed-b2`
    """
    opened = open_workspace(workspace, overrides)
    with closing(opened.registry()) as registry:
        rows = registry.audit(subject=subject, limit=limit)
    lines = [[moment(r.at), r.who, r.action, r.subject, _metrics(r.details)] for r in rows]
    _emit_list("Audit trail", ["at", "who", "action", "subject", "details"], rows, lines, as_json)


def show_version(
    version: Annotated[str, typer.Argument(metavar="VERSION", help="E.g. homefeed@3, or 3.")],
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one model version: what the registry and its manifest say.

    Example: `retrieval show version homefeed@3`
    """
    opened = open_workspace(workspace, overrides)
    with closing(opened.registry()) as registry:
        row = registry.get_version(ModelVersion.parse(version, model=opened.model))
    _emit_one(plain(row) | {"manifest": _manifest(opened, row.key)}, as_json)


def show_build(
    build: Annotated[str, typer.Argument(metavar="BUILD", help="E.g. homefeed-b3, or 3.")],
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one index build: what the registry and its manifest say.

    Example: `retrieval show build homefeed-b3`
    """
    opened = open_workspace(workspace, overrides)
    with closing(opened.registry()) as registry:
        row = registry.get_build(BuildId.parse(build, model=opened.model))
    _emit_one(plain(row) | {"manifest": _manifest(opened, row.key)}, as_json)


def show_host(
    host: Annotated[str, typer.Argument(metavar="HOST", help="A host id, as `retrieval list hosts` shows it.")],
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what one host last reported.

    Example: `retrieval show host ann-0-a`
    """
    with closing(open_workspace(workspace, overrides).registry()) as registry:
        row = registry.get_host(host)
    _emit_one(plain(row), as_json)


def show_deployment(
    number: Annotated[str, typer.Argument(metavar="ID", help="The number of a deployment.")],
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one deployment or roll-back.

    Example: `retrieval show deployment 4`
    """
    if not number.isascii() or not number.isdigit() or len(number) > 9:
        raise ConfigError(f"{number!r} is not the number of a deployment; `retrieval list deployments` shows them")
    with closing(open_workspace(workspace, overrides).registry()) as registry:
        row = registry.get_deployment(int(number))
    _emit_one(plain(row), as_json)


def _manifest(opened: Workspace, key: str) -> dict[str, Any]:
    if not key:
        return {}
    try:
        manifest = opened.store().manifest(key)
    except RetrievalError as error:
        return {"error": str(error)}
    return {"created": manifest.created, "facts": dict(manifest.facts), "files": plain(manifest.files)}


def _metrics(values: Any) -> str:
    return ", ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in values.items())


def _emit_list(title: str, columns: list[str], rows: Sequence[Any], lines: list[list[Any]], as_json: bool) -> None:
    emit([plain(row) for row in rows], as_json, lambda console: console.print(table(title, columns, lines)))


def _emit_one(values: dict[str, Any], as_json: bool) -> None:
    def show(console: Console) -> None:
        for name, value in values.items():
            if isinstance(value, dict):
                console.print(f"{name}:", highlight=False)
                for inner, item in value.items():
                    console.print(f"  {inner}: {item}", highlight=False, markup=False, soft_wrap=True)
            else:
                console.print(f"{name}: {value}", highlight=False, markup=False, soft_wrap=True)

    emit(values, as_json, show)
