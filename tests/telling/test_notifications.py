"""Notifications of real runs, sent by Apprise to a web server of the test's."""

from __future__ import annotations

import json
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.service import Started, call, make_jobs, wait_for, write_jobs
from tests.telling.listener import Listener

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.service import Service


@pytest.fixture
def hook() -> Iterator[Listener]:
    """A webhook."""
    with Listener() as listener:
        yield listener


def url_of(hook: Listener, more: str = "/hooks/Tok3nAbcdef") -> str:
    """As a user would write it."""
    return f"json://bell:canary-password@127.0.0.1:{hook.port}{more}"


def told(hook: Listener) -> dict[str, Any]:
    """The one notification."""
    (heard,) = hook.heard
    document: dict[str, Any] = json.loads(heard.body)
    return document


def test_the_end_of_a_run_is_told(service: Service, hook: Listener, tmp_path: Path) -> None:
    """Counts and failures, once, after the export, with the URL's own user and password."""
    jobs = make_jobs(20)
    jobs[3]["acs_user_id"] = "nobody"
    ended = call(["run", write_jobs(tmp_path / "jobs.csv", jobs), "--notify", url_of(hook)], service.environ())
    assert (ended.code, ended.err) == (1, "")
    note = told(hook)
    assert note["title"] == "assign-worker: jobs.csv finished, 1 row of 20 to look at"
    assert "20 rows: 19 assigned, 1 invalid." in note["message"]
    assert note["type"] == "warning"
    assert hook.heard[0].path == "/hooks/Tok3nAbcdef"
    assert hook.heard[0].headers["authorization"].startswith("Basic ")


@pytest.mark.parametrize(("given", "bad", "heard"), [("failure", 0, 0), ("failure", 1, 1), ("always", 0, 1)])
def test_on_failure_only(  # noqa: PLR0913, PLR0917 - a table's columns
    given: str, bad: int, heard: int, service: Service, hook: Listener, tmp_path: Path
) -> None:
    """`--notify-on failure` is silent about exit code 0."""
    jobs = make_jobs(3)
    if bad:
        jobs[0]["acs_user_id"] = "nobody"
    command = ["run", write_jobs(tmp_path / "jobs.csv", jobs), "--notify", url_of(hook), "--notify-on", given]
    assert call(command, service.environ()).code == bad
    assert len(hook.heard) == heard


def test_urls_come_from_the_environment_and_from_a_file(service: Service, hook: Listener, tmp_path: Path) -> None:
    """Several of them, where the list of processes does not show them."""
    jobs = write_jobs(tmp_path / "jobs.csv", make_jobs(2))
    both = f"{url_of(hook, '/one')} {url_of(hook, '/two')}"
    assert call(["run", jobs], service.environ(ASSIGN_WORKER_NOTIFY=both)).code == 0
    assert sorted(heard.path for heard in hook.heard) == ["/one", "/two"]
    (tmp_path / "c.toml").write_text(f'[telling]\nnotify = ["{url_of(hook, "/three")}"]\n')
    assert call(["run", jobs, "--config", tmp_path / "c.toml"], service.environ()).code == 0
    assert hook.heard[-1].path == "/three"


def test_a_stopped_run_says_why(service: Service, hook: Listener, tmp_path: Path) -> None:
    """SIGTERM drains, and the notification tells of the rows that are left, and the way on without the URL."""
    service.configure(latency={"median": 0.2})
    command = ["run", write_jobs(tmp_path / "jobs.csv", make_jobs(200)), "--concurrency", "8"]
    before = service.assigns()
    with Started([*command, "--notify", url_of(hook)], service.environ(), tmp_path) as started:
        wait_for(lambda: service.assigns() >= before + 20)
        assert started.end(signal.SIGTERM).code == 143
    note = told(hook)
    assert "stopped early" in note["title"]
    assert "Stopped: interrupted by SIGTERM" in note["message"]
    assert "--notify 'json://***'" in note["message"]
    assert "canary" not in note["message"]
    assert note["type"] == "failure"


@pytest.mark.parametrize("arguments", [["absent.csv"], ["jobs.csv", "--ledger", "absent/ledger.db"]])
def test_an_error_before_sending_is_told(
    arguments: list[str], service: Service, hook: Listener, tmp_path: Path
) -> None:
    """Nobody waits for a run that never began."""
    write_jobs(tmp_path / "jobs.csv", make_jobs(2))
    before = service.assigns()
    ended = call(["run", *arguments, "--notify", url_of(hook)], service.environ())
    assert ended.code == 2
    note = told(hook)
    assert note["title"].endswith(f"the run of {arguments[0]} ended with an error")
    assert "ended with exit code 2" in note["message"]
    assert "absent" in note["message"]
    assert service.assigns() == before


def test_a_held_ledger_is_told(service: Service, hook: Listener, tmp_path: Path) -> None:
    """The second run of a night that did not end."""
    service.configure(faults={"shares": {"never": 1.0}})
    command = ["run", write_jobs(tmp_path / "jobs.csv", make_jobs(5))]
    with Started(command, service.environ(), tmp_path) as started:
        wait_for(lambda: service.in_flight() > 0)
        assert call([*command, "--notify", url_of(hook)], service.environ()).code == 4
        assert f"process {started.process.pid} " in told(hook)["message"]


def test_an_internal_error_is_told_by_its_kind(
    service: Service, hook: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 70 stays, and the words of the error do not leave the machine."""

    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("words of an error")

    monkeypatch.setattr("worker.batch.run_batch", broken)
    command = ["run", write_jobs(tmp_path / "jobs.csv", make_jobs(1)), "--notify", url_of(hook)]
    assert call(command, service.environ()).code == 70
    assert "internal error (RuntimeError)" in told(hook)["message"]
    assert "words of an error" not in told(hook)["message"]


def test_a_notification_that_fails_is_one_warning(service: Service, tmp_path: Path) -> None:
    """Exit code, results and summary are as without it, and the URL is not shown."""
    with Listener(status=500) as hook:
        command = ["run", write_jobs(tmp_path / "jobs.csv", make_jobs(4)), "--json", "--notify", url_of(hook)]
        ended = call(command, service.environ())
    assert len(hook.heard) == 1
    assert ended.code == 0
    assert ended.document()["outcomes"]["assigned"] == 4
    (line,) = ended.err.splitlines()
    assert "the notification to json://*** could not be sent; the run is not affected" in line


def test_a_silent_service_is_not_waited_for(service: Service, tmp_path: Path) -> None:
    """The command ends when the bound is over, though the service still holds the connection."""
    prelude = "import worker.cli.notifier; worker.cli.notifier.SEND_SECONDS = 0.5"
    code = f"{prelude}\nimport sys\nfrom worker.__main__ import main\nsys.exit(main())"
    jobs = write_jobs(tmp_path / "jobs.csv", make_jobs(2))
    with Listener(silent=True) as hook:
        command = ["run", jobs, "--notify", f"{url_of(hook)}?rto=60"]
        with Started(command, service.environ(), tmp_path, interpreter=["-c", code]) as started:
            ended = started.end()
        assert len(hook.heard) == 1, "it is still being asked"
    assert ended.code == 0
    assert "was not sent in time; the run is not affected" in ended.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_waiting_alone(service: Service, tmp_path: Path, number: signal.Signals) -> None:
    """The run is over: its summary is shown and its exit code is its own."""
    jobs = write_jobs(tmp_path / "jobs.csv", make_jobs(2))
    with Listener(silent=True) as hook:
        command = ["run", jobs, "--json", "--notify", f"{url_of(hook)}?rto=60"]
        with Started(command, service.environ(), tmp_path) as started:
            wait_for(lambda: len(hook.heard) == 1)
            ended = started.end(number)
    assert ended.code == 0
    assert ended.document()["outcomes"]["assigned"] == 2
    assert "was not sent in time" in ended.err


def test_ctrl_c_while_the_sending_begins(service: Service, tmp_path: Path) -> None:
    """The same as a moment later: its thread has begun, and nobody waits for it yet."""
    code = """
import signal, sys, threading
from worker.__main__ import main

def start_and_interrupt(thread, start=threading.Thread.start):
    start(thread)
    if thread.name == "notification":
        signal.raise_signal(signal.SIGINT)

threading.Thread.start = start_and_interrupt
sys.exit(main())
"""
    jobs = write_jobs(tmp_path / "jobs.csv", make_jobs(2))
    with Listener(silent=True) as hook:
        command = ["run", jobs, "--json", "--notify", f"{url_of(hook)}?rto=60"]
        with Started(command, service.environ(), tmp_path, interpreter=["-c", code]) as started:
            ended = started.end()
    assert ended.code == 0
    assert ended.document()["outcomes"]["assigned"] == 2
    assert "was not sent in time" in ended.err


def test_a_retry_is_told_as_its_run(service: Service, hook: Listener, tmp_path: Path) -> None:
    """By the run's own name, with the counts of the whole."""
    jobs = make_jobs(3)
    jobs[0]["acs_user_id"] = "nobody"
    assert call(["run", write_jobs(tmp_path / "jobs.csv", jobs)], service.environ()).code == 1
    assert call(["retry", "--notify", url_of(hook)], service.environ()).code == 1
    note = told(hook)
    assert note["title"] == "assign-worker: jobs.csv finished, 1 row of 3 to look at"
    assert "nothing to retry" in note["message"]


@pytest.mark.parametrize(
    ("command", "title"),
    [("verify", "jobs.csv verified, "), ("undo", "jobs.csv finished, ")],
)
def test_other_commands_are_told(command: str, title: str, service: Service, hook: Listener, tmp_path: Path) -> None:
    """Each with what its own report says."""
    jobs = write_jobs(tmp_path / "jobs.csv", make_jobs(3))
    assert call(["run", jobs], service.environ()).code == 0
    ended = call([command, "--notify", url_of(hook)], service.environ())
    note = told(hook)
    assert title in note["title"]
    assert f"ended with exit code {ended.code}" in note["message"]


@pytest.mark.parametrize("command", [["plan", "jobs.csv"], ["undo", "--dry-run"]])
def test_what_changes_nothing_tells_nobody_else(
    command: list[str], service: Service, hook: Listener, tmp_path: Path
) -> None:
    """Whoever asked for it reads it."""
    assert call(["run", write_jobs(tmp_path / "jobs.csv", make_jobs(2))], service.environ()).code == 0
    assert call(command, service.environ(ASSIGN_WORKER_NOTIFY=url_of(hook))).code in {0, 1}
    assert hook.heard == []


def test_what_cannot_be_told_is_told_where_it_can(service: Service, hook: Listener, tmp_path: Path) -> None:
    """A busy port keeps a run from beginning, and that too is news."""
    command = ["run", write_jobs(tmp_path / "jobs.csv", make_jobs(1)), "--metrics-file", "absent/m.prom"]
    assert call([*command, "--notify", url_of(hook)], service.environ()).code == 2
    assert "--metrics-file absent/m.prom: cannot be written" in told(hook)["message"]


def test_a_file_s_name_that_looks_like_a_key_is_told(service: Service, hook: Listener, tmp_path: Path) -> None:
    """The title names the run; what may be a key is masked in the rest."""
    command = ["run", write_jobs(tmp_path / "seam_residents.csv", make_jobs(1)), "--notify", url_of(hook)]
    assert call(command, service.environ()).code == 0
    assert told(hook)["title"] == "assign-worker: seam_residents.csv finished, all is well"


@pytest.mark.parametrize("url", ["nonsense://host/Tok3nAbcdef", "mailto://", "json://"])
def test_a_url_that_apprise_does_not_know_is_exit_2(url: str, service: Service, tmp_path: Path) -> None:
    """Before anything is sent, by its place and scheme alone."""
    before = service.assigns()
    command = ["run", write_jobs(tmp_path / "jobs.csv", make_jobs(1)), "--notify", url]
    ended = call(command, service.environ())
    assert ended.code == 2
    assert ended.err.startswith("assign-worker: error: --notify: ")
    assert "Tok3nAbcdef" not in ended.err
    assert len(ended.err.splitlines()) == 1
    assert service.assigns() == before
    assert [path.name for path in tmp_path.iterdir()] == ["jobs.csv"]


def test_without_the_extra_it_is_one_sentence(
    service: Service, hook: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 2 that names the extra, and nothing was sent."""
    monkeypatch.setitem(sys.modules, "apprise", None)
    before = service.assigns()
    command = ["run", write_jobs(tmp_path / "jobs.csv", make_jobs(1)), "--notify", url_of(hook)]
    ended = call(command, service.environ())
    assert ended.code == 2
    assert "pip install '.[notify]' in a checkout" in ended.err
    assert len(ended.err.splitlines()) == 1
    assert service.assigns() == before
