"""Commands as hurried and as hostile people give them: one sentence, the right exit code, nothing sent."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from tests.cli.service import Service, Started, call, make_jobs, read_results, write_jobs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """One simulator for all tests here; each has jobs of its own."""
    with Service() as service:
        yield service


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each test in a folder of its own."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_change_nothing(service: Service, tmp_path: Path, closed: str) -> None:
    """A caller may have closed stdin, stdout or stderr: no socket and no ledger takes their numbers."""
    jobs = make_jobs(20)
    words = (sys.executable, "-m", "worker", "run", str(write_jobs(tmp_path / "jobs.csv", jobs)))
    ended = subprocess.run(  # noqa: S603 - our own command
        ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *words],
        env=service.environ(),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert [row["outcome"] for row in read_results(tmp_path / "jobs.results.csv")] == ["assigned"] * 20
    assert {job["acs_credential_id"] for job in jobs} <= service.applied().keys()


def test_a_group_without_a_command_shows_its_help_once() -> None:
    """Exit 2, as click has it; not the help inside an error inside the help."""
    ended = call(["fleet"], {})
    assert ended.code == 2
    assert ended.err.count("Usage:") == 1
    assert "Error" not in ended.err


def test_certificates_that_are_none_are_refused_before_anything_is_made(service: Service, tmp_path: Path) -> None:
    """Not an internal error in the middle of the run."""
    write_jobs(tmp_path / "jobs.csv", make_jobs(1))
    ended = call(["run", "jobs.csv", "--ca-file", "jobs.csv"], service.environ())
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        "assign-worker: error: --ca-file: 'jobs.csv' holds no certificates in PEM format; "
        "allowed: a file of PEM certificates\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["jobs.csv"]


def test_a_service_that_does_not_speak_tls(service: Service, tmp_path: Path) -> None:
    """An endpoint whose scheme is wrong: nothing is said of certificates that nobody has seen."""
    jobs = write_jobs(tmp_path / "jobs.csv", make_jobs(1))
    endpoint = service.url.replace("http://", "https://")
    ended = call(["run", jobs, "--endpoint", endpoint, "--json"], service.environ())
    assert ended.code == 3
    (stop,) = ended.document()["stops"]
    assert stop["message"].startswith("no connection could be made that is secure and can be trusted")
    assert "--endpoint" in stop["message"]


def test_a_misspelt_warning_is_told_and_looked_for(service: Service, tmp_path: Path) -> None:
    """It may be one that is new; the run goes on."""
    jobs = write_jobs(tmp_path / "jobs.csv", make_jobs(1))
    ended = call(["run", jobs, "--fail-on-warning", "needs_reissue", "--quiet"], service.environ())
    assert ended.code == 0
    assert "did you mean needs_to_be_reissued?" in ended.err


def test_a_pipe_under_a_name_is_read_once(service: Service, tmp_path: Path) -> None:
    """`run <(make-jobs)`: nothing can be hashed first, and the rows are all there."""
    jobs = make_jobs(20)
    content = write_jobs(tmp_path / "made.csv", jobs).read_bytes()
    os.mkfifo(tmp_path / "jobs.csv")
    writing = threading.Thread(target=(tmp_path / "jobs.csv").write_bytes, args=(content,))
    writing.start()
    with Started(["run", tmp_path / "jobs.csv", "--json"], service.environ(), tmp_path) as started:
        ended = started.end()
    writing.join()
    assert (ended.code, ended.document()["outcomes"]["assigned"]) == (0, 20)


def test_an_input_that_is_not_there_leaves_nothing_behind(service: Service, tmp_path: Path) -> None:
    """No ledger is made for it."""
    for command in ("run", "plan"):
        ended = call([command, "jobs.csv"], service.environ())
        assert (ended.code, ended.err) == (2, "assign-worker: error: jobs.csv does not exist.\n")
    assert list(tmp_path.iterdir()) == []


def test_the_flag_that_was_given_is_the_one_that_is_named(service: Service, tmp_path: Path) -> None:
    """Where the ledger and the results would be one file."""
    write_jobs(tmp_path / "jobs.csv", make_jobs(1))
    ended = call(["run", "jobs.csv", "--ledger", "jobs.results.csv"], service.environ())
    assert (ended.code, ended.err) == (
        2,
        "assign-worker: error: --ledger jobs.results.csv is where the results go; name another file\n",
    )
    ended = call(["run", "jobs.csv", "--ledger", "own.csv", "--results", "own.csv"], service.environ())
    assert "--results own.csv is the ledger" in ended.err


def test_a_place_for_results_in_the_settings_is_the_runs_alone(service: Service, tmp_path: Path) -> None:
    """What `verify`, `plan` and `undo` write is something else, and never goes over it."""
    write_jobs(tmp_path / "jobs.csv", make_jobs(5))
    (tmp_path / "ours.toml").write_text('[output]\nresults = "ours.csv"\n')
    told = {"config": ["--config", "ours.toml"], "variable": []}
    with_variable = {**service.environ(), "ASSIGN_WORKER_RESULTS": "ours.csv"}
    assert call(["run", "jobs.csv", *told["config"], "--sync"], service.environ()).code == 0
    written = (tmp_path / "ours.csv").read_bytes()
    assert call(["verify", "--results", "seen.csv", *told["config"]], service.environ()).code == 0
    assert (tmp_path / "seen.csv").exists()
    for command in (["plan", "jobs.csv"], ["verify"], ["undo", "--dry-run"], ["undo"]):
        for how, flags in told.items():
            environ = with_variable if how == "variable" else service.environ()
            ended = call([*command, *flags], environ)
            assert ended.code == 0, ended.err
            assert (tmp_path / "ours.csv").read_bytes() == written
    assert (tmp_path / "jobs.undone.csv").exists()


@pytest.mark.parametrize("window", ["15:5", "5", "5:5", "-1:5", "a:b"])
def test_an_outage_that_never_is_is_refused(window: str) -> None:
    """A rehearsal that was to have one would go well."""
    ended = call(["simulate", "--outage", window], {})
    assert ended.code == 2
    assert "FROM before TO" in ended.err


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["run", "--help"]])
def test_a_full_disk_behind_stdout_is_told_in_one_sentence(words: list[str]) -> None:
    """Not with a traceback."""
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        ended = subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-m", "worker", *words], stdout=full, stderr=subprocess.PIPE, check=False, timeout=60
        )
    assert ended.returncode == 70
    assert ended.stderr.startswith(b"assign-worker: error: stdout cannot be written: No space left on device")
    assert ended.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    "flags",
    [["--results", "all.csv"], ["--recover"], ["--canary", "3"], ["--max-failures", "1"], ["--fail-on-warning", "x"]],
)
def test_an_undo_that_is_only_read_takes_no_word_on_sending(flags: list[str]) -> None:
    """What would have no effect is refused, with what to leave out."""
    ended = call(["undo", "--dry-run", *flags], {})
    assert (ended.code, ended.out) == (2, "")
    assert f"{flags[0]}" in ended.err
    assert ended.err.endswith(" out\n")
