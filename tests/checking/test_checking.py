"""`check`: every row that would not be sent, with row, line, column and sentence."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.ledger.filling import uuid
from worker.checking import CheckReport, check_input
from worker.errors import InputError, InterruptedEarlyError, LedgerError
from worker.models import Outcome
from worker.readers import ReadOptions

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

HEADER = "acs_credential_id,acs_user_id,workspace_id,note"


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go in these tests."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file to check."""
    return tmp_path / "jobs.csv"


def written(path: Path, rows: Iterable[str], header: str = HEADER) -> Path:
    """A CSV file."""
    path.write_text("".join(f"{line}\n" for line in (header, *rows)))
    return path


def job(credential: int, person: int = 7, workspace: str = "") -> str:
    """One good row."""
    return f"{uuid(credential)},{uuid(person)},{workspace},x"


def counts(report: CheckReport) -> tuple[int, ...]:
    """Rows, and what they are."""
    return report.rows, report.sendable, report.invalid, report.duplicate, report.conflict


def test_good_file(path: Path, scratch: Path) -> None:
    """Every row can be sent; exit 0; nothing is left behind."""
    written(path, [job(1), job(2, workspace=uuid(9)), job(3)])
    with check_input(path, ReadOptions()) as report:
        assert counts(report) == (3, 3, 0, 0, 0)
        assert list(report.problems()) == []
        assert (report.workspaces, report.exit_code) == (2, 0)
        assert report.columns == tuple(HEADER.split(","))
        assert len(list(scratch.iterdir())) == 1
    assert list(scratch.iterdir()) == []


def test_every_kind_of_problem_in_order(path: Path) -> None:
    """Rows come in input order with their lines, the column by its name, and a sentence."""
    rows = [job(1), "x,y,,", '"a\nb"', job(2), job(1), job(3), job(3, 8), job(3), f"{uuid(5)},zz,,"]
    written(path, rows)
    with check_input(path, ReadOptions()) as report:
        assert counts(report) == (9, 2, 3, 1, 3)
        assert report.exit_code == 1
        found = list(report.problems())
    assert [(problem.row, problem.line, problem.kind, problem.column) for problem in found] == [
        (2, 3, Outcome.INVALID, "acs_credential_id"),
        (3, 4, Outcome.INVALID, None),
        (5, 7, Outcome.DUPLICATE, "acs_credential_id"),
        (6, 8, Outcome.CONFLICT, "acs_credential_id"),
        (7, 9, Outcome.CONFLICT, "acs_credential_id"),
        (8, 10, Outcome.CONFLICT, "acs_credential_id"),
        (9, 11, Outcome.INVALID, "acs_user_id"),
    ]
    assert "too few cells" in found[1].sentence
    assert "row 1" in found[2].sentence


def test_limit_and_second_look(path: Path) -> None:
    """The first problems for a table, then all of them again."""
    written(path, ["x,y,,"] * 30)
    with check_input(path, ReadOptions()) as report:
        assert [problem.row for problem in report.problems(limit=3)] == [1, 2, 3]
        assert len(list(report.problems())) == 30


def test_duplicates_alone_are_well(path: Path) -> None:
    """The first of them goes, so the check passes."""
    written(path, [job(1), job(1)])
    with check_input(path, ReadOptions()) as report:
        assert (report.exit_code, report.duplicate) == (0, 1)


def test_mapped_columns_are_named_as_in_the_file(path: Path) -> None:
    """A problem names the column that the operator sees."""
    written(path, [f"{uuid(1)},no"], header="card,user")
    options = ReadOptions(mapping={"acs_credential_id": "card", "acs_user_id": "user"})
    with check_input(path, options) as report:
        assert [problem.column for problem in report.problems()] == ["user"]


def test_json_lines(tmp_path: Path) -> None:
    """JSON lines are checked alike; a line that is no JSON has no column."""
    path = tmp_path / "jobs.jsonl"
    path.write_text(
        f'{{"acs_credential_id": "{uuid(1)}", "acs_user_id": "{uuid(2)}"}}\n{{"acs_credential_id": 5}}\nno\n'
    )
    with check_input(path, ReadOptions()) as report:
        assert counts(report) == (3, 1, 2, 0, 0)
        assert [problem.column for problem in report.problems()] == ["acs_credential_id", None]
        assert report.columns is None


def test_unreadable_file_leaves_nothing_behind(tmp_path: Path, scratch: Path) -> None:
    """A file that is no jobs at all is an error, and the scratch folder goes."""
    with pytest.raises(InputError), check_input(tmp_path / "none.csv", ReadOptions()):
        pass
    assert list(scratch.iterdir()) == []


def test_interrupted(path: Path, scratch: Path) -> None:
    """A check that is told to stop leaves nothing behind."""
    written(path, [job(number) for number in range(1, 2_100)])
    with pytest.raises(InterruptedEarlyError), check_input(path, ReadOptions(), keep_going=lambda: False):
        pass
    assert list(scratch.iterdir()) == []


def test_no_place_for_temporary_files(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said in a sentence that names the way out."""
    written(path, [job(1)])
    monkeypatch.setattr(tempfile, "tempdir", str(path / "missing"))
    with pytest.raises(LedgerError, match="TMPDIR"), check_input(path, ReadOptions()):
        pass


def test_scratch_is_private_and_holds_no_cells(path: Path, scratch: Path) -> None:
    """What stood in the file does not go to a shared temporary folder, and the folder is its owner's alone."""
    written(path, [f"{uuid(1)},{uuid(2)},,canary-note"])
    with check_input(path, ReadOptions()):
        (folder,) = scratch.iterdir()
        assert folder.stat().st_mode & 0o077 == 0
        assert not [file for file in folder.iterdir() if b"canary-note" in file.read_bytes()]


def test_document(path: Path) -> None:
    """The counts for --json."""
    written(path, [job(1), "x,y,,"])
    with check_input(path, ReadOptions()) as report:
        document = report.as_dict()
    assert {name: document[name] for name in ("rows", "sendable", "invalid", "exit_code")} == {
        "rows": 2,
        "sendable": 1,
        "invalid": 1,
        "exit_code": 1,
    }
