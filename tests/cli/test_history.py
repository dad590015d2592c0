"""What `run`, `show` and `runs` tell of the runs before, against a simulator in a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.service import Service, call, make_jobs, write_jobs

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
