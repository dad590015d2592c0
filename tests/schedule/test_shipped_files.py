"""What configs/ has for other schedulers: each file is one of its kind, and each command line in it would work."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import jsonschema  # type: ignore[import-untyped]  # ships no types
import pytest
import yaml
from apscheduler.triggers.cron import CronTrigger

from worker.cli.judging import judge_command, judge_in
from worker.config import Settings
from worker.errors import LedgerHeldError
from worker.schedule import load_schedule
from worker.schedule.cron import Cron

CONFIGS = Path(__file__).parents[2] / "configs"
SYSTEMD = CONFIGS / "systemd"
INSTALLED = "/opt/assign-worker/.venv/bin/assign-worker"
BESIDE_THE_KEY = "/etc/assign-worker/nightly.toml"


def judge(words: list[str]) -> str | None:
    """What is wrong with a command line; the settings that it names are those of configs/."""
    return judge_command([word.replace(BESIDE_THE_KEY, str(CONFIGS / "nightly.toml")) for word in words])


def unit(name: str) -> configparser.ConfigParser:
    """A unit of systemd's; of keys that come twice, the last."""
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keys as they are written
    parser.read_string((SYSTEMD / name).read_text(encoding="utf-8"))
    return parser


def cronjob() -> Any:
    """The manifest."""
    return yaml.safe_load((CONFIGS / "kubernetes/cronjob.yaml").read_text(encoding="utf-8"))


def cron_lines() -> list[str]:
    """The crontab without comments and blank lines."""
    lines = (CONFIGS / "cron.example").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_the_schedule_is_one() -> None:
    """Its commands and the settings that they name too; the notes would be beside it."""
    schedule = load_schedule(CONFIGS / "schedule.toml", judge_in(CONFIGS))
    assert [(profile.name, str(profile.time_zone)) for profile in schedule.profiles] == [
        ("north", "Europe/Berlin"),
        ("south", "America/New_York"),
    ]
    ledgers = [profile.command[profile.command.index("--ledger") + 1] for profile in schedule.profiles]
    assert len(set(ledgers)) == 2


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here; the parser below is")
def test_systemd_accepts_its_units(tmp_path: Path) -> None:
    """By `systemd-analyze verify`, which asks for the command to be there: it gets the one of this environment."""
    for name in ("assign-worker.service", "assign-worker.timer"):
        text = (SYSTEMD / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text.replace(INSTALLED, sys.executable), encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "assign-worker.timer", "assign-worker.service"],  # noqa: S607 - found above
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_service_runs_a_command_that_exists() -> None:
    """It drains for longer than an attempt may last, and cannot write but where its state is."""
    service = unit("assign-worker.service")["Service"]
    command, *words = shlex.split(service["ExecStart"])
    assert command == INSTALLED
    assert judge(words) is None
    assert int(service["TimeoutStopSec"]) > Settings().sending.timeout + 2
    assert service["SuccessExitStatus"] == "143"
    assert service["ProtectSystem"] == "strict"
    assert service["NoNewPrivileges"] == "yes"
    assert service["WorkingDirectory"] == f"/var/lib/{service['StateDirectory']}"


def test_the_timer_makes_up_for_a_missed_night() -> None:
    """And spreads the load."""
    timer = unit("assign-worker.timer")["Timer"]
    assert timer["OnCalendar"] == "*-*-* 02:30:00 Europe/Berlin"
    assert (timer["Persistent"], timer["RandomizedDelaySec"]) == ("true", "5m")


def test_the_cronjob_fits_the_schema() -> None:
    """The fields in use, with what Kubernetes allows in them."""
    schema = json.loads(Path(__file__).with_name("cronjob.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(cronjob(), schema)


def test_the_cronjob_runs_a_command_that_exists() -> None:
    """Never two at once; on a schedule that is one; with mounts that have their volumes; drained in time."""
    spec = cronjob()["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    assert ZoneInfo(spec["timeZone"])
    assert Cron.parse(spec["schedule"])
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > Settings().sending.timeout + 2
    (container,) = pod["containers"]
    assert container["command"] == ["assign-worker"]
    assert judge(container["args"]) is None
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    folders = [mount["mountPath"] for mount in container["volumeMounts"]]
    paths = [word for word in container["args"] if word.startswith("/")]
    assert len(paths) == 3
    assert all(str(Path(path).parent) in folders for path in paths)


def test_the_cronjob_tries_again_only_what_was_cut_off() -> None:
    """What ends with one of DESIGN's codes for "look here" fails at once; the name is the container's."""
    job = cronjob()["spec"]["jobTemplate"]["spec"]
    (codes,) = (rule["onExitCodes"] for rule in job["podFailurePolicy"]["rules"] if "onExitCodes" in rule)
    assert codes["values"] == [1, 2, 3, LedgerHeldError.exit_code]
    assert codes["containerName"] == job["template"]["spec"]["containers"][0]["name"]
    assert job["template"]["spec"]["restartPolicy"] == "Never"  # else Kubernetes refuses the policy


def test_the_crontab_runs_a_command_that_exists() -> None:
    """Five fields that APScheduler and we read alike, a line that sh can read, and a command that click can."""
    settings, line = cron_lines()
    assert re.fullmatch(r"MAILTO=\S+@\S+", settings)
    *fields, rest = line.split(maxsplit=5)
    text = " ".join(fields)
    now = datetime(2026, 11, 24, tzinfo=UTC)
    theirs = CronTrigger.from_crontab(text, UTC).get_next_fire_time(None, now)
    assert Cron.parse(text).next_after(now.replace(tzinfo=None)) == theirs.replace(tzinfo=None)
    assert "%" not in rest.replace(r"\%", "")  # cron would end the line there
    subprocess.run(["/bin/sh", "-n", "-c", rest], check=True)  # noqa: S603 - -n reads and runs nothing
    words = shlex.split(rest)
    begin, end = words.index(INSTALLED) + 1, words.index(">")
    assert judge_in(CONFIGS)(words[begin:end]) is None


def test_the_crontab_mails_only_what_needs_a_look(tmp_path: Path) -> None:
    """Its line, with commands that end well and not: nothing is printed, or the whole page."""
    rest = cron_lines()[1].split(maxsplit=5)[5].replace("/var/lib/assign-worker", str(tmp_path))
    (tmp_path / "seam.env").write_text("SEAM_API_KEY=seam_of_the_file\n", encoding="utf-8")
    for code, page in ((0, ""), (3, "key seam_of_the_file\n")):
        stand_in = tmp_path / "command"
        stand_in.write_text(f'#!/bin/sh\necho "key $SEAM_API_KEY"\nexit {code}\n', encoding="utf-8")
        stand_in.chmod(0o700)
        done = subprocess.run(  # noqa: S603 - our own line, with a command of this test's
            ["/bin/sh", "-c", rest.replace(INSTALLED, str(stand_in))], capture_output=True, text=True, check=False
        )
        assert (done.stdout, done.stderr) == (page, "")


def test_a_renamed_option_would_be_noticed() -> None:
    """The judge of all these lines refuses what no command has."""
    assert judge(["run", "residents.csv", "--config", BESIDE_THE_KEY, "--ledgre", "x"]) is not None
