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


def test_results_for_a_closed_stdout_are_refused(service: Service, tmp_path: Path) -> None:
    """They would be nowhere, and the exit code would say that they are."""
    write_jobs(tmp_path / "jobs.csv", make_jobs(1))
    assert call(["run", "jobs.csv"], service.environ()).code == 0
    ended = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "worker", "results", "-o", "-"],
        env=service.environ(),
        stderr=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith(b"assign-worker: error: stdout is closed")
    assert ended.stderr.count(b"\n") == 1


@pytest.mark.parametrize("encoding", ["ascii:strict", "latin-1:strict", "cp1252:strict", "utf-8:strict"])
def test_a_stdout_of_another_encoding_ends_nothing(service: Service, tmp_path: Path, encoding: str) -> None:
    """An arrow, a file's name and a surrogate in it are written as escapes; JSON stays JSON."""
    name = os.fsdecode("jöbs→\U0001f511".encode() + b"\xff.csv")
    write_jobs(tmp_path / name, make_jobs(2))
    environ = service.environ(PYTHONIOENCODING=encoding)
    for words in (["run", name], ["check", name], ["show"], ["runs"], ["run", "--help"]):
        with Started(words, environ, tmp_path, encoding=encoding.partition(":")[0], interpreter=("-m", "worker")) as it:
            ended = it.end()
        assert (ended.code, ended.err) == (0, "")
        assert ended.out
    for words in (["run", name, "--again", "--json"], ["check", name, "--json"], ["runs", "--json"]):
        with Started(words, environ, tmp_path, encoding=encoding.partition(":")[0]) as it:
            ended = it.end()
        assert (ended.code, ended.err) == (0, "")
        assert "jöbs→\U0001f511" in str(ended.document()) or "check" in words
        assert ("jöbs→\U0001f511" in ended.out) == (encoding == "utf-8:strict" and "check" not in words)


@pytest.mark.parametrize("words", [["run", "../jobs.csv"], ["runs"], ["show"], ["results", "-o", "x.csv"], ["verify"]])
def test_a_current_folder_that_is_gone(service: Service, tmp_path: Path, words: list[str]) -> None:
    """One sentence, and the code of what cannot be used."""
    write_jobs(tmp_path / "jobs.csv", make_jobs(1))
    gone = 'mkdir gone && cd gone && rmdir ../gone && exec "$@"'
    ended = subprocess.run(  # noqa: S603 - our own command
        ["/bin/sh", "-c", gone, "sh", sys.executable, "-m", "worker", *words],
        env={**service.environ(), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout) == (2, b"")
    assert ended.stderr == (
        b"assign-worker: error: the current folder is not there any more, and a path begins in it; change to another "
        b"folder\n"
    )


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


OURS = """
[output]
ledger = "l.db"
[telling]
metrics_file = "m.prom"
[credentials]
env_file = ".env"
key_file = "k.key"
[workspaces."5eed0000-0000-4000-8000-00000000abcd"]
key_file = "other.key"
"""
IN_USE = {
    "l.db": "the ledger",
    "l.db-wal": "a file of the ledger l.db",
    "l.db-shm": "a file of the ledger l.db",
    "l.db-journal": "a file of the ledger l.db",
    "l.db.lock": "a file of the ledger l.db",
    "ours.toml": "the --config file",
    ".env": "the env_file of the settings",
    "k.key": "a key_file of the settings",
    "other.key": "a key_file of the settings",
    "m.prom": "the --metrics-file",
}


COME_AND_GO = ("l.db-wal", "l.db-shm", "l.db-journal")
"""SQLite's, while no run is under way."""
CHANGING = (*COME_AND_GO, "m.prom")


@pytest.fixture
def stays(service: Service, tmp_path: Path) -> dict[str, bytes]:
    """A folder in which a run has ended; of the files that it may need again, those that stay as they are."""
    write_jobs(tmp_path / "jobs.csv", make_jobs(2))
    (tmp_path / "ours.toml").write_text(OURS)
    for name in (".env", "k.key", "other.key"):
        (tmp_path / name).touch(0o600)
        (tmp_path / name).write_text("OTHER=1\n" if name == ".env" else service.api_key)
    assert call(["run", "jobs.csv", "--config", "ours.toml"], service.environ()).code == 0
    return {name: (tmp_path / name).read_bytes() for name in (*IN_USE, "jobs.csv") if name not in CHANGING}


@pytest.mark.parametrize("name", IN_USE)
@pytest.mark.parametrize("command", ["run", "results", "plan", "verify", "retry", "undo"])
def test_results_go_over_nothing_that_is_in_use(
    service: Service, tmp_path: Path, stays: dict[str, bytes], command: str, name: str
) -> None:
    """Least of all over the lock: a second run would not know of the first."""
    words = [command, *(["jobs.csv"] if command in {"run", "plan"} else []), "--config", "ours.toml"]
    flag = "-o" if command == "results" else "--results"
    (tmp_path / "symbolic").symlink_to(tmp_path / name)
    targets = [name, "symbolic"]
    if name not in COME_AND_GO:
        (tmp_path / "hard").hardlink_to(tmp_path / name)
        targets.append("hard")
    for target in targets:
        ended = call([*words, flag, target], service.environ())
        told = [f"{flag} {target} is {IN_USE[name]}"]
        if name == "m.prom":  # which is looked at first where a command writes it
            told.append(f"--metrics-file {name} is the --results file")
        assert ended.code == 2, ended
        if name == target == "l.db" and "plain CSV" in ended.err:  # by its name, before the settings are looked at
            continue
        assert ended.err in {f"assign-worker: error: {sentence}; name another file\n" for sentence in told}
    assert {name: (tmp_path / name).read_bytes() for name in stays} == stays


def test_results_spare_the_files_of_a_ledger_by_url(service: Service, tmp_path: Path) -> None:
    """`sqlite:///` names a file, too; a file that is called as one of PostgreSQL's might be is free."""
    write_jobs(tmp_path / "jobs.csv", make_jobs(1))
    ended = call(["run", "jobs.csv", "--ledger", "sqlite:///l.db", "--results", "l.db.lock"], service.environ())
    assert (ended.code, "is a file of the ledger l.db" in ended.err) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["jobs.csv"]


@pytest.mark.parametrize("name", ["jobs.prom", "l.prom", "r.prom", "c.prom", "e.prom", "k.prom"])
@pytest.mark.parametrize("linked", [False, True])
def test_metrics_go_over_nothing_that_is_in_use(service: Service, tmp_path: Path, name: str, *, linked: bool) -> None:
    """An input may end in .prom as well, and so may a ledger."""
    write_jobs(tmp_path / "jobs.prom", make_jobs(1))
    (tmp_path / "c.prom").write_text('[credentials]\nenv_file = "e.prom"\nkey_file = "k.prom"\n')
    for own in ("e.prom", "k.prom", "l.prom", "r.prom"):
        (tmp_path / own).touch(0o600)
    metrics = name
    if linked:
        metrics = "linked.prom"
        (tmp_path / metrics).hardlink_to(tmp_path / name)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    words = ["run", "jobs.prom", "--format", "csv", "--config", "c.prom", "--ledger", "l.prom", "--results", "r.prom"]
    ended = call([*words, "--metrics-file", metrics], service.environ())
    assert ended.code == 2
    assert ended.err.startswith(f"assign-worker: error: --metrics-file {metrics} is the ") or name == "k.prom"
    assert ended.err.endswith("; name another file\n")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["jobs.csv", "c.toml"])
def test_a_ledger_goes_over_nothing_that_is_in_use(service: Service, tmp_path: Path, name: str) -> None:
    """Neither itself nor its lock."""
    write_jobs(tmp_path / "jobs.csv", make_jobs(1))
    (tmp_path / "c.toml").touch()
    ended = call(["run", "jobs.csv", "--config", "c.toml", "--ledger", name], service.environ())
    assert (ended.code, f"--ledger {name} is the " in ended.err) == (2, True)
    (tmp_path / "l.db.lock").hardlink_to(tmp_path / name)
    ended = call(["run", "jobs.csv", "--config", "c.toml", "--ledger", "l.db"], service.environ())
    assert (ended.code, "l.db.lock, a file of the ledger l.db, is the " in ended.err) == (2, True)


@pytest.mark.parametrize(
    "address",
    [
        "bob:x@canaryPW@127.0.0.1:1/db",
        "bob:x@canaryPW/y@127.0.0.1:1/db",
        "bob:canaryPW@y@127.0.0.1:1/db?port=1",
    ],
)
def test_an_at_sign_in_a_ledgers_password_is_told_without_it(service: Service, tmp_path: Path, address: str) -> None:
    """A driver takes half of the password for the host, and tells that there is no such host."""
    write_jobs(tmp_path / "jobs.csv", make_jobs(1))
    for words in (["run", "jobs.csv"], ["show"], ["verify"]):
        ended = call([*words, "--ledger", f"postgresql://{address}"], service.environ())
        assert (ended.code, ended.out) == (2, "")
        assert "%40" in ended.err
        assert "canary" not in ended.err
        assert ended.err.count("\n") == 1
