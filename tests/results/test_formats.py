"""The results file, column by column."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ledger.filling import result
from tests.results.exporting import as_csv, as_jsonl, kept
from worker.ledger.queries import ExportRow
from worker.masking import MASK
from worker.models import Outcome, Result
from worker.results.formats import CsvFormat, JsonlFormat

if TYPE_CHECKING:
    from pathlib import Path

    from worker.ledger import Ledger

COLUMNS = (
    "outcome",
    "retryable",
    "detail",
    "http_status",
    "error_type",
    "error_message",
    "attempts",
    "read_back",
    "request_id",
    "assigned_acs_user_id",
    "assigned_user_identity_id",
    "previous_acs_user_id",
    "previous_owner_state",
    "acs_system_id",
    "credential_workspace_id",
    "access_method",
    "external_type",
    "display_name",
    "is_issued",
    "issued_at",
    "starts_at",
    "ends_at",
    "is_synced_with_provider",
    "warning_codes",
    "warnings",
    "credential_errors",
    "code",
    "card_number",
    "started_at",
    "finished_at",
    "duration_ms",
    "run_id",
)

WARNINGS = [{"warning_code": "a", "message": 'x, "y"'}, {"warning_code": "b", "message": "ü"}]
FULL = result(
    1,
    http_status=200,
    request_id="req-1",
    is_issued=False,
    is_synced_with_provider=True,
    warning_codes="a;b",
    warnings=json.dumps(WARNINGS, ensure_ascii=False),
    code=MASK,
    started_at=1_800_000_000.0625,
    finished_at=1_800_000_001.9999,
)


def test_csv_columns_in_order(ledger: Ledger, tmp_path: Path) -> None:
    """row, line, the input's own, then those of the contract."""
    run = kept(ledger.engine, [["c", "u"]], [FULL])
    (record,) = as_csv(ledger.engine, run, tmp_path / "out.csv")
    assert list(record) == ["row", "line", "acs_credential_id", "acs_user_id", *COLUMNS]


def test_csv_values(ledger: Ledger, tmp_path: Path) -> None:
    """Words for flags, UTC times with milliseconds, empty for what is not known."""
    run = kept(ledger.engine, [["c", "Ü, 5"]], [FULL])
    (record,) = as_csv(ledger.engine, run, tmp_path / "out.csv")
    expected = {
        "row": "1",
        "line": "2",
        "acs_user_id": "Ü, 5",
        "outcome": "assigned",
        "retryable": "",
        "http_status": "200",
        "attempts": "1",
        "read_back": "false",
        "is_issued": "false",
        "is_synced_with_provider": "true",
        "warning_codes": "a;b",
        "code": MASK,
        "card_number": "",
        "started_at": "2027-01-15T08:00:00.063Z",
        "finished_at": "2027-01-15T08:00:02.000Z",
        "duration_ms": "1000",
        "run_id": run.id,
    }
    assert {name: record[name] for name in expected} == expected
    assert json.loads(record["warnings"]) == WARNINGS


def test_jsonl_values(ledger: Ledger, tmp_path: Path) -> None:
    """The same names; the input an object, lists as lists, what is masked null."""
    run = kept(ledger.engine, [["c", "=u"]], [FULL])
    (record,) = as_jsonl(ledger.engine, run, tmp_path / "out.jsonl")
    assert list(record) == ["row", "line", "input", *COLUMNS]
    expected = {
        "row": 1,
        "line": 2,
        "input": {"acs_credential_id": "c", "acs_user_id": "=u"},
        "retryable": None,
        "http_status": 200,
        "error_type": None,
        "read_back": False,
        "is_synced_with_provider": True,
        "warning_codes": ["a", "b"],
        "warnings": WARNINGS,
        "credential_errors": [],
        "code": None,
        "started_at": "2027-01-15T08:00:00.063Z",
        "duration_ms": 1000,
    }
    assert {name: record[name] for name in expected} == expected


def test_clashing_columns_are_renamed(ledger: Ledger, tmp_path: Path) -> None:
    """An input column with a name of ours becomes input_NAME, and stays apart from one of that very name."""
    header = ("code", "input_code", "row", "unit", "unit", "=x", "50%")
    run = kept(ledger.engine, [list("abcdefg")], [result(1)], header=header)
    (record,) = as_csv(ledger.engine, run, tmp_path / "out.csv")
    names = ["input_code", "input_code_2", "input_row", "unit", "unit_2", "'=x", "50%"]
    assert list(record)[2:9] == names
    assert [record[name] for name in names] == list("abcdefg")
    (line,) = as_jsonl(ledger.engine, run, tmp_path / "out.jsonl")
    assert line["input"] == dict(
        zip(("code", "input_code", "row", "unit", "unit_2", "=x", "50%"), "abcdefg", strict=True)
    )


def test_rows_of_a_wrong_width(ledger: Ledger, tmp_path: Path) -> None:
    """Too few or too many cells shift no column of ours; JSON lines keep what is over."""
    run = kept(ledger.engine, [["a"], ["a", "b", "c", "d"]], [result(1), result(2)])
    short, long = as_csv(ledger.engine, run, tmp_path / "out.csv")
    assert (short["acs_user_id"], short["outcome"]) == ("", "assigned")
    assert (long["acs_user_id"], long["outcome"]) == ("b", "assigned")
    few, many = as_jsonl(ledger.engine, run, tmp_path / "out.jsonl")
    assert few["input"] == {"acs_credential_id": "a"}
    assert many["input"] == {"acs_credential_id": "a", "acs_user_id": "b", "more_cells": ["c", "d"]}


def test_jsonl_input(ledger: Ledger, tmp_path: Path) -> None:
    """An object comes out as it went in; as CSV it stands in one column."""
    rows: list[object] = [{"a": [1, {"b": None}], "ü": "\ud800"}, "no object"]
    run = kept(ledger.engine, rows, [result(1), result(2)], header=None)
    assert [line["input"] for line in as_jsonl(ledger.engine, run, tmp_path / "out.jsonl")] == rows
    assert [json.loads(line["input"]) for line in as_csv(ledger.engine, run, tmp_path / "out.csv")] == rows


def test_codes_only_where_asked_for(ledger: Ledger, tmp_path: Path) -> None:
    """Recorded codes are masked in an export without them; a recorded mask stays one."""
    warning = json.dumps([{"warning_code": "w", "message": "m", "original_code": "4711", "new_code": None}])
    results = [result(1, code="1234", card_number="998877", warnings=warning), result(2, code=MASK)]
    run = kept(ledger.engine, [["c", "u"], ["d", "u"]], results)
    for include_codes in (False, True):
        file, lines = tmp_path / f"{include_codes}.csv", tmp_path / f"{include_codes}.jsonl"
        first, second = as_csv(ledger.engine, run, file, include_codes=include_codes)
        one, two = as_jsonl(ledger.engine, run, lines, include_codes=include_codes)
        assert second["code"] == MASK
        assert two["code"] is None
        assert (first["code"], first["card_number"]) == (("1234", "998877") if include_codes else (MASK, MASK))
        assert (one["code"], one["card_number"]) == (("1234", "998877") if include_codes else (None, None))
        assert one["warnings"][0]["original_code"] == ("4711" if include_codes else None)
        for path in (file, lines):
            assert all((secret in path.read_text()) is include_codes for secret in ("1234", "998877", "4711"))


def test_open_rows_are_exported(ledger: Ledger, tmp_path: Path) -> None:
    """A run that stopped has a record for every row."""
    run = kept(ledger.engine, [["a", "b"], ["c", "d"]], [result(1)])
    assert [record["outcome"] for record in as_csv(ledger.engine, run, tmp_path / "o.csv")] == ["assigned", "in_doubt"]


_CELL = st.text(st.characters(codec=None), max_size=8) | st.sampled_from(
    ["=1", " +x", "\r=1", "\n", '"', "a,b", "\ud800", "+49 30", "\x00-", "'", "a\r\nb"]
)
_TEXTS = ("detail", "error_type", "error_message", "request_id", "display_name", "warning_codes", "starts_at")


def exported(records: CsvFormat | JsonlFormat, *rows: ExportRow) -> str:
    """What stands in the file."""
    file = io.StringIO()
    assert records.write(file, iter(rows)) == len(rows)
    return records.heading + file.getvalue()


@pytest.mark.parametrize("raw_cells", [True, False])
@settings(max_examples=300, deadline=None)
@given(cells=st.lists(_CELL, min_size=1, max_size=4), texts=st.lists(st.none() | _CELL, min_size=7, max_size=7))
def test_any_cells_round_trip(raw_cells: bool, cells: list[str], texts: list[str | None]) -> None:  # noqa: FBT001 - a table's column
    """Raw cells come back as they were; safe ones too, but for a quote in front, and none starts dangerously."""
    told: dict[str, Any] = dict(zip(_TEXTS, texts, strict=True))
    header = tuple(f"c{index}" for index in range(len(cells)))
    record = ExportRow(2, json.dumps(cells), Result(1, Outcome.FAILED)._replace(**told), "run")
    text = exported(CsvFormat(header, include_codes=True, raw_cells=raw_cells), record)
    names, values = csv.reader(io.StringIO(text, newline=""), strict=True)
    read = dict(zip(names, values, strict=True))
    expected = dict(zip(header, cells, strict=True)) | {name: told[name] or "" for name in _TEXTS}
    for name, before in expected.items():
        if raw_cells:
            assert read[name] == before
        else:
            assert read[name] in {before, "'" + before}
    if not raw_cells:
        for value in values:
            harmless = all(character in "0123456789 +-.()" for character in value)
            assert harmless or not value.strip().startswith(("=", "+", "-", "@"))
            assert not value.startswith(("\t", "\r", "\n"))


@settings(max_examples=300, deadline=None)
@given(cells=st.lists(_CELL, max_size=5), texts=st.lists(st.none() | _CELL, min_size=7, max_size=7))
def test_any_cells_are_one_json_line(cells: list[str], texts: list[str | None]) -> None:
    """Whatever stands in a row, its line is one JSON object that holds it unchanged."""
    told: dict[str, Any] = dict(zip(_TEXTS, texts, strict=True))
    record = ExportRow(2, json.dumps(cells), Result(1, Outcome.FAILED)._replace(**told), "run")
    text = exported(JsonlFormat(("a", "b%s"), include_codes=True), record)
    encoded = text.encode("utf-8", "backslashreplace").decode()
    assert encoded.endswith("\n")
    assert encoded.count("\n") == 1
    line = json.loads(encoded)
    assert [*line["input"].values()][: min(len(cells), 2)] == cells[:2]
    assert {name: line[name] for name in _TEXTS if name != "warning_codes"} == {
        name: text for name, text in told.items() if name != "warning_codes"
    }
