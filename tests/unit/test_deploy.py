"""What lies in deploy/ names commands, options, settings and exit codes that are there."""

from __future__ import annotations

import configparser
import runpy
import shlex
import sys
from datetime import timedelta
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import typer
import yaml

from generate.command import leaves
from retrieval.cli.main import build_app
from retrieval.data.config import parse_moment
from retrieval.errors import ConfigError, DataError, GateError
from retrieval.workflows.jobs.triggers import cron_trigger
from retrieval.workflows.workspace.settings import Settings

DEPLOY = Path(__file__).parents[2] / "deploy"
COMMANDS = leaves(typer.main.get_command(build_app()))


def check_command(words: list[str]) -> dict[str, str]:
    """The command is there, and knows the options; returns their values."""
    name = next(" ".join(words[:length]) for length in (3, 2) if " ".join(words[:length]) in COMMANDS)
    known = {option for each in COMMANDS[name].params for option in each.opts}
    rest = words[len(name.split()) :]
    options = dict(zip(rest[::2], rest[1::2], strict=True))
    assert set(options) <= known, name
    return options


@pytest.fixture(scope="module")
def job() -> Any:
    found = yaml.safe_load((DEPLOY / "kubernetes" / "retrain-cronjob.yaml").read_text())
    assert (found["apiVersion"], found["kind"]) == ("batch/v1", "CronJob")
    return found["spec"]


def test_the_cron_job_runs_the_chain_one_at_a_time(job: Any) -> None:
    cron_trigger(job["schedule"], job["timeZone"])
    assert job["concurrencyPolicy"] == "Forbid"
    (container,) = job["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    options = check_command(container["command"])
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert options == {"--workspace": mounted["workspace"]}
    volumes = {volume["name"] for volume in job["jobTemplate"]["spec"]["template"]["spec"]["volumes"]}
    assert volumes == set(mounted)
    for variable in container["env"]:
        section, _, key = variable["name"].removeprefix("RETRIEVAL_").lower().partition("__")
        assert key in type(getattr(Settings(), section)).model_fields, variable["name"]


def test_the_cron_job_tries_again_only_what_may_pass(job: Any) -> None:
    template = job["jobTemplate"]["spec"]
    # a failure policy is only for pods that are not restarted in place
    assert template["template"]["spec"]["restartPolicy"] == "Never"
    rule = template["podFailurePolicy"]["rules"][0]
    assert rule["action"] == "FailJob"
    assert rule["onExitCodes"]["values"] == [kind.exit_code for kind in (ConfigError, DataError, GateError)]
    assert rule["onExitCodes"]["containerName"] == template["template"]["spec"]["containers"][0]["name"]


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Stands in for Airflow's two classes; keeps what they are given."""
    given: list[dict[str, Any]] = []

    class Kept:
        def __init__(self, **values: Any) -> None:
            given.append(values)

        def __enter__(self) -> Kept:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    def put(name: str, **names: Any) -> None:
        module = ModuleType(name)
        vars(module).update(names)
        monkeypatch.setitem(sys.modules, name, module)

    path = "airflow"
    put(path)
    put("airflow.sdk", DAG=Kept)
    for part in ("providers", "standard", "operators", "bash"):
        path = f"{path}.{part}"
        put(path, **({"BashOperator": Kept} if part == "bash" else {}))
    return given


def test_the_airflow_dag_runs_the_chain_as_of_its_interval(airflow: list[dict[str, Any]]) -> None:
    runpy.run_path(str(DEPLOY / "airflow" / "retrain.py"))
    dag, task = airflow
    cron_trigger(dag["schedule"], "UTC")
    assert (dag["max_active_runs"], dag["catchup"]) == (1, False)
    ends = SimpleNamespace(isoformat=lambda: "2026-03-01T06:00:00+00:00")
    from jinja2 import Template

    options = check_command(shlex.split(Template(task["bash_command"]).render(data_interval_end=ends)))
    assert parse_moment(options["--as-of"]) == 1_772_344_800_000_000
    assert task["execution_timeout"] > timedelta(hours=1)


@pytest.mark.parametrize("path", sorted((DEPLOY / "systemd").glob("*.service")), ids=lambda path: path.name)
def test_units_run_commands_that_are_there(path: Path) -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(path.read_text())
    program, *words = shlex.split(unit["Service"]["ExecStart"])
    assert program.endswith("/bin/retrieval")
    check_command(["retrieval", *words])
