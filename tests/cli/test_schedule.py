"""`schedule`: real processes on the real clock. By their notes, profiles missed last night: they are due at once."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click
import psutil
import pytest

from tests.cli.service import Service, Started, call, make_jobs, read_results, wait_for, write_jobs
from worker.cli.group import LazyGroup
from worker.cli.judging import judge_command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    """One simulator for all tests here; each has jobs of its own."""
    with Service() as service:
        yield service


@pytest.fixture
def service(running: Service) -> Service:
    """The simulator, quick and without faults."""
    running.configure(latency={"median": 0.0}, faults={"shares": {"never": 0.0}})
    wait_for(lambda: running.in_flight() == 0)
    return running


def write_schedule(folder: Path, name: str = "schedule", *, late: bool = True, **commands: list[str]) -> Path:
    """A schedule of profiles for 02:30; with notes by which each of them missed last night."""
    lines = ["[schedule]", 'time_zone = "Europe/Berlin"']
    for profile, command in commands.items():
        lines += [f"[profiles.{profile}]", 'cron = "30 2 * * *"', f"command = {json.dumps(command)}"]
    path = folder / f"{name}.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    if late:
        through = (datetime.now(UTC) - timedelta(hours=25)).isoformat()
        note = {"cron": "30 2 * * *", "time_zone": "Europe/Berlin", "through": through, "open": False}
        notes = {"version": 1, "profiles": dict.fromkeys(commands, note)}
        (folder / f"{name}.state.json").write_text(json.dumps(notes), encoding="utf-8")
    return path


def run_of(folder: Path, rows: int, name: str = "jobs.csv") -> list[str]:
    """A command that sends so many new jobs, a few at a time."""
    write_jobs(folder / name, make_jobs(rows))
    return ["run", name, "--concurrency", "4", "--quiet"]


class Scheduler(Started):
    """A scheduler; runs of its own that are left at the end of its block are ended with it."""

    def __exit__(self, *details: object) -> None:
        """Its runs would live on and hold the pipes."""
        if self.process.returncode is None:
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended by itself
                for child in psutil.Process(self.process.pid).children():
                    child.kill()
        super().__exit__(*details)


def scheduler(path: Path, service: Service) -> Scheduler:
    """`schedule`, from elsewhere: its commands run where the file is."""
    return Scheduler(["schedule", path, "--log-format", "json"], service.environ(), path.parents[1])


def told(started: Started, event: str) -> dict[str, Any]:
    """The next line of the log that says this."""
    assert started.process.stderr is not None
    for line in started.process.stderr:
        if line.startswith("{"):
            document: dict[str, Any] = json.loads(line)
            if document["event"] == event:
                return document
    raise AssertionError(f"the scheduler ended without saying {event!r}")


def child_of(started: Started) -> psutil.Process:
    """The one run under way."""
    wait_for(lambda: bool(psutil.Process(started.process.pid).children()))
    (child,) = psutil.Process(started.process.pid).children()
    return child


def test_a_profile_runs_its_command(service: Service, tmp_path: Path) -> None:
    """Beside the file, in a process of its own, told from start to end; SIGTERM ends the scheduler."""
    path = write_schedule(tmp_path, north=run_of(tmp_path, 20))
    (tmp_path / "worker.py").write_text("raise SystemExit('a file of the data was run')\n", encoding="utf-8")
    with scheduler(path, service) as started:
        start = told(started, "run starts")
        assert (start["profile"], start["command"]) == ("north", "run jobs.csv --concurrency 4 --quiet")
        assert start["due"].endswith(("T02:30:00+01:00", "T02:30:00+02:00"))
        end = told(started, "run ended")
        assert (end["exit_code"], end["meaning"], end["level"]) == (0, "all is well", "info")
        assert datetime.fromisoformat(end["next"]) > datetime.now(UTC)
        assert started.end(signal.SIGTERM).code == 143
    assert {row["outcome"] for row in read_results(tmp_path / "jobs.results.csv")} == {"assigned"}
    # The next scheduler owes nothing.
    with scheduler(path, service) as started:
        assert told(started, "scheduled")["missed"] is False


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_drains_and_the_next_scheduler_goes_on(
    service: Service, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """The run is told and ends in order; it is owed, and its second half sends only the rest."""
    service.configure(latency={"median": 0.1})
    before = service.assigns()
    path = write_schedule(tmp_path, north=run_of(tmp_path, 60))
    with scheduler(path, service) as started:
        wait_for(lambda: service.assigns() >= before + 8)
        started.process.send_signal(number)
        end = told(started, "run ended")
        assert end["exit_code"] == 143
        assert started.end().code == code
    assert {row["outcome"] for row in read_results(tmp_path / "jobs.results.csv")} == {"assigned", "pending"}
    service.configure(latency={"median": 0.0})
    with scheduler(path, service) as started:
        assert told(started, "run ended")["exit_code"] == 0
    assert service.assigns() == before + 60
    assert {row["outcome"] for row in read_results(tmp_path / "jobs.results.csv")} == {"assigned"}


def test_a_second_signal_leaves_at_once(service: Service, tmp_path: Path) -> None:
    """The scheduler and its run, although the service never answers; each signal reaches the run once."""
    service.configure(faults={"shares": {"never": 1.0}})
    path = write_schedule(tmp_path, north=run_of(tmp_path, 10))
    with scheduler(path, service) as started:
        wait_for(lambda: service.in_flight() > 0)
        child = child_of(started)
        assert os.getsid(child.pid) == child.pid  # so Ctrl-C at a terminal does not reach it by itself
        started.process.send_signal(signal.SIGTERM)
        told(started, "stopping: runs under way end in order")
        assert child.is_running()
        assert started.end(signal.SIGTERM).code == 143
    assert psutil.wait_procs([child], timeout=20)[1] == []


def test_a_killed_run_ends_no_scheduler(service: Service, tmp_path: Path) -> None:
    """Told as 137; the other profiles run, and the scheduler waits for the next night."""
    service.configure(faults={"shares": {"never": 1.0}})
    path = write_schedule(tmp_path, north=run_of(tmp_path, 10))
    with scheduler(path, service) as started:
        wait_for(lambda: service.in_flight() > 0)
        child_of(started).kill()
        end = told(started, "run ended")
        assert (end["exit_code"], end["level"]) == (137, "error")
        assert end["meaning"] == "killed by signal 9; what was recorded is safe"
        assert started.process.poll() is None
        assert started.end(signal.SIGTERM).code == 143


def test_two_schedulers_never_send_at_once(service: Service, tmp_path: Path) -> None:
    """The ledger is held, so the second one's run ends with 4; that is told, and is no failure of the scheduler."""
    service.configure(faults={"shares": {"never": 1.0}})
    command = run_of(tmp_path, 10)
    with scheduler(write_schedule(tmp_path, "one", north=command), service):
        wait_for(lambda: service.in_flight() > 0)
        with scheduler(write_schedule(tmp_path, "two", north=command), service) as second:
            end = told(second, "run ended")
            assert (end["exit_code"], end["meaning"]) == (4, "another process holds the ledger")
            assert end["level"] == "warning"
            assert second.process.poll() is None


def test_the_next_times_can_be_looked_at(tmp_path: Path) -> None:
    """`--list` tells them in the zone of each profile, runs nothing and writes nothing."""
    path = write_schedule(tmp_path, late=False, north=["check", "jobs.csv"], south=["runs", "--json"])
    ended = call(["schedule", path, "--list"], {})
    assert ended.code == 0
    assert ended.err == ""
    lines = [line for line in ended.out.splitlines() if "02:30:00" in line]
    assert [line.split()[0] for line in lines] == ["north", "south"]
    assert all(line.count("02:30:00") == 2 and "Europe/Berlin" in line for line in lines)
    assert [file.name for file in tmp_path.iterdir()] == ["schedule.toml"]


def test_what_was_missed_is_to_be_seen(tmp_path: Path) -> None:
    """A scheduler that starts now would begin with it."""
    ended = call(["schedule", write_schedule(tmp_path, north=["check", "jobs.csv"]), "--list"], {})
    (line,) = (line for line in ended.out.splitlines() if "north" in line)
    assert line.split()[1:4] == ["at", "once:", "missed"]
    assert line.count("02:30:00") == 1


@pytest.mark.parametrize(
    ("command", "wrong"),
    [
        (["rnu", "jobs.csv"], "No such command 'rnu'. Did you mean 'run'?"),
        (["schedule", "other.toml"], "schedule does not end by itself, and a run has to"),
        (["run"], "run: Missing argument 'JOBS'."),
        (["run", "jobs.csv", "--paralell", "5"], "run: No such option '--paralell'."),
        (["run", "jobs.csv", "--concurrency", "0"], "run: --concurrency: '0' is not allowed; allowed: 1 to 4096"),
        (["run", "jobs.csv", "--config", "nowhere.toml"], "run: --config nowhere.toml: cannot be read: No such file"),
        (["run", "jobs.csv", "--config", "bad.toml"], "run: bad.toml [sending] rat: no such key; did you mean rate?"),
        (
            ["run", "jobs.csv", "--confirm"],
            "run: --confirm asks on a terminal, and a run that starts by itself has none",
        ),
        (["run", "-", "--format", "csv"], "run: JOBS cannot be -, since nobody writes to a run that starts by itself"),
        (["run", "jobs.csv", "--help"], "run: asks for a page of help or the version"),
        (["run", "jobs.csv", "--api-key", "seam_canary_0123456789"], "run: a key on the command line can be read"),
    ],
)
def test_a_bad_command_is_told_before_anything_runs(tmp_path: Path, command: list[str], wrong: str) -> None:
    """With its profile; the other one's problem too. No key is repeated, and nothing is written."""
    (tmp_path / "bad.toml").write_text("[sending]\nrat = 5\n", encoding="utf-8")
    path = write_schedule(tmp_path, late=False, north=command, south=["check"])
    ended = call(["schedule", path], {})
    assert ended.code == 2
    assert ended.out == ""
    assert f"{path} [profiles.north] command: {wrong}" in ended.err
    assert f"{path} [profiles.south] command: check: Missing argument 'JOBS'." in ended.err
    assert "canary" not in ended.err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["bad.toml", "schedule.toml"]


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["fleet", "status"], None),
        (["fleet", "status", "--far"], "fleet status: No such option '--far'."),
        (["fleet", "stats"], "fleet: No such command 'stats'."),
        (["fleet", "worker"], "worker does not end by itself, and a run has to"),
    ],
)
def test_commands_of_a_group_are_judged(words: list[str], wrong: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command in a group is judged as the others are."""
    group = click.Group("fleet", commands=[click.Command("status"), click.Command("worker")])
    monkeypatch.setattr(LazyGroup, "resolve_command", lambda _, __, args: ("fleet", group, args[1:]))
    told = judge_command(words)
    assert told == wrong or (wrong is not None and told is not None and told.startswith(wrong))


def test_a_good_command_is_judged_where_it_will_run(tmp_path: Path) -> None:
    """Its settings are looked for beside the schedule, not where the scheduler was started."""
    (tmp_path / "nightly.toml").write_text("[sending]\nrate = 5\n", encoding="utf-8")
    path = write_schedule(tmp_path, late=False, north=["run", "jobs.csv", "--config", "nightly.toml"])
    assert call(["schedule", path, "--list"], {}).code == 0
