"""JSON Lines: every kind of bad line, and cells that are lossless."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.readers.reading import A, B, brief, read
from worker.errors import InputError
from worker.models import Job, UserKey
from worker.readers import MAX_FIELD, MAX_RECORD

if TYPE_CHECKING:
    from pathlib import Path

IDS = f'"acs_credential_id":"{A}","acs_user_id":"{B}"'
GOOD = f"{{{IDS}}}\n"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("nonsense", "The line is not JSON: Expecting value at character 1."),
        ('{"a":', "The line is not JSON: Expecting value at character 6."),
        ("[1]", "The line is not a JSON object but an array."),
        ('"text"', "The line is not a JSON object but a plain value."),
        ("17", "The line is not a JSON object but a number."),
        ("null", "The line is not a JSON object but a plain value."),
        (f"{{{IDS}}} {{}}", f"The line is not one JSON object: more follows at character {len(IDS) + 3}."),
        (f'{{{IDS},"n":NaN}}', "The line is not JSON, which knows no NaN."),
        (f'{{{IDS},"n":-Infinity}}', "The line is not JSON, which knows no -Infinity."),
        (f'{{{IDS},"acs_user_id":"{A}"}}', 'The object has the key "acs_user_id" more than once.'),
        (f'{{{IDS},"x":{{"y":1,"y":1}}}}', 'The object has the key "y" more than once.'),
        ("{}", "acs_credential_id is missing."),
        (f'{{"acs_credential_id":null,"acs_user_id":"{B}"}}', "acs_credential_id is missing."),
        (
            f'{{"acs_credential_id":5,"acs_user_id":"{B}"}}',
            "acs_credential_id is a number; a UUID in quotes is needed.",
        ),
        (
            f'{{"acs_credential_id":"{A}","acs_user_id":["{B}"]}}',
            "acs_user_id is an array; a UUID in quotes is needed.",
        ),
        (f'{{{IDS},"workspace_id":false}}', "workspace_id is true or false; a UUID in quotes is needed."),
        (
            f'{{{IDS},"user_identity_id":"{B}"}}',
            "Both acs_user_id and user_identity_id are given; a row may have only one of them.",
        ),
        (f'{{{IDS},"n":"a\0b"}}', "The row holds a NUL character."),
        (f'{{{IDS},"n":["a\\u0000b"]}}', "The row holds a NUL character."),
        (f'{{{IDS},"n":"{"n" * (MAX_FIELD + 1)}"}}', "A text in the object holds more than 65,536 characters."),
        (
            f'{{{IDS},"{"n" * (MAX_FIELD + 1)}":1}}',
            "A text in the object holds more than 65,536 characters.",
        ),
        (f'{{{IDS},"n":{"9" * (MAX_RECORD + 1)}}}', "The row is longer than 1,048,576 characters."),
        (f'{{{IDS},"n":{"9" * (3 * MAX_RECORD)}}}', "The row is longer than 1,048,576 characters."),
        ("[" * 100_000, "The line is nested too deeply."),
    ],
)
def test_a_bad_line_is_told_and_its_neighbours_are_not_touched(tmp_path: Path, bad: str, reason: str) -> None:
    """Row 2 on line 3 is rejected with its sentence; the rows around it are jobs."""
    rows = read(tmp_path, f"{GOOD}\n{bad}\n{GOOD}", "jobs.jsonl")
    assert brief(rows) == [(1, 1, "ok"), (2, 3, reason), (3, 4, "ok")]
    assert isinstance(json.loads(rows[1].cells), str | dict)
    assert len(rows[1].cells) < 2 * MAX_FIELD


def test_undecodable_bytes_cost_one_row(tmp_path: Path) -> None:
    """The byte is named, and survives in the cells as an escape."""
    rows = read(tmp_path, f'{GOOD}{{{IDS},"n":"'.encode() + b'\xff"}\n' + GOOD.encode(), "jobs.ndjson")
    assert [line for _, line, reason in brief(rows) if reason != "ok"] == [2]
    assert "the byte 0xff, which is not UTF-8" in brief(rows)[1][2]
    assert json.loads(rows[1].cells)["n"] == "\udcff"


def test_cells_keep_what_was_written(tmp_path: Path) -> None:
    """Numbers stay as written, other text becomes ASCII, an escaped backslash before u0000 is no NUL."""
    line = f'{{{IDS}, "n": 1.10, "big": {"7" * 5000}, "e": 1e999, "t": "é😀\\\\u0000\\ud800"}}'
    rows = read(tmp_path, f"  {line}\r\n", "jobs.jsonl")
    assert rows[0].parsed == Job(1, 1, A, UserKey.ACS_USER, B, None)
    assert rows[0].cells == line.replace("é😀", "\\u00e9\\ud83d\\ude00")


def test_wide_encodings(tmp_path: Path) -> None:
    """UTF-16 is refused on opening unless it is named."""
    content = GOOD.encode("utf-16")
    with pytest.raises(InputError, match=re.escape("give --encoding utf-16.")):
        read(tmp_path, content, "jobs.jsonl")
    assert brief(read(tmp_path, content, "jobs.jsonl", encoding="utf-16")) == [(1, 1, "ok")]


def test_mapped_keys(tmp_path: Path) -> None:
    """A mapping names keys as it names columns."""
    rows = read(
        tmp_path,
        f'{{"card":"{A}","user_identity_id":"{B}"}}\n{{"card":1}}\n',
        "jobs.jsonl",
        mapping={"acs_credential_id": "card"},
    )
    assert rows[0].parsed == Job(1, 1, A, UserKey.USER_IDENTITY, B, None)
    assert brief(rows)[1] == (2, 2, "card is a number; a UUID in quotes is needed.")


def test_no_lines_are_no_rows(tmp_path: Path) -> None:
    """An empty file of JSON Lines has no header to miss."""
    assert read(tmp_path, "\n \n", "jobs.jsonl") == []
