"""`run`, `runs`, `show` and `results`, against a simulator in a process of its own."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.cli.service import Service, Started, call, make_jobs, read_results, wait_for, write_jobs

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    """One simulator for all tests here; each has jobs of its own."""
    with Service() as service:
        yield service


@pytest.fixture
def service(running: Service) -> Service:
    """The simulator, quick and without faults."""
    running.configure(latency={"median": 0.0}, world={"unknown_users": 0.0, "warnings": 0.0})
    running.configure(faults={"shares": {"http_503": 0.0, "never": 0.0}})
    wait_for(lambda: running.in_flight() == 0)
    return running


def told(document: dict[str, Any]) -> dict[str, int]:
    """The counts by outcome, without those that are 0."""
    return {outcome: rows for outcome, rows in document["outcomes"].items() if rows}


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each test in a folder of its own."""
    monkeypatch.chdir(tmp_path)


def test_a_run_ends_with_its_report_as_json(service: Service, tmp_path: Path) -> None:
    """One document on stdout, nothing on stderr, results and ledger beside the input."""
    jobs = make_jobs(50)
    command = ["run", write_jobs(tmp_path / "jobs.csv", jobs), "--json"]
    with Started(command, service.environ(), Path("/")) as started:
        ended = started.end()
    assert (ended.code, ended.err) == (0, "")
    document = ended.document()
    assert told(document) == {"assigned": 50}
    assert (document["exit_code"], document["rows"], document["attempts"]) == (0, 50, 50)
    results = read_results(tmp_path / "jobs.results.csv")
    assert [row["acs_credential_id"] for row in results] == [job["acs_credential_id"] for job in jobs]
    assert {row["outcome"] for row in results} == {"assigned"}
    applied = service.applied()
    assert all(applied[job["acs_credential_id"]] == job["acs_user_id"] for job in jobs)
    assert {path.name for path in tmp_path.iterdir()} >= {"jobs.csv", "jobs.results.csv", "assign-ledger.db"}


def test_rows_come_from_stdin(service: Service, tmp_path: Path) -> None:
    """`-`, with --format; the files are in the current folder."""
    given = "".join(json.dumps(job) + "\n" for job in make_jobs(20))
    command = ["run", "-", "--format", "jsonl", "--json"]
    with Started(command, service.environ(), tmp_path, stdin=subprocess.PIPE) as started:
        ended = started.end(given=given)
    assert ended.code == 0
    assert told(ended.document()) == {"assigned": 20}
    assert (tmp_path / "stdin.results.jsonl").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_drains_and_the_same_command_resumes(
    service: Service, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """What is in flight ends, the rest stays pending; the second run sends the rest and nothing twice."""
    service.configure(latency={"median": 0.2})
    command = ["run", write_jobs(tmp_path / "jobs.csv", make_jobs(200)), "--concurrency", "8", "--json"]
    before = service.assigns()
    with Started(command, service.environ(), tmp_path) as started:
        wait_for(lambda: service.assigns() >= before + 20)
        first = started.end(number)
    assert first.code == code
    assert "in flight; press Ctrl-C again to leave at once" in first.err
    outcomes = told(first.document())
    assert outcomes["pending"] + outcomes["assigned"] == 200
    assert {row["outcome"] for row in read_results(tmp_path / "jobs.results.csv")} == {"assigned", "pending"}

    service.configure(latency={"median": 0.0})
    second = call(command, service.environ())
    assert second.code == 0
    assert told(second.document()) == {"assigned": 200}
    assert service.assigns() == before + 200


def test_a_second_signal_leaves_at_once(service: Service, tmp_path: Path) -> None:
    """Without waiting for what is in flight; what was recorded stays, and the next run ends the work."""
    service.configure(faults={"shares": {"never": 1.0}})
    command = ["run", write_jobs(tmp_path / "jobs.csv", make_jobs(30)), "--json"]
    with Started(command, service.environ(), tmp_path) as started:
        wait_for(lambda: service.in_flight() > 0)
        started.process.send_signal(signal.SIGINT)
        assert started.process.stderr is not None
        assert "in flight" in started.process.stderr.readline()
        assert started.end(signal.SIGINT).code == 130
    service.configure(faults={"shares": {"never": 0.0}})
    assert told(call(command, service.environ()).document()) == {"assigned": 30}


def test_a_ledger_in_use_is_exit_4(service: Service, tmp_path: Path) -> None:
    """The message names the holder."""
    service.configure(faults={"shares": {"never": 1.0}})
    command = ["run", write_jobs(tmp_path / "jobs.csv", make_jobs(5)), "--json"]
    with Started(command, service.environ(), tmp_path) as started:
        wait_for(lambda: service.in_flight() > 0)
        second = call(command, service.environ())
        assert second.code == 4
        assert f"process {started.process.pid} " in second.err


def test_a_dead_holder_s_ledger_is_taken_over(service: Service, tmp_path: Path) -> None:
    """Refused while the holder lives; after its kill -9 the same command goes on, and no row is lost or untrue."""
    service.configure(latency={"median": 0.2})
    jobs = make_jobs(60)
    command = ["run", write_jobs(tmp_path / "jobs.csv", jobs), "--concurrency", "8", "--json"]
    before = service.assigns()
    with Started(command, service.environ(), tmp_path) as holder:
        wait_for(lambda: service.assigns() >= before + 16)
        service.configure(faults={"shares": {"never": 1.0}})  # so it does not end meanwhile
        with Started(command, service.environ(), tmp_path) as second:
            ended = second.end()
            assert (ended.code, ended.out) == (4, "")
            assert f"process {holder.process.pid} " in ended.err
        assert holder.end(signal.SIGKILL).code == -signal.SIGKILL
    service.configure(latency={"median": 0.0}, faults={"shares": {"never": 0.0}})
    with Started(command, service.environ(), tmp_path) as successor:
        ended = successor.end()
    assert ended.code == 0
    assert told(ended.document()) == {"assigned": 60}
    applied = service.applied()
    assert all(applied[job["acs_credential_id"]] == job["acs_user_id"] for job in jobs)
    # What was in flight at the kill was read back, not sent blindly again; only what proved not to be there was.
    assert service.assigns() <= before + 60 + 8


def test_no_core_can_be_written(service: Service, tmp_path: Path) -> None:
    """The process that holds the key has its core limit at 0."""
    service.configure(faults={"shares": {"never": 1.0}})
    command = ["run", write_jobs(tmp_path / "jobs.csv", make_jobs(2))]
    with Started(command, service.environ(), tmp_path) as started:
        wait_for(lambda: service.in_flight() > 0)
        assert resource.prlimit(started.process.pid, resource.RLIMIT_CORE) == (0, 0)


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_closed_stdout_changes_nothing_but_what_is_seen(service: Service, tmp_path: Path, more: list[str]) -> None:
    """`run … | head` is quiet, and exits as it would have."""
    reader, writer = os.pipe()
    os.close(reader)
    command = ["run", write_jobs(tmp_path / "jobs.csv", make_jobs(5)), *more]
    with Started(command, service.environ(), tmp_path, stdout=writer) as started:
        os.close(writer)
        ended = started.end()
    assert (ended.code, ended.err) == (0, "")


def test_a_run_ends_with_a_summary(service: Service, tmp_path: Path) -> None:
    """Without --json: counts, where the files are, and no escape sequences where stdout is no terminal."""
    service.configure(world={"unknown_users": 0.2, "warnings": 0.5})
    jobs = make_jobs(50)
    jobs[3]["acs_user_id"] = "nobody"
    ended = call(["run", write_jobs(tmp_path / "jobs.csv", jobs)], service.environ())
    assert ended.code == 1
    for part in ("assigned", "failed", "invalid", "jobs.results.csv", "assign-ledger.db"):
        assert part in ended.out
    assert "\x1b" not in ended.out + ended.err
    assert all("[warning  ] attempt" in line for line in ended.err.splitlines())


def test_a_finished_input_is_not_sent_again(service: Service, tmp_path: Path) -> None:
    """The command says what it found and names --again, which sends it as a new run."""
    command = ["run", write_jobs(tmp_path / "jobs.csv", make_jobs(10))]
    before = service.assigns()
    assert call(command, service.environ()).code == 0
    again = call(command, service.environ())
    assert again.code == 0
    assert "--again" in again.out
    assert service.assigns() == before + 10
    assert call([*command, "--again"], service.environ()).code == 0
    assert service.assigns() == before + 20


@pytest.mark.parametrize(
    "command",
    [
        ["results", "-o", "jobs.csv"],
        ["retry", "--outcome", "failed", "--results", "jobs.csv"],
        ["verify", "--results", "./jobs.csv"],
        ["undo", "--results", "jobs.csv"],
    ],
)
def test_results_leave_the_input_alone(service: Service, tmp_path: Path, command: list[str]) -> None:
    """Whatever works from the ledger knows what the run's input was called."""
    jobs = write_jobs(tmp_path / "jobs.csv", make_jobs(3))
    assert call(["run", jobs, "--takeover", "refuse"], service.environ()).code == 0
    before = jobs.read_bytes()
    ended = call(command, service.environ())
    assert ended.code == 2
    assert "is the input of run" in ended.err
    assert jobs.read_bytes() == before


def test_results_are_no_stream(service: Service, tmp_path: Path) -> None:
    """`-` is stdout elsewhere, and would be a file of that name here."""
    ended = call(["run", write_jobs(tmp_path / "jobs.csv", make_jobs(1)), "--results", "-"], service.environ())
    assert ended.code == 2
    assert "results -o -" in ended.err
    assert not (tmp_path / "-").exists()


def test_a_name_that_is_no_utf_8(service: Service, tmp_path: Path) -> None:
    """The file is sent, and its name told with the bytes that no ledger takes."""
    jobs = write_jobs(tmp_path / os.fsdecode(b"n\xe9.csv"), make_jobs(2))
    ended = call(["run", jobs, "--json"], service.environ())
    assert ended.code == 0, ended.err
    (listed,) = call(["runs", "--json"], {}).document()
    assert listed["name"] == "n\\xe9.csv"


def test_a_key_that_was_promised_stops_its_workspace(service: Service, tmp_path: Path) -> None:
    """Its variable is not set: its rows wait for it, and are not refused for being another workspace's."""
    other, (here, there) = "11111111-1111-4111-8111-111111111111", make_jobs(2)
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text("\n".join(json.dumps(job) for job in (here, {**there, "workspace_id": other})))
    config = tmp_path / "worker.toml"
    config.write_text(f'[workspaces."{other}"]\napi_key_env = "SEAM_API_KEY_NORTH"\n')
    ended = call(["run", jobs, "--config", config, "--json"], service.environ())
    assert ended.code == 3, ended.err
    assert told(ended.document()) == {"assigned": 1, "pending": 1}
    assert "SEAM_API_KEY_NORTH is not set" in ended.out


def test_a_missing_key_is_exit_2(tmp_path: Path) -> None:
    """Said before anything is made."""
    ended = call(["run", write_jobs(tmp_path / "jobs.csv", make_jobs(1))], {})
    assert ended.code == 2
    assert "SEAM_API_KEY" in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["jobs.csv"]


def test_a_refused_key_is_exit_3(service: Service, tmp_path: Path) -> None:
    """Nothing was sent, all rows are pending, and the report says why."""
    command = ["run", write_jobs(tmp_path / "jobs.csv", make_jobs(5)), "--json"]
    ended = call(command, service.environ(SEAM_API_KEY="seam_wrong_key_0123456789"))
    assert ended.code == 3
    assert told(ended.document()) == {"pending": 5}
    assert ended.document()["stops"][0]["cause"] == "key_refused"
    assert "seam_wrong_key_0123456789" not in ended.out + ended.err


def test_an_input_that_is_not_there_is_exit_2(service: Service) -> None:
    """One line that names it."""
    ended = call(["run", "jobs.csv"], service.environ())
    assert ended.code == 2
    assert ended.err.startswith("assign-worker: error: ")
    assert "jobs.csv" in ended.err
    assert len(ended.err.splitlines()) == 1


def test_a_rehearsal_needs_no_key(tmp_path: Path) -> None:
    """`--simulate`: files of its own, said at top and bottom, and no simulator left behind."""
    before = {child.pid for child in psutil.Process().children()}
    jobs = write_jobs(tmp_path / "jobs.csv", make_jobs(20))
    ended = call(["run", jobs, "--simulate"], {})
    assert ended.code == 0, ended.err
    lines = [line for line in ended.out.splitlines() if line.strip()]
    assert "rehearsal" in lines[0].lower()
    assert "rehearsal" in lines[-1].lower()
    assert (tmp_path / "jobs.rehearsal.csv").exists()
    shown = [call([name, "--ledger", "assign-ledger.rehearsal.db"], {}).out for name in ("show", "runs")]
    assert all(page.startswith("REHEARSAL") for page in shown)
    assert not (tmp_path / "assign-ledger.db").exists()
    assert [child.pid for child in psutil.Process().children() if child.pid not in before] == []


def test_a_rehearsal_leaves_real_results_alone(tmp_path: Path) -> None:
    """Wherever the settings put them; its own stand beside them."""
    jobs, real = write_jobs(tmp_path / "jobs.csv", make_jobs(3)), tmp_path / "today.csv"
    real.write_text("what really happened\n")
    config = tmp_path / "worker.toml"
    config.write_text(f'[output]\nresults = "{real}"\n')
    ended = call(["run", jobs, "--simulate", "--config", config], {})
    assert ended.code == 0, ended.err
    assert real.read_text() == "what really happened\n"
    assert len((tmp_path / "today.rehearsal.csv").read_text().splitlines()) == 1 + 3
    assert "today.rehearsal.csv" in ended.out


def test_quiet_says_nothing_on_stderr(service: Service, tmp_path: Path) -> None:
    """Not even at level info."""
    service.configure(faults={"shares": {"http_503": 1.0}, "times": 1})
    command = ["run", write_jobs(tmp_path / "jobs.csv", make_jobs(5)), "--log-level", "info"]
    assert "attempt" in call(command, service.environ()).err
    ended = call([*command, "--again", "--quiet"], service.environ())
    assert (ended.code, ended.err) == (0, "")


def test_attempts_are_logged_as_json(service: Service, tmp_path: Path) -> None:
    """`--log-level debug --log-format json`: every line of stderr is an object, with its run and row."""
    command = ["run", write_jobs(tmp_path / "jobs.csv", make_jobs(3)), "--json"]
    ended = call([*command, "--log-level", "debug", "--log-format", "json"], service.environ())
    lines = [json.loads(line) for line in ended.err.splitlines()]
    attempts = [line for line in lines if line.get("call") == "acs/credentials/assign"]
    assert {line["row"] for line in attempts} == {1, 2, 3}
    assert {line["run"] for line in attempts} == {ended.document()["run_id"]}
    assert service.api_key not in ended.err


def test_an_unexpected_error_is_exit_70_with_its_traceback_at_debug(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short message that names the run; the traceback on demand, without the key."""

    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError(f"spoilt by {service.api_key}")

    monkeypatch.setattr("worker.batch.run_batch", broken)
    command = ["run", write_jobs(tmp_path / "jobs.csv", make_jobs(1))]
    short = call(command, service.environ())
    assert short.code == 70
    assert "internal error in the run of " in short.err
    assert "--log-level debug" in short.err
    assert len(short.err.splitlines()) == 1
    long = call([*command, "--log-level", "debug"], service.environ())
    assert "in broken" in long.err
    assert service.api_key not in short.err + long.err


def test_history_export_and_summary_come_from_the_ledger(service: Service, tmp_path: Path) -> None:
    """`runs`, `show` and `results` tell of a run what the run itself told."""
    jobs = make_jobs(10)
    run = call(["run", write_jobs(tmp_path / "jobs.csv", jobs), "--json"], service.environ()).document()
    (listed,) = call(["runs", "--json"], {}).document()
    assert (listed["run_id"], listed["state"], listed["rows"]) == (run["run_id"], "finished", 10)
    assert listed["outcomes"] == {"assigned": 10}
    assert run["run_id"] in call(["runs"], {}).out
    shown = call(["show", "--json"], {}).document()
    for key in ("run_id", "outcomes", "latency", "attempts", "exit_code"):
        assert shown[key] == run[key]
    assert f"Run {run['run_id']} of jobs.csv: finished" in call(["show", run["run_id"]], {}).out
    assert call(["results", "-o", "other.csv"], {}).code == 0
    assert (tmp_path / "other.csv").read_bytes() == (tmp_path / "jobs.results.csv").read_bytes()
    with Started(["results", run["run_id"], "--format", "jsonl"], {}, tmp_path) as started:
        lines = [json.loads(line) for line in started.end().out.splitlines()]
    assert [line["input"]["flat"] for line in lines] == [job["flat"] for job in jobs]


@pytest.mark.parametrize("command", [["show", "nothing"], ["results", "nothing"]])
def test_an_unknown_run_is_exit_2(service: Service, tmp_path: Path, command: list[str]) -> None:
    """One line that says how to find the right one."""
    call(["run", write_jobs(tmp_path / "jobs.csv", make_jobs(1))], service.environ())
    ended = call(command, {})
    assert (ended.code, ended.out) == (2, "")
    assert "assign-worker runs" in ended.err


@pytest.mark.parametrize("command", [["show"], ["show", "--json"], ["results"]])
def test_a_stdout_that_cannot_be_written_is_named(service: Service, tmp_path: Path, command: list[str]) -> None:
    """A full disk behind `>`: one line, and no traceback at the exit."""
    call(["run", write_jobs(tmp_path / "jobs.csv", make_jobs(1))], service.environ())
    with Path("/dev/full").open("w") as full, Started(command, {}, tmp_path, stdout=full) as started:
        ended = started.end()
    assert ended.code == 70
    assert ended.err.startswith("assign-worker: error: stdout cannot be written: No space left on device")
    assert len(ended.err.splitlines()) == 1


def test_an_export_whose_reader_has_gone_ends_like_any_filter(service: Service, tmp_path: Path) -> None:
    """`results | head` is quiet, and its exit code says that not all was read."""
    call(["run", write_jobs(tmp_path / "jobs.csv", make_jobs(5))], service.environ())
    reader, writer = os.pipe()
    os.close(reader)
    with Started(["results"], {}, tmp_path, stdout=writer) as started:
        os.close(writer)
        ended = started.end()
    assert (ended.code, ended.err) == (128 + signal.SIGPIPE, "")
