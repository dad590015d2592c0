"""What `run`, `show` and `runs` tell of the runs before, against a simulator in a process of its own."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.cli.service import Service, Started, call, make_jobs, read_results, wait_for, write_jobs
from worker.ledger import Ledger

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
    """The simulator, and the test in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return running


def test_a_run_tells_what_is_new_since_the_one_before(service: Service, tmp_path: Path) -> None:
    """On its page, in its JSON, and again in `show`; the first run of a name has nothing to compare with."""
    jobs = make_jobs(10)
    path = write_jobs(tmp_path / "jobs.csv", jobs)
    first = call(["run", path, "--json"], service.environ()).document()
    assert first["since"] is None
    (stranger,) = make_jobs(1)
    jobs[4]["acs_user_id"] = stranger["acs_user_id"]
    write_jobs(path, [*make_jobs(2), *jobs[1:]])
    second = call(["run", path], service.environ())
    assert second.code == 0
    told = "2 new (e.g. row 1), 1 gone (e.g. its row 1), 1 for another person (e.g. row 6)"
    assert f"Before    run {first['run_id']}, sent 20" in second.out
    assert told in second.out
    assert told in call(["show"], service.environ()).out
    since = call(["show", "--json"], service.environ()).document()["since"]
    assert since.pop("started_at") > 0
    assert since == {
        "run_id": first["run_id"],
        "new": {"rows": 2, "example_row": 1},
        "gone": {"rows": 1, "example_row": 1},
        "changed": {"rows": 1, "example_row": 6},
        "new_warnings": {"rows": 0, "example_row": None},
        "worse": {"rows": 0, "example_row": None},
    }


def test_the_same_file_under_another_name_is_compared_by_that_name(service: Service, tmp_path: Path) -> None:
    """`--name` goes before the file's own, and filters the list."""
    jobs = make_jobs(3)
    for night in ("monday", "tuesday"):
        path = write_jobs(tmp_path / f"{night}.csv", jobs)
        ended = call(["run", path, "--name", "north", "--again"], service.environ())
    assert "no row is new, gone, changed or worse" in ended.out
    call(["run", path, "--again"], service.environ())
    listed = call(["runs", "--name", "north", "--json"], service.environ()).document()
    assert [(run["name"], run["input"]) for run in listed] == [("north", "tuesday.csv"), ("north", "monday.csv")]


def grow_old(folder: Path) -> None:
    """Have every run of the ledger ended a hundred days ago."""
    with closing(sqlite3.connect(folder / "assign-ledger.db")) as connection, connection:
        connection.execute("UPDATE runs SET stopped_at = stopped_at - 100 * 86400")


def test_old_runs_are_pruned(service: Service, tmp_path: Path) -> None:
    """A dry run says so and changes nothing; then they go, but for the latest, and the rest is as it was."""
    path = write_jobs(tmp_path / "jobs.csv", make_jobs(50))
    ids = [call(["run", path, "--again", "--json"], service.environ()).document()["run_id"] for _ in range(3)]
    grow_old(tmp_path)
    assert "Removed 0 runs" in call(["runs", "prune", "--older-than", "101d"], service.environ()).out
    dry = call(["runs", "prune", "--older-than", "99d", "--dry-run", "--json"], service.environ()).document()
    assert (dry["dry_run"], [run["run_id"] for run in dry["removed"]], dry["rows"]) == (True, ids[:2], 100)
    assert len(call(["runs", "--json"], service.environ()).document()) == 3
    pruned = call(["runs", "prune", "--older-than", "14w"], service.environ())
    assert pruned.code == 0
    assert "Removed 2 runs with 100 rows\n" in pruned.out
    assert "The ledger went from " in pruned.out
    assert [run["run_id"] for run in call(["runs", "--json"], service.environ()).document()] == ids[2:]
    assert call(["show", ids[0]], service.environ()).code == 2
    assert call(["results", "-o", "all.csv"], service.environ()).code == 0
    assert len(read_results(tmp_path / "all.csv")) == 50


def test_pruning_needs_the_ledger_for_itself(service: Service, tmp_path: Path) -> None:
    """While a run works on it, it is exit 4; a dry run only looks."""
    path = write_jobs(tmp_path / "jobs.csv", make_jobs(3))
    call(["run", path], service.environ())
    with Ledger(str(tmp_path / "assign-ledger.db"), exclusive=True):
        assert call(["runs", "prune", "--older-than", "0d"], service.environ()).code == 4
        assert call(["runs", "prune", "--older-than", "0d", "--dry-run"], service.environ()).code == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--older-than", "90"], "'90' is no age; give days, weeks or hours, such as 90d, 12w or 36h"),
        ([], "Missing option '--older-than'"),
        (["--older-than", "9d", "--ledger", "nowhere.db"], "there is no ledger at nowhere.db"),
    ],
)
def test_bad_use_of_prune_is_exit_2(service: Service, arguments: list[str], told: str) -> None:
    """One clear line, and nothing is made."""
    ended = call(["runs", "prune", *arguments], service.environ())
    assert ended.code == 2
    assert told in ended.err


def test_options_before_prune_count_too(service: Service, tmp_path: Path) -> None:
    """`runs --ledger X prune` means that ledger."""
    path = write_jobs(tmp_path / "jobs.csv", make_jobs(3))
    call(["run", path, "--ledger", "elsewhere.db"], service.environ())
    ended = call(["runs", "--ledger", "elsewhere.db", "prune", "--older-than", "0d"], service.environ())
    assert (ended.code, ended.out) == (0, "Removed 0 runs with 0 rows\n")


def test_a_run_that_is_being_sent_is_shown_as_such(service: Service, tmp_path: Path) -> None:
    """Who is at work on it; no advice to run it again beside. Once that one is gone, there is."""
    jobs, before = write_jobs(tmp_path / "jobs.csv", make_jobs(400)), service.assigns()
    with Started(["run", jobs, "--rate", "20"], service.environ(), tmp_path) as started:
        wait_for(lambda: service.assigns() >= before + 20)
        ended = call(["show", "--json", "--ledger", tmp_path / "assign-ledger.db"], service.environ())
        started.end(signal.SIGKILL)
    shown = ended.document()
    assert (shown["state"], shown["exit_code"], shown["next_steps"]) == ("open", 4, [])
    (note,) = shown["notes"]
    assert note.startswith(f"process {started.process.pid} on ")
    assert note.endswith(", is at work on it; rows in doubt are on their way")
    left = call(["show", "--json", "--ledger", tmp_path / "assign-ledger.db"], service.environ()).document()
    assert (left["exit_code"], left["notes"]) == (3, [])
    assert left["next_steps"][0] == "The same command goes on from here"
