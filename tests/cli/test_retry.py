"""`retry` on the command line, against a simulator in a process of its own."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.cli.service import Ended, Service, Started, call, make_jobs, read_results, wait_for, write_jobs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    """One simulator for all tests here; each has jobs of its own."""
    with Service() as service:
        yield service


@pytest.fixture
def service(running: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Service:
    """The simulator as it begins, and the test in a folder of its own."""
    running.configure(latency={"median": 0.0}, world={"unknown_users": 1.0})
    wait_for(lambda: running.in_flight() == 0)
    monkeypatch.chdir(tmp_path)
    return running


def begun(service: Service, folder: Path, count: int = 20) -> tuple[list[dict[str, str]], Ended]:
    """A finished run whose rows have all failed; from then on the service knows the people."""
    jobs = make_jobs(count)
    ended = call(["run", write_jobs(folder / "jobs.csv", jobs), "--json"], service.environ())
    assert (ended.code, ended.document()["outcomes"]["failed"]) == (1, count)
    service.configure(world={"unknown_users": 0.0})
    return jobs, ended


def test_a_retry_brings_the_run_to_its_end(service: Service, tmp_path: Path) -> None:
    """From the current folder's ledger; every command then tells the run with its retry."""
    jobs, first = begun(service, tmp_path)
    retried = call(["retry", "--outcome", "failed", "--json"], service.environ())
    assert (retried.code, retried.err) == (0, "")
    report = retried.document()
    assert (report["run_id"], report["outcomes"]["assigned"]) == (first.document()["run_id"], 20)
    applied = service.applied()
    assert all(applied[job["acs_credential_id"]] == job["acs_user_id"] for job in jobs)

    (retry_id,) = report["retries"]
    rows = read_results(tmp_path / "jobs.results.csv")
    assert [row["acs_credential_id"] for row in rows] == [job["acs_credential_id"] for job in jobs]
    assert {(row["outcome"], row["run_id"]) for row in rows} == {("assigned", retry_id)}
    for reference in (report["run_id"], retry_id):
        shown = call(["show", reference], service.environ())
        assert f"Run {report['run_id']} of jobs.csv: finished, with 1 retry" in shown.out
        assert call(["results", reference, "-o", "again.csv"], service.environ()).code == 0
        assert read_results(tmp_path / "again.csv") == rows
    listed = call(["runs", "--json"], service.environ()).document()
    assert [(run["run_id"], run["kind"]) for run in listed] == [(retry_id, "retry"), (report["run_id"], "run")]
    assert "jobs.csv (retry)" in call(["runs"], service.environ()).out


def test_nothing_to_retry_is_one_sentence(service: Service, tmp_path: Path) -> None:
    """With the exit code of the run as it stands; the page names what was not found."""
    begun(service, tmp_path)
    ended = call(["retry"], service.environ())
    assert ended.code == 1
    assert "Nothing to retry: no row failed that may succeed now, and none is in doubt\n" in ended.out


def test_a_signal_drains_and_the_same_command_goes_on(service: Service, tmp_path: Path) -> None:
    """No row is sent twice by the retry, and the way on is named."""
    begun(service, tmp_path, 200)
    service.configure(latency={"median": 0.2})
    command = ["retry", "--outcome", "failed", "--concurrency", "8", "--json"]
    before = service.assigns()
    with Started(command, service.environ(), tmp_path) as started:
        wait_for(lambda: service.assigns() >= before + 20)
        first = started.end(signal.SIGTERM)
    assert first.code == 143
    assert first.document()["outcomes"]["pending"] > 0
    assert first.document()["next_steps"][0].endswith(": assign-worker " + " ".join(command))
    assert "`assign-worker retry" not in "".join(first.document()["next_steps"][1:])
    service.configure(latency={"median": 0.0})
    second = call(command, service.environ())
    assert (second.code, second.document()["outcomes"]["assigned"]) == (0, 200)
    assert service.assigns() == before + 200


def test_bad_use_is_one_line_and_exit_2(service: Service, tmp_path: Path) -> None:
    """An unknown outcome, an unknown run, another endpoint; nothing is sent."""
    begun(service, tmp_path)
    before = service.assigns()
    for command, told in (
        (["retry", "--outcome", "assigned"], "'assigned' is not one of 'failed', 'in_doubt', 'conflict'"),
        (["retry", "20260101-000000-0000"], "holds no run '20260101-000000-0000'; `assign-worker runs` lists them"),
        (["retry", "--endpoint", "http://127.0.0.1:9"], "and the settings say http://127.0.0.1:9; retry it with"),
        (["retry", "--ledger", "nowhere.db"], "there is no ledger at nowhere.db"),
    ):
        ended = call(command, service.environ())
        assert ended.code == 2
        assert told in ended.err
        assert ended.out == ""
    assert service.assigns() == before
    assert not (tmp_path / "nowhere.db.lock").exists()


def test_a_ledger_in_use_is_exit_4(service: Service, tmp_path: Path) -> None:
    """A retry and a run do not work on one ledger at once."""
    begun(service, tmp_path)
    service.configure(latency={"median": 5.0})
    before = service.assigns()
    with Started(["run", "jobs.csv", "--again"], service.environ(), tmp_path):
        wait_for(lambda: service.in_flight() > 0)
        ended = call(["retry", "--outcome", "failed"], service.environ())
    assert ended.code == 4
    assert "another run works on this ledger" in ended.err
    assert service.assigns() == before
