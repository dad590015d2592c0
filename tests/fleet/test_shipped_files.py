"""What configs/fleet has for those who run one: each file is one of its kind, and its command lines would work."""

from __future__ import annotations

import configparser
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from worker.cli.judging import judge_command
from worker.fleet import Timing

FLEET = Path(__file__).parents[2] / "configs/fleet"
INSTALLED = "/opt/assign-worker/.venv/bin/assign-worker"
ENDLESS = "does not end by itself"
"""All that is wrong with a worker's command line, to a judge of commands that have to end."""


def manifest(name: str) -> Any:
    """A file of YAML."""
    return yaml.safe_load((FLEET / name).read_text(encoding="utf-8"))


def is_a_worker(words: list[str]) -> bool:
    """Whether click and the settings take it, and it serves until it is stopped."""
    said = judge_command(words)
    return said is not None and said.startswith("worker ") and ENDLESS in said


def service() -> configparser.ConfigParser:
    """The unit of systemd's."""
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keys as they are written
    parser.read_string((FLEET / "assign-worker-fleet.service").read_text(encoding="utf-8"))
    return parser


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here; the parser below is")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """By `systemd-analyze verify`, with the interpreter in place of the command, which is not installed here."""
    text = (FLEET / "assign-worker-fleet.service").read_text(encoding="utf-8")
    (tmp_path / "assign-worker-fleet.service").write_text(text.replace(INSTALLED, sys.executable), encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "assign-worker-fleet.service"],  # noqa: S607 - found above
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_service_is_started_again_and_may_drain() -> None:
    """Whatever it ended with; and it is not killed before its grace is over."""
    unit = service()["Service"]
    command, *words = shlex.split(unit["ExecStart"])
    assert command == INSTALLED
    assert is_a_worker(words)
    assert unit["Restart"] == "always"
    assert int(unit["TimeoutStopSec"]) > Timing().grace


def test_the_deployment_runs_workers_that_may_drain() -> None:
    """Selector and labels agree; no pod is killed before its grace is over, nor holds more rights than it needs."""
    deployment = manifest("kubernetes-worker.yaml")
    assert (deployment["apiVersion"], deployment["kind"]) == ("apps/v1", "Deployment")
    spec = deployment["spec"]
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    pod = spec["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > Timing().grace
    assert pod["securityContext"]["runAsNonRoot"]
    (container,) = pod["containers"]
    assert container["command"] == ["assign-worker"]
    assert is_a_worker(container["args"])
    assert "env" not in container  # no secret in the manifest


def test_compose_starts_workers_when_the_server_is_there() -> None:
    """A healthy PostgreSQL, workers that begin anew, secrets from outside."""
    services = manifest("compose.yaml")["services"]
    worker, postgres = services["worker"], services["postgres"]
    assert worker["entrypoint"] == ["assign-worker"]
    assert is_a_worker(worker["command"])
    assert worker["restart"] == "always"
    assert int(worker["stop_grace_period"].removesuffix("s")) > Timing().grace
    assert worker["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert "healthcheck" in postgres
    for variables in (worker["environment"], postgres["environment"]):
        assert all(value.startswith("${") for name, value in variables.items() if "PASSWORD" in name or "TOKEN" in name)


def test_a_renamed_option_would_be_noticed() -> None:
    """The judge of these lines refuses what the command has not."""
    assert not is_a_worker(["fleet", "worker", "--shard", "8"])
