"""`--confirm`, on a real pseudo-terminal; and where there is none."""

from __future__ import annotations

import io
import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from tests.cli.service import Service, Started, call, make_jobs, write_jobs
from tests.cli.terminal import OnTerminal
from worker.cli.confirming import picture
from worker.guards import Intent, LastRun
from worker.models import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """One simulator for all tests here; each has jobs of its own."""
    with Service() as running:
        yield running


@pytest.fixture
def command(tmp_path: Path) -> list[object]:
    """A run of 30 rows, two of which cannot be sent."""
    jobs = make_jobs(30)
    jobs[7] = {**jobs[7], "acs_user_id": "nobody"}
    jobs[9] = {**jobs[8]}
    return ["run", write_jobs(tmp_path / "jobs.csv", jobs), "--confirm", "--json"]


def told(out: str) -> dict[str, int]:
    """The counts by outcome of a report, without those that are 0."""
    document: dict[str, Any] = json.loads(out)
    return {outcome: rows for outcome, rows in document["outcomes"].items() if rows}


@pytest.mark.parametrize("answer", ["y", "YES"])
def test_yes_sends(service: Service, tmp_path: Path, command: list[object], answer: str) -> None:
    """The counts are shown, nothing is sent before the answer, and then everything is."""
    before = service.assigns()
    with OnTerminal(command, service.environ(), tmp_path) as terminal:
        shown = terminal.until("Send 28 rows? [y/N] ")
        assert service.assigns() == before
        terminal.type(f"{answer}\n")
        code, out = terminal.end()
    rows = [line.split() for line in shown.splitlines()]
    for row in (["to", "send", "28"], ["invalid", "1"], ["duplicate", "1"], ["all", "30"]):
        assert row in rows
    assert (code, told(out)) == (1, {"assigned": 28, "invalid": 1, "duplicate": 1})
    assert service.assigns() == before + 28


@pytest.mark.parametrize("keys", ["n\n", "No\n", "\n", "\x04"])
def test_anything_like_no_sends_nothing(service: Service, tmp_path: Path, command: list[object], keys: str) -> None:
    """No, Enter alone, or the end of the input: exit 3, the rows pending, and the same command asks again."""
    before = service.assigns()
    with OnTerminal(command, service.environ(), tmp_path) as terminal:
        terminal.until("[y/N] ")
        terminal.type(keys)
        code, out = terminal.end()
    assert (code, told(out)) == (3, {"pending": 28, "invalid": 1, "duplicate": 1})
    document = json.loads(out)
    assert [stop["cause"] for stop in document["stops"]] == ["not_confirmed"]
    assert service.assigns() == before
    resumed = call([*command[:2], "--json"], service.environ())
    assert resumed.document()["run_id"] == document["run_id"]
    assert service.assigns() == before + 28


def test_an_unclear_answer_is_asked_again(service: Service, tmp_path: Path, command: list[object]) -> None:
    """Only a clear word counts."""
    with OnTerminal(command, service.environ(), tmp_path) as terminal:
        terminal.until("[y/N] ")
        terminal.type("perhaps\n")
        terminal.until("perhaps\nSend 28 rows? [y/N] ")
        terminal.type("y\n")
        assert terminal.end()[0] == 1


def test_ctrl_c_ends_the_question(service: Service, tmp_path: Path, command: list[object]) -> None:
    """As it ends a run: 130, in order, with the results written and the rows pending."""
    before = service.assigns()
    with OnTerminal(command, service.environ(), tmp_path) as terminal:
        terminal.until("[y/N] ")
        terminal.type("\x03")
        code, out = terminal.end()
        shown = terminal.shown
    assert (code, told(out)) == (130, {"pending": 28, "invalid": 1, "duplicate": 1})
    assert "stopping; press Ctrl-C again to leave at once" in shown
    assert "Traceback" not in shown
    assert (tmp_path / "jobs.results.csv").exists()
    assert service.assigns() == before


def test_the_bar_leaves_the_question_alone(service: Service, tmp_path: Path, command: list[object]) -> None:
    """While it waits, nothing is drawn over it, and the last run of the name stands beside this one."""
    call(["run", write_jobs(tmp_path / "old.csv", make_jobs(40)), "--name", "tower"], service.environ())
    with OnTerminal([*command, "--name", "tower"], service.environ(), tmp_path) as terminal:
        shown = terminal.until("[y/N] ")
        assert "last run 20" in shown
        assert ["assigned", "0", "40"] in [line.split() for line in shown.splitlines()]
        with pytest.raises(subprocess.TimeoutExpired):
            terminal.process.wait(1.0)
        terminal.type("n\n")
        assert terminal.end()[0] == 3
        assert terminal.shown[len(shown) :].startswith("n\n")


@pytest.mark.parametrize("stdin", [subprocess.DEVNULL, subprocess.PIPE])
def test_without_a_terminal_nothing_is_read(
    service: Service, tmp_path: Path, command: list[object], stdin: int
) -> None:
    """Exit 2 at once: the input is not even opened."""
    with Started(["run", tmp_path / "nowhere.csv", *command[2:]], service.environ(), tmp_path, stdin=stdin) as started:
        ended = started.end()
    assert ended.code == 2
    assert "--confirm asks on a terminal, and stdin is none" in ended.err
    assert not (tmp_path / "assign-ledger.db").exists()


def test_stderr_must_be_a_terminal_too(service: Service, tmp_path: Path, command: list[object]) -> None:
    """Where the question would go into a file, nobody sees it."""
    with (
        (tmp_path / "err.txt").open("w") as errors,
        OnTerminal(command, service.environ(), tmp_path, stderr=errors) as terminal,
    ):
        code, _ = terminal.end()
    assert code == 2
    assert "stderr is none" in (tmp_path / "err.txt").read_text()


def test_stdin_cannot_be_input_and_answer(service: Service) -> None:
    """The rows come from there."""
    ended = call(["run", "-", "--format", "csv", "--confirm"], service.environ())
    assert ended.code == 2
    assert "JOBS cannot be -" in ended.err


def drawn(intent: Intent) -> list[list[str]]:
    """The words of each line of the picture."""
    console = Console(file=io.StringIO(), width=100, color_system=None)
    with console.capture() as capture:
        console.print(picture(intent))
    return [line.split() for line in capture.get().splitlines() if line.strip()]


def test_a_sync_shows_whom_it_takes_from() -> None:
    """New and taken over stand under what is to be sent, beside the outcomes of the last run."""
    last = LastRun("20261123-020000-aaaa", 10_000, {Outcome.ASSIGNED: 9_990, Outcome.FAILED: 10})
    intent = Intent("r", "tower", 10_100, 103, {Outcome.UNCHANGED: 9_997}, last=last, new=100, takeovers=3)
    lines = drawn(intent)
    assert lines[0][-5:] == ["this", "run", "last", "run", "20261123-020000-aaaa"]
    assert ["to", "send", "103"] in lines
    assert ["new", "100"] in lines
    assert ["takeover", "3"] in lines
    assert ["unchanged", "9", "997", "0"] in lines
    assert ["failed", "0", "10"] in lines
    assert ["all", "10", "100", "10", "000"] in lines
    assert not any(line[0] == "invalid" for line in lines)
