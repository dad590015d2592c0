"""Properties: dialects round-trip, nothing crashes, no row is lost or counted twice, memory is bounded."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
import tracemalloc
from collections import deque
from typing import TYPE_CHECKING, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.readers.reading import GOOD, HEADER, A, B, brief, read
from worker.errors import InputError
from worker.readers import ReadOptions, open_input

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from pathlib import Path

    from worker.models import InputRow

QUIET = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
IDS = st.uuids().map(str)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12) | st.text(
    ',;|\t"\r\n \ufeffaé', max_size=8
)
PIECES = st.sampled_from(
    [HEADER, GOOD, A, B, ",", '"', '""', "\n", "\r", "\r\n", "\0", "\ufeff", "é", "{", "}", '{"acs_user_id":', "\\"]
)


@QUIET
@given(
    rows=st.lists(st.tuples(IDS, IDS, TEXTS, TEXTS), max_size=8),
    names=st.tuples(TEXTS, TEXTS),
    delimiter=st.sampled_from(",;\t|"),
    ending=st.sampled_from(["\n", "\r\n", "\r"]),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]),
    mark=st.booleans(),
)
def test_dialects_round_trip(  # noqa: PLR0913, PLR0917 - the parts of a dialect
    tmp_path: Path,
    rows: list[tuple[str, ...]],
    names: tuple[str, ...],
    delimiter: str,
    ending: str,
    quoting: Literal[0, 1, 2],
    mark: bool,  # noqa: FBT001 - Hypothesis gives it by name
) -> None:
    """What the csv module writes is read back: the same cells, rows from 1 and the lines they start on."""
    if quoting == csv.QUOTE_MINIMAL and ending != "\r\n":
        quoting = csv.QUOTE_ALL  # the writer leaves a newline bare that is not its own
    written = io.StringIO(newline="")
    writer = csv.writer(written, delimiter=delimiter, lineterminator=ending, quoting=quoting)
    writer.writerow(["acs_credential_id", "acs_user_id", *names])
    lines = []
    for cells in rows:
        lines.append(_physical_lines(written.getvalue()) + 1)
        writer.writerow(cells)
    content = ("\ufeff" if mark else "") + written.getvalue()
    if {"acs_credential_id", "acs_user_id"}.intersection(name.strip() for name in names):
        return
    found = read(tmp_path, content)
    assert [json.loads(row.cells) for row in found] == [list(cells) for cells in rows]
    assert brief(found) == [(row, line, "ok") for row, line in enumerate(lines, 1)]


def _physical_lines(text: str) -> int:
    return text.replace("\r\n", "\n").replace("\r", "\n").count("\n")


def _is_sound(rows: list[InputRow]) -> bool:
    """Rows count from 1 without a gap, lines rise, cells are JSON in ASCII."""
    lines = [row.parsed.line for row in rows]
    return (
        [row.parsed.row for row in rows] == list(range(1, len(rows) + 1))
        and lines == sorted(set(lines))
        and all(row.cells.isascii() and json.loads(row.cells) is not None for row in rows)
    )


@QUIET
@given(
    content=st.binary(max_size=300) | st.lists(PIECES, max_size=40).map(lambda parts: "".join(parts).encode()),
    headed=st.booleans(),
    name=st.sampled_from(["a.csv", "a.jsonl", "a.csv.gz", "a.jsonl.zst"]),
    encoding=st.sampled_from([None, "utf-8", "latin-1", "utf-16", "utf-16-le", "utf-7", "shift_jis", "gb18030"]),
)
def test_bytes_never_crash(
    tmp_path: Path,
    content: bytes,
    headed: bool,  # noqa: FBT001 - Hypothesis gives it by name
    name: str,
    encoding: str | None,
) -> None:
    """Whatever the bytes, there are rows or an `InputError`, and the rows are sound."""
    data = (HEADER.encode() if headed else b"") + content
    try:
        rows = read(tmp_path, data, name, encoding=encoding)
    except InputError as error:
        assert str(error).endswith(".")  # noqa: PT017 - either end is right
    else:
        assert _is_sound(rows)


@QUIET
@given(parts=st.lists(PIECES, max_size=40), cut=st.integers(0, 400))
def test_a_small_chunk_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: list[str], cut: int
) -> None:
    """Where a chunk ends (inside a character, a CRLF, a quote) is no matter."""
    content = (HEADER + "".join(parts)).encode()
    whole = read(tmp_path, content)
    assert _is_sound(whole)
    with monkeypatch.context() as patched:
        patched.setattr("worker.readers.text.CHUNK", len(HEADER) + cut % 7)
        assert read(tmp_path, content) == whole


@QUIET
@given(parts=st.lists(PIECES, max_size=30), name=st.sampled_from(["a.csv", "a.jsonl"]))
def test_compression_changes_nothing(tmp_path: Path, parts: list[str], name: str) -> None:
    """The rows of a compressed file are those of the plain one."""
    content = (HEADER + "".join(parts)).encode()
    plain = read(tmp_path, content, name)
    assert read(tmp_path, gzip.compress(content), f"{name}.gz") == plain
    assert read(tmp_path, zstd.compress(content), f"{name}.zst") == plain


@QUIET
@given(before=st.lists(st.just(GOOD), max_size=5), bad=st.text('a"', max_size=6), after=st.integers(0, 5))
def test_a_line_of_stray_quotes_costs_no_other_row(tmp_path: Path, before: list[str], bad: str, after: int) -> None:
    """Good rows without quotes around a line with quotes anywhere all come out as jobs."""
    rows = brief(read(tmp_path, HEADER + "".join(before) + f"{A},{B},{bad}\n" + GOOD * after))
    assert len(rows) == len(before) + 1 + after
    assert all(reason == "ok" for row, _, reason in rows if row != len(before) + 1)


@pytest.mark.parametrize(
    ("name", "unit", "count"),
    [
        ("quotes.csv.gz", b'"', 50_000_000),
        ("zeros.csv.zst", b"\0", 50_000_000),
        ("open.jsonl.gz", b"[", 50_000_000),
        ("lines.csv.gz", b'"x\n', 30_000),
    ],
)
def test_memory_is_bounded(tmp_path: Path, name: str, unit: bytes, count: int) -> None:
    """A bomb of 50 MB in one line, or a quote left open on every line, takes a few MiB at most."""
    pack = gzip.compress if name.endswith(".gz") else zstd.compress
    path = tmp_path / name
    path.write_bytes(pack(HEADER.encode() + unit * count + b"\n" + GOOD.encode()))
    tracemalloc.start()
    try:
        with open_input(path, ReadOptions()) as source:
            (last,) = deque((row.parsed.line for row in source), maxlen=1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert last == (count + 3 if unit.endswith(b"\n") else 3)
    assert peak < 32 * 2**20
