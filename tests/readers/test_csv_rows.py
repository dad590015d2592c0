"""CSV rows: every kind of bad row, with its row, line and sentence, and what goes on after it."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import pytest

from tests.readers.reading import GOOD, HEADER, A, B, C, brief, read
from worker.models import Job, UserKey
from worker.readers import MAX_FIELD, MAX_RECORD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BOTH = f"acs_credential_id,acs_user_id,user_identity_id,workspace_id\n{A},{{}}\n"
EXAMPLE = "0f8fad5b-d9cb-469f-a165-70867728950e"
REWRITE = f"write the UUID in 36 characters with hyphens alone, as in {EXAMPLE}."
TOO_MANY = "The row has too many cells: 4 cells where the header has 3."
SEE = "see that its quote is closed where it should be."
CLOSED_EARLY = (
    "The quote that opens on line {} is closed in the middle of a text:"
    " close it where the cell ends, and double the quotes that belong to the text."
)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (f",{B},", "acs_credential_id is missing."),
        (f"  ,{B},", "acs_credential_id is missing."),
        (f"{A},,", "Neither acs_user_id nor user_identity_id is given; a row needs one of them."),
        (
            f"jane,{B},",
            f'acs_credential_id is "jane", which is no UUID of 36 characters, as in {EXAMPLE}.',
        ),
        (
            f"{A},{B}0,",
            f'acs_user_id is "{B}0", which is no UUID of 36 characters, as in {EXAMPLE}.',
        ),
        (
            f"{A[:-1]},{B}0,",
            f'acs_credential_id is "{A[:-1]}", which is no UUID of 36 characters, as in {EXAMPLE}.',
        ),
        (
            f"{A},{{{B}}},",
            f'acs_user_id is "{{{B}}}": {REWRITE}',
        ),
        (
            f"{A.replace('-', '')},{B},",
            f'acs_credential_id is "{A.replace("-", "")}": {REWRITE}',
        ),
        (
            f"{A},\u202e\x1b[31m{'x' * 500},",
            'acs_user_id is "\\u202e\\x1b[31m' + "x" * 25 + f'…", which is no UUID of 36 characters, as in {EXAMPLE}.',
        ),
        (f"{A},{B}", "The row has too few cells: 2 cells where the header has 3."),
        ("x", "The row has too few cells: 1 cell where the header has 3."),
        (f"{A},{B},n,m,o", "The row has too many cells: 5 cells where the header has 3."),
        (f"{A},{B},a\0b", "The row holds a NUL character."),
        (
            f'{A},{B},"John "Johnny" Smith"',
            CLOSED_EARLY.format(3),
        ),
        (f"{A},{B},{'n' * (MAX_FIELD + 1)}", "note holds more than 65,536 characters."),
        (f"{A},{B},n,{'n' * (MAX_FIELD + 1)}", "Cell 4 holds more than 65,536 characters."),
        (f"{A},{B},{'n' * 150_000}", "The row has a cell of more than 65,536 characters."),
        (",".join(["n" * 60_000] * 20), "The row is longer than 1,048,576 characters."),
        (f"{A},{B},{'n' * (3 * MAX_RECORD)}", "The row is longer than 1,048,576 characters."),
    ],
)
def test_a_bad_row_is_told_and_its_neighbours_are_not_touched(tmp_path: Path, bad: str, reason: str) -> None:
    """Row 2 on line 3 is rejected with its sentence; the rows around it are jobs."""
    rows = read(tmp_path, f"{HEADER}{GOOD}{bad}\n{GOOD}")
    assert brief(rows) == [(1, 2, "ok"), (2, 3, reason), (3, 4, "ok")]
    assert len(rows[1].cells) < 2 * MAX_FIELD


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (f"{B},{C},", "Both acs_user_id and user_identity_id are given; a row may have only one of them."),
        (",,", "Neither acs_user_id nor user_identity_id is given; a row needs one of them."),
        (" ,\t,", "Neither acs_user_id nor user_identity_id is given; a row needs one of them."),
        (f"{B},,here", f'workspace_id is "here", which is no UUID of 36 characters, as in {EXAMPLE}.'),
    ],
)
def test_two_kinds_of_person(tmp_path: Path, cells: str, reason: str) -> None:
    """Exactly one of the two user columns may be filled, and the workspace is a UUID too."""
    assert brief(read(tmp_path, BOTH.format(cells))) == [(1, 2, reason)]


def test_jobs_are_canonical(tmp_path: Path) -> None:
    """Ids lose the spaces around them and their case; the cells do not."""
    rows = read(tmp_path, BOTH.format(f" {B.upper()} ,  ,{C.upper()}") + f"{A.upper()},,{B},\n")
    assert [row.parsed for row in rows] == [
        Job(1, 2, A, UserKey.ACS_USER, B, C),
        Job(2, 3, A, UserKey.USER_IDENTITY, B, None),
    ]
    assert json.loads(rows[0].cells) == [A, f" {B.upper()} ", "  ", C.upper()]


def test_sentences_name_the_columns_of_the_file(tmp_path: Path) -> None:
    """A mapped field goes by the name that the operator sees."""
    mapping = {"acs_credential_id": "Card", "user_identity_id": "Tenant"}
    rows = read(tmp_path, f"Card,Tenant,x\n,{B},\n{A},,\n", mapping=mapping)
    assert brief(rows) == [
        (1, 2, "Card is missing."),
        (2, 3, "Neither acs_user_id nor Tenant is given; a row needs one of them."),
    ]


def test_undecodable_bytes_cost_one_row(tmp_path: Path) -> None:
    """A Latin-1 name in a UTF-8 file: the byte is named, and survives in the cells as an escape."""
    rows = read(tmp_path, f"{HEADER}{GOOD}{A},{B},Jos".encode() + b"\xe9\n" + f"{A},{B},José\n".encode())
    assert brief(rows) == [
        (1, 2, "ok"),
        (2, 3, "The row holds the byte 0xe9, which is not UTF-8; --encoding names another encoding."),
        (3, 4, "ok"),
    ]
    assert rows[1].cells.endswith('"Jos\\udce9"]')
    assert json.loads(rows[2].cells)[2] == "José"
    assert rows[2].cells.isascii()


def test_lines_are_physical(tmp_path: Path) -> None:
    """Blank lines, quoted newlines and every kind of line end count; blank lines are no rows."""
    content = (
        f'\n"acs_credential_id","acs\n_note",acs_user_id\r\n\r\n{A},"one\r\ntwo\rthree\nfour",{B}\r   \n\n{A},x,{B}'
    )
    rows = read(tmp_path, content)
    assert brief(rows) == [(1, 5, "ok"), (2, 11, "ok")]
    assert json.loads(rows[0].cells)[1] == "one\r\ntwo\rthree\nfour"


def test_separators_of_unicode_end_no_line(tmp_path: Path) -> None:
    """Only LF, CR and CRLF do; a vertical tab or U+2028 is text."""
    rows = read(tmp_path, f"{HEADER}{A},{B},a\x0bb\x0c\x1c\x85\u2028c\n{GOOD}")
    assert brief(rows) == [(1, 2, "ok"), (2, 3, "ok")]


def test_a_quote_left_open_costs_one_row(tmp_path: Path) -> None:
    """The rows that the open quote swallowed are read again, each on its own line."""
    many = GOOD * 3000
    rows = read(tmp_path, f'{HEADER}{GOOD}{A},{B},"open\n{many}{A},{B},"a\nb"\n')
    told = brief(rows)
    assert told[1][:2] == (2, 3)
    assert told[1][2] == (
        "The quote that opens on line 3 is not closed within 65,536 characters:"
        " close it, or double it if it belongs to the text."
    )
    assert [row for row, _, reason in told if reason != "ok"] == [2]
    assert told[-1] == (3003, 3004, "ok")
    assert json.loads(rows[1].cells) == [A, B, "open"]


def test_a_quote_left_open_meets_the_next_quote(tmp_path: Path) -> None:
    """The quote on a later row closes the open one too early; only the open one's row is given up."""
    rows = read(tmp_path, f'{HEADER}{A},{B},"open\n{GOOD}{A},{B},"fine"\n')
    assert [reason for _, _, reason in brief(rows)] == [
        CLOSED_EARLY.format(2),
        "ok",
        "ok",
    ]


def test_a_well_formed_row_of_several_lines_is_one_row(tmp_path: Path) -> None:
    """Even with a wrong count: what stands inside quotes is never read as jobs."""
    rows = read(tmp_path, f'{HEADER}{A},{B},"a\n{GOOD}",x\n{GOOD}')
    assert brief(rows) == [
        (1, 2, f"{TOO_MANY} A quoted cell of it goes over several lines; {SEE}"),
        (2, 5, "ok"),
    ]


def test_a_quote_open_at_the_end(tmp_path: Path) -> None:
    """The line named is where the quote opens, not where the row starts; the lines after it are rows."""
    rows = read(tmp_path, f'{HEADER}"{A}","{B}\n","open\n{GOOD}')
    assert brief(rows)[0][:2] == (1, 2)
    assert "opens on line 3 is not closed where its row ends" in brief(rows)[0][2]
    assert brief(rows)[-1] == (3, 4, "ok")


def test_a_closed_quote_over_lines_that_is_too_long_costs_one_row(tmp_path: Path) -> None:
    """Like an open one: the good rows inside may be rows that a stray quote swallowed."""
    rows = read(tmp_path, f'{HEADER}{A},{B},"{GOOD * 1200}"\n{GOOD}')
    bad = [told for told in brief(rows) if told[2] != "ok"]
    assert bad[0] == (1, 2, "note holds more than 65,536 characters.")
    assert len(bad) == 2
    assert bad[1][1] == 1202


def test_a_record_of_many_lines_has_a_bound(tmp_path: Path) -> None:
    """Short cells over many lines end at the record's bound, and reading goes on from the second line."""
    rows = read(tmp_path, HEADER + f'{"a" * 100}","\n' * 15_000 + GOOD)
    told = brief(rows)
    assert told[0][:2] == (1, 2)
    assert all(reason != "ok" for _, _, reason in told[:-1])
    assert told[-1] == (len(told), 15_002, "ok")


def test_quotes_inside_an_unquoted_cell_are_text(tmp_path: Path) -> None:
    """Inches stay inches."""
    rows = read(tmp_path, f'{HEADER}{A},{B},5" pipe\n')
    assert json.loads(rows[0].cells)[2] == '5" pipe'


@pytest.fixture
def csv_limit() -> Iterator[None]:
    """The process-wide limit, put back at the end."""
    limit = csv.field_size_limit()
    yield
    csv.field_size_limit(limit)


@pytest.mark.usefixtures("csv_limit")
@pytest.mark.parametrize(("before", "after"), [(10, MAX_FIELD), (10_000_000, 10_000_000)])
def test_the_csv_limit_is_raised_but_never_lowered(tmp_path: Path, before: int, after: int) -> None:
    """Other readers in the process keep what they set; ours refuses by its own limit either way."""
    csv.field_size_limit(before)
    rows = read(tmp_path, f"{HEADER}{A},{B},{'n' * MAX_FIELD}\n{A},{B},{'n' * (MAX_FIELD + 1)}\n")
    assert csv.field_size_limit() == after
    assert [reason == "ok" for _, _, reason in brief(rows)] == [True, False]
