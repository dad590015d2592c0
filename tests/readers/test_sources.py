"""Files, standard input, compression and options: what is opened, and what is refused."""

from __future__ import annotations

import bz2
import errno
import gzip
import hashlib
import io
import lzma
import os
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.readers.reading import GOOD, HEADER, A, B, brief, read
from worker.errors import ConfigError, InputError
from worker.readers import ReadOptions, hash_file, open_input

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from pathlib import Path

    from _typeshed import WriteableBuffer

PLAIN = (HEADER + GOOD * 40_000).encode()


class _Stdin:
    def __init__(self, buffer: io.BytesIO) -> None:
        self.buffer = buffer
        self.closed = False


class _Failing(io.BytesIO):
    """Gives its bytes, then an error of the disk instead of the end."""

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        count = super().readinto(buffer)
        if not count:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return count


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("jobs.csv", PLAIN),
        ("jobs.CSV.gz", gzip.compress(PLAIN)),
        ("jobs.csv.gz", gzip.compress(PLAIN[:1000]) + gzip.compress(PLAIN[1000:])),
        ("jobs.csv.zst", zstd.compress(PLAIN)),
        ("jobs.csv.zst", zstd.compress(PLAIN[:1000]) + zstd.compress(PLAIN[1000:])),
        ("jobs", gzip.compress(PLAIN)),
        ("jobs", zstd.compress(PLAIN)),
        ("jobs.csv.zst", b"\x50\x2a\x4d\x18\x04\0\0\0skip" + zstd.compress(PLAIN)),
    ],
)
def test_compressed_or_not(tmp_path: Path, name: str, content: bytes) -> None:
    """The rows are the same; the digest and the count are of the file as stored."""
    path = tmp_path / name
    path.write_bytes(content)
    with open_input(path, ReadOptions()) as source:
        assert sum(1 for _ in source) == 40_000
        assert source.sha256 == hashlib.sha256(content).hexdigest() == hash_file(path)
        assert source.bytes_read == len(content)


def test_no_digest_before_the_end(tmp_path: Path) -> None:
    """A digest of half a file would be a lie."""
    path = tmp_path / "jobs.csv"
    path.write_bytes(PLAIN)
    with open_input(path, ReadOptions()) as source:
        assert next(iter(source)).parsed.row == 1
        with pytest.raises(RuntimeError, match="every row"):
            _ = source.sha256


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv.gz", gzip.compress(PLAIN)[:-9], r"is cut short: its gzip stream ends after line \d+\."),
        ("a.csv.gz", gzip.compress(PLAIN)[:-8] + b"12345678", r"is damaged after line \d+: its gzip stream"),
        ("a.csv.gz", gzip.compress(PLAIN) + b"tail", r"is damaged after line \d+: its gzip stream"),
        ("a.csv.gz", PLAIN, r"is named as if it were compressed by gzip, and is not: rename it if it is plain text"),
        ("a.csv.gz", b"\x1f\x8b\x08\x00" + b"\xff" * 50, r"is damaged before its first line: its gzip stream"),
        ("a.csv.gz", b"", r"is cut short: its gzip stream ends before its first line\."),
        ("a.jsonl.zst", b"", r"is cut short: its zstd stream ends before its first line\."),
        ("a.csv.zst", zstd.compress(PLAIN)[:-9], r"is cut short: its zstd stream ends after line \d+\."),
        ("a.csv.zst", zstd.compress(PLAIN) + b"tail", r"is damaged after line \d+: its zstd stream"),
        ("a.csv.zst", PLAIN, r"is named as if it were compressed by zstd, and is not: rename it if it is plain text"),
        ("a.csv.zst", b"\x28\xb5\x2f\xfd" + b"\xff" * 50, r"is damaged before its first line: its zstd stream"),
        (
            "a.xlsx",
            b"PK\x03\x04" + b"\x14" * 50,
            r"is a spreadsheet program's own file or a ZIP archive, not CSV or JSO",
        ),
        (
            "a.csv.gz",
            b"PK\x03\x04" + b"\x14" * 50,
            r"own file or a ZIP archive, not CSV or JSONL: save it as CSV in UTF-8",
        ),
        ("a.xls", b"\xd0\xcf\x11\xe0" + b"\0" * 50, r"own file, not CSV or JSONL: save it as CSV in UTF-8\."),
        ("a.csv.xz", lzma.compress(PLAIN), r"is compressed by xz, not CSV or JSONL: unpack it, or compress it by gzip"),
        ("a.csv", bz2.compress(PLAIN), r"is compressed by bzip2, not CSV or JSONL: unpack it, or compress it by gzip"),
    ],
)
def test_damaged_streams(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    """A stream cut short or corrupt is refused with the line that was reached."""
    with pytest.raises(InputError, match=message):
        read(tmp_path, content, name)


def test_paths_that_cannot_be_read(tmp_path: Path) -> None:
    """A directory, a missing file, a file taken for a directory, a loop, a NUL in the name."""
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    file = tmp_path / "file"
    file.touch()
    for path, message in (
        (tmp_path, "is a directory: name the file of jobs in it."),
        (tmp_path / "none.csv", "none.csv does not exist."),
        (file / "jobs.csv", "cannot be read: Not a directory."),
        (loop, "cannot be read: "),
        (tmp_path / "a\0b", "cannot be read: embedded null byte."),
    ):
        for act in (lambda p=path: open_input(p, ReadOptions()), lambda p=path: hash_file(p)):
            with pytest.raises(InputError, match=re.escape(message)):
                act()


@pytest.mark.parametrize(("content", "where"), [(b"", ""), (PLAIN, r" after line \d{5}")])
def test_a_read_that_fails(monkeypatch: pytest.MonkeyPatch, content: bytes, where: str) -> None:
    """An error of the disk is told as the input's, with the line that was reached."""
    monkeypatch.setattr("sys.stdin", _Stdin(_Failing(content)))
    with pytest.raises(InputError, match=f"^Standard input cannot be read{where}: Input/output error"):
        list(open_input(None, ReadOptions(format="csv")))


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd.compress])
def test_standard_input(monkeypatch: pytest.MonkeyPatch, pack: Any) -> None:
    """It is decompressed by its first bytes, hashed, and left open."""
    content = pack(PLAIN)
    stdin = _Stdin(io.BytesIO(content))
    monkeypatch.setattr("sys.stdin", stdin)
    with open_input(None, ReadOptions(format="csv")) as source:
        assert sum(1 for _ in source) == 40_000
        assert source.sha256 == hashlib.sha256(content).hexdigest()
    assert not stdin.buffer.closed


def test_standard_input_needs_a_format(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no name to go by; and it may be closed."""
    with pytest.raises(InputError, match="give --format csv or jsonl"):
        open_input(None, ReadOptions())
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(InputError, match=re.escape("Standard input is closed.")):
        open_input(None, ReadOptions(format="csv"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.jsonl", "jsonl"), ("a.ndjson.gz", "jsonl"), ("A.JSONL.ZST", "jsonl"), ("a.csv", "csv"), ("a", "csv")],
)
def test_the_format_goes_by_the_name(tmp_path: Path, name: str, expected: str) -> None:
    """Without the compression's ending; the option overrules it."""
    assert ReadOptions().format_of(tmp_path / name) == expected
    assert ReadOptions(format="csv").format_of(tmp_path / name) == "csv"


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-16-le", "utf-32", "shift_jis", "utf-8"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    """Another encoding is read where it is named."""
    text = f"{HEADER}{A},{B},{'ワン' if encoding == 'shift_jis' else 'José'}\n"
    rows = read(tmp_path, text.encode(encoding), encoding=encoding)
    assert brief(rows) == [(1, 2, "ok")]


def test_bytes_that_a_wide_encoding_refuses(tmp_path: Path) -> None:
    """They cost their row there too, even those below 128."""
    good = GOOD.encode("utf-16-le")
    bad = f"{A},{B},".encode("utf-16-le") + b"\x41\xd8" + "!\n".encode("utf-16-le")
    rows = read(tmp_path, HEADER.encode("utf-16-le") + bad + good, encoding="utf-16-le")
    assert brief(rows)[0][2].startswith("The row holds the byte 0x41, which is not utf-16-le")
    assert brief(rows)[1] == (2, 3, "ok")


def test_a_file_that_denies_its_encoding(tmp_path: Path) -> None:
    """UTF-16 without its mark, where the codec insists on one."""
    with pytest.raises(InputError, match=r"cannot be read as utf-16 .*give another --encoding"):
        read(tmp_path, HEADER.encode("utf-16-le"), encoding="utf-16")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoding": "klingon"}, "encoding: 'klingon' is no text encoding"),
        ({"encoding": "base64"}, "encoding: 'base64' is no text encoding"),
        ({"encoding": "a\0"}, "is no text encoding"),
        ({"encoding": ""}, "is no text encoding"),
        ({"format": "xml"}, "format: 'xml' is unknown; allowed are csv and jsonl."),
        (
            {"mapping": {"user": "x"}},
            "map: 'user' is no field; allowed are acs_credential_id, acs_user_id, user_identity_id, workspace_id.",
        ),
        ({"mapping": {"acs_user_id": " "}}, "map: acs_user_id needs a column"),
        (
            {"mapping": {"acs_user_id": "x", "user_identity_id": " x"}},
            "map: acs_user_id and user_identity_id cannot both be read from 'x'.",
        ),
    ],
)
def test_options_that_mean_nothing(options: dict[str, Any], message: str) -> None:
    """They are refused at once, with what is allowed."""
    with pytest.raises(ConfigError, match=re.escape(message)):
        ReadOptions(**options)
