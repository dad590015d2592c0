"""The bytes of a file or of standard input: hashed as stored, decompressed, every fault of theirs translated."""

from __future__ import annotations

import gzip
import hashlib
import io
import sys
import zlib
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Protocol, cast

from worker.errors import InputError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from pathlib import Path

    from _typeshed import WriteableBuffer

__all__ = ["Source", "hash_file", "require_file"]

_BUFFER = 256 * 1024
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_SKIPPED: Final = b"\x2a\x4d\x18"
"""After any byte: a frame that only zstd's own tools read, which may stand first."""
_STRANGE: Final = (
    (b"PK\x03\x04", "a spreadsheet program's own file or a ZIP archive", "save it as CSV in UTF-8, or unpack it"),
    (b"\xd0\xcf\x11\xe0", "a spreadsheet program's own file", "save it as CSV in UTF-8"),
    (b"\xfd7zX", "compressed by xz", "unpack it, or compress it by gzip or zstd"),
    (b"BZh9", "compressed by bzip2", "unpack it, or compress it by gzip or zstd"),
)
"""How files begin that people take for tables: what they are, and what to do."""


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes | None: ...


class _Hashed(io.RawIOBase):
    """Hashes and counts what passes."""

    def __init__(self, inner: io.FileIO | io.BufferedReader) -> None:
        self._inner = inner
        self.sha256 = hashlib.sha256()
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        count = self._inner.readinto(buffer)
        if count:
            self.sha256.update(memoryview(buffer)[:count])
            self.count += count
        return count


class Source:
    """One open input. Compression goes by the name, and where that says nothing by the first bytes.

    Args:
        path: The file; None is standard input, which is left open at the end.

    Raises:
        InputError: It does not exist, is a directory, or may not be read.
    """

    def __init__(self, path: Path | None) -> None:
        self.label = "Standard input" if path is None else str(path)
        self.compression: str | None = None
        self._exhausted = False
        with ExitStack() as opened:
            self._hashed = _Hashed(_stdin() if path is None else opened.enter_context(_open(path)))
            raw = io.BufferedReader(self._hashed, _BUFFER)
            try:
                head = raw.peek(4)[:4]
            except OSError as error:
                raise _unreadable(self.label, error) from error
            self._stream = self._decompressed(raw, head, "" if path is None else path.name.lower(), opened)
            self._close = opened.pop_all().close

    @property
    def bytes_read(self) -> int:
        """Bytes taken from the file as stored; the buffer runs ahead of the rows."""
        return self._hashed.count

    @property
    def sha256(self) -> str:
        """Hex digest of the file as stored.

        Raises:
            RuntimeError: The file was not read to its end.
        """
        if not self._exhausted:
            raise RuntimeError("the digest is known only when every row was read")
        return self._hashed.sha256.hexdigest()

    def read(self, size: int, line: int) -> bytes:
        """Up to `size` bytes, decompressed; none at the end.

        Args:
            size: In bytes.
            line: How many lines were read so far, for the message.

        Raises:
            InputError: The file cannot be read on, is damaged, or ends within its compressed stream.
        """
        where = f"after line {line}" if line else "before its first line"
        try:
            data = self._stream.read(size)
        except EOFError as error:
            raise self._cut_short(where) from error
        except (gzip.BadGzipFile, zlib.error, zstd.ZstdError) as error:
            raise InputError(
                f"{self.label} is damaged {where}: its {self.compression} stream does not hold together."
                " Fetch or write the file again."
            ) from error
        except OSError as error:
            raise _unreadable(self.label, error, where) from error
        if data is None:
            raise InputError(f"{self.label} is not ready to be read {where}: give a file or a blocking pipe.")
        if not data:
            if self.compression and not self._hashed.count:
                raise self._cut_short(where)  # the gzip module takes no bytes for an empty file
            self._exhausted = True
        return data

    def close(self) -> None:
        """Close the file; standard input stays open."""
        self._close()

    def _decompressed(self, raw: io.BufferedReader[_Hashed], head: bytes, name: str, opened: ExitStack) -> _Stream:
        for magic, what, advice in _STRANGE:
            if head.startswith(magic):
                raise InputError(f"{self.label} is {what}, not CSV or JSONL: {advice}.")
        if name.endswith(".gz") or (not name.endswith(".zst") and head.startswith(_GZIP)):
            self._expect("gzip", is_so=_GZIP.startswith(head[:2]))
            return opened.enter_context(gzip.GzipFile(fileobj=raw))
        if name.endswith(".zst") or head.startswith(_ZSTD):
            self._expect("zstd", is_so=_ZSTD.startswith(head) or head.endswith(_SKIPPED))
            return opened.enter_context(zstd.ZstdFile(raw))
        return raw

    def _expect(self, compression: str, *, is_so: bool) -> None:
        """Take note of the compression; a file that is only named so has another fault than damage."""
        self.compression = compression
        if not is_so:
            raise InputError(
                f"{self.label} is named as if it were compressed by {compression}, and is not: rename it if it is plain"
                " text, or fetch it again."
            )

    def _cut_short(self, where: str) -> InputError:
        return InputError(
            f"{self.label} is cut short: its {self.compression} stream ends {where}. Fetch or write the file again."
        )


def hash_file(path: Path) -> str:
    """The hex SHA-256 of a file as stored, equal to `Input.sha256` after its rows.

    Raises:
        InputError: It does not exist, is a directory, or may not be read.
    """
    with _open(path) as file:
        try:
            return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise _unreadable(str(path), error) from error


def require_file(path: Path) -> None:
    """Say now, rather than when a ledger was made for it, that there is no such input; a pipe is not opened.

    Raises:
        InputError: It does not exist or is a directory.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError
        path.stat()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise _unreadable(str(path), error) from error


def _open(path: Path) -> io.FileIO:
    try:
        return path.open("rb", buffering=0)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise _unreadable(str(path), error) from error


def _stdin() -> io.BufferedReader:
    if sys.stdin is None or sys.stdin.closed:
        raise InputError("Standard input is closed.")
    return cast("io.BufferedReader", sys.stdin.buffer)


def _unreadable(label: str, error: Exception, where: str = "") -> InputError:
    if isinstance(error, FileNotFoundError):
        return InputError(f"{label} does not exist.")
    if isinstance(error, IsADirectoryError):
        return InputError(f"{label} is a directory: name the file of jobs in it.")
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return InputError(f"{label} cannot be read{where and ' ' + where}: {reason}.")
