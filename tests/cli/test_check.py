"""`check`: the page, the JSON and the exit codes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.cli.service import Started, call, make_jobs, write_jobs

if TYPE_CHECKING:
    from pathlib import Path


def spoilt(tmp_path: Path, count: int = 10) -> Path:
    """A file with a bad row, a duplicate and a conflict."""
    jobs = make_jobs(count)
    jobs[2]["acs_user_id"] = "nobody"
    jobs.append(dict(jobs[0]))
    jobs.append({**jobs[1], "acs_user_id": jobs[3]["acs_user_id"]})
    return write_jobs(tmp_path / "jobs.csv", jobs)


def test_a_clean_file_is_exit_0(tmp_path: Path) -> None:
    """One line, and nothing is made beside the file."""
    ended = call(["check", write_jobs(tmp_path / "jobs.csv", make_jobs(10))], {})
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.endswith("jobs.csv: 10 rows, 10 to send\n")
    assert [path.name for path in tmp_path.iterdir()] == ["jobs.csv"]


def test_duplicates_alone_do_not_spoil_it(tmp_path: Path) -> None:
    """The first one goes."""
    jobs = make_jobs(3)
    ended = call(["check", write_jobs(tmp_path / "jobs.csv", [*jobs, jobs[0]])], {})
    assert ended.code == 0
    assert "4 rows, 3 to send" in ended.out
    assert "1 duplicate" in ended.out


def test_problems_are_told_with_row_line_and_column(tmp_path: Path) -> None:
    """As JSON, every one of them; conflicts on all their rows."""
    ended = call(["check", spoilt(tmp_path), "--json"], {})
    assert (ended.code, ended.err) == (1, "")
    document = ended.document()
    assert (document["rows"], document["sendable"], document["exit_code"]) == (12, 8, 1)
    assert (document["invalid"], document["duplicate"], document["conflict"]) == (1, 1, 2)
    found = [(problem["row"], problem["line"], problem["kind"]) for problem in document["problems"]]
    assert found == [(2, 3, "conflict"), (3, 4, "invalid"), (11, 12, "duplicate"), (12, 13, "conflict")]
    assert document["problems"][1]["column"] == "acs_user_id"
    assert "nobody" in document["problems"][1]["sentence"]


def test_the_page_shows_the_first_fifty(tmp_path: Path) -> None:
    """And says how many more there are."""
    jobs = [{**job, "acs_credential_id": "x"} for job in make_jobs(80)]
    ended = call(["check", write_jobs(tmp_path / "jobs.csv", jobs)], {})
    assert ended.code == 1
    assert "and 30 more" in ended.out
    assert ended.out.count('"x"') == 50
    assert "80 invalid" in ended.out


def test_a_foreign_column_is_mapped(tmp_path: Path) -> None:
    """`--map`, more than once."""
    jobs = [{"card": job["acs_credential_id"], "who": job["acs_user_id"]} for job in make_jobs(3)]
    path = write_jobs(tmp_path / "jobs.csv", jobs)
    mapped = ["--map", "acs_credential_id=card", "--map", "acs_user_id=who"]
    assert call(["check", path, *mapped], {}).code == 0
    assert call(["check", path], {}).code == 2


@pytest.mark.parametrize("content", [None, b"a,b\n1,2\n", b""])
def test_what_cannot_be_read_is_exit_2(tmp_path: Path, content: bytes | None) -> None:
    """A missing file, missing columns, nothing at all: one message."""
    if content is not None:
        (tmp_path / "jobs.csv").write_bytes(content)
    ended = call(["check", tmp_path / "jobs.csv"], {})
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("assign-worker: error: ")


def test_a_column_cannot_drive_the_terminal(tmp_path: Path) -> None:
    """Neither control characters nor markup of the file are obeyed."""
    jobs = [{**make_jobs(1)[0], "acs_user_id": "\x1b[2J[red]x"}]
    ended = call(["check", write_jobs(tmp_path / "jobs.csv", jobs)], {})
    assert "\x1b" not in ended.out
    assert "[red]x" in ended.out


def test_a_closed_stdout_keeps_the_exit_code(tmp_path: Path) -> None:
    """`check … | head` is quiet."""
    reader, writer = os.pipe()
    os.close(reader)
    with Started(["check", spoilt(tmp_path)], {}, tmp_path, stdout=writer) as started:
        os.close(writer)
        ended = started.end()
    assert (ended.code, ended.err) == (1, "")
