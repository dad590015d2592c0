"""Whole-file faults of CSV, told before any row, and what the header decides."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.readers.reading import A, B, brief, read
from worker.errors import InputError
from worker.models import Job, UserKey
from worker.readers import ReadOptions, open_input

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("content", "mapping", "message"),
    [
        ("", {}, "is empty: a CSV file needs a header line"),
        (" \n\r\n\n", {}, "is empty: a CSV file needs a header line"),
        ("Credential-ID,acs_user_id\n", {}, "no column 'acs_credential_id'; the nearest is 'Credential-ID'."),
        ("credential_id;acs_user_id\n", {}, "--map acs_credential_id=COLUMN"),
        ("a,b\n", {}, "has no column 'acs_credential_id'; it has 'a', 'b'."),
        ("acs_credential_id,acs_user\n", {}, "nor 'user_identity_id'; the nearest is 'acs_user'."),
        ("acs_credential_id,identity_id\n", {}, "nor 'user_identity_id'; the nearest is 'identity_id'."),
        ("acs_credential_id\n", {}, "--map acs_user_id=COLUMN or --map user_identity_id=COLUMN."),
        ("acs_credential_id,acs_user_id,acs_user_id\n", {}, "2 columns named 'acs_user_id'; keep one."),
        (
            "acs_credential_id,acs_user_id,Building\n",
            {"workspace_id": "building"},
            "no column 'building', to which workspace_id is mapped; the nearest is 'Building'.",
        ),
        (
            "acs_credential_id,acs_user_id\n",
            {"user_identity_id": "acs_user_id", "acs_user_id": "x"},
            "no column 'x', to which acs_user_id is mapped",
        ),
        ('acs_credential_id,"acs_user_id\n', {}, "cannot be read as CSV: a quote in it is not closed"),
        ("acs_credential_id,acs_user_id,a\0\n", {}, "The row holds a NUL character."),
        (b"acs_credential_id,acs_user_id,\xff\n", {}, "the byte 0xff, which is not UTF-8"),
        (f'{{"acs_credential_id": "{A}"}}\n', {}, "give --format jsonl"),
        (f'{{"acs_credential_id":"{A}","acs_user_id":"{B}"}}\n', {}, "has no CSV header but JSON"),
        ("acs_credential_id,acs_user_id\n".encode("utf-16"), {}, "is UTF-16, not UTF-8: give --encoding utf-16."),
        ("acs_credential_id,acs_user_id\n".encode("utf-32"), {}, "give --encoding utf-32."),
        ("acs_credential_id,acs_user_id\n".encode("utf-16-le"), {}, "give --encoding utf-16-le."),
        ("acs_credential_id,acs_user_id\n".encode("utf-16-be"), {}, "give --encoding utf-16-be."),
        ("x" * 2_000_000, {}, "begins with a line of over 1,048,576 characters"),
        ("x," * 400_000 + "\n", {}, "has no column 'acs_credential_id'; it has 'x', 'x'"),
    ],
)
def test_a_file_that_cannot_be_used(
    tmp_path: Path, content: str | bytes, mapping: dict[str, str], message: str
) -> None:
    """It is refused on opening, with what is there and what to do."""
    path = tmp_path / "jobs.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        open_input(path, ReadOptions(mapping=mapping))
    assert len(str(caught.value)) < 700 + len(str(path))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path: Path, delimiter: str) -> None:
    """By the known columns, even where other delimiters stand in quoted names."""
    names = ('"a;b,c|d\te"', "acs_credential_id", ' "x"', '"acs_user_id"', "a;b,c|d\te".replace(delimiter, ""))
    rows = read(tmp_path, f"{delimiter.join(names)}\n{delimiter.join(('1', A, '2', B, '3'))}\n")
    assert brief(rows) == [(1, 2, "ok")]


def test_the_header_is_given_without_spaces_and_mark(tmp_path: Path) -> None:
    """A byte order mark and the spaces around names are no part of them."""
    path = tmp_path / "jobs.csv"
    path.write_text("\ufeff acs_credential_id , acs_user_id, Unit No ,\n", "utf-8")
    with open_input(path, ReadOptions()) as source:
        assert source.header == ("acs_credential_id", "acs_user_id", "Unit No", "")
        assert source.format == "csv"
        assert list(source) == []


def test_a_mapped_column_serves_one_field(tmp_path: Path) -> None:
    """A column that a mapping claims is not read for the field of its own name too."""
    mapping = {"acs_user_id": "user_identity_id"}
    rows = read(tmp_path, f"acs_credential_id,user_identity_id\n{A},{B}\n", mapping=mapping)
    assert brief(rows) == [(1, 2, "ok")]
    assert rows[0].parsed == Job(1, 2, A, UserKey.ACS_USER, B)
