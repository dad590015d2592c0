"""Bytes to physical lines: decoded, split at LF, CRLF or CR, and bounded."""

from __future__ import annotations

import codecs
import io
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from worker.errors import InputError
from worker.readers.limits import CHUNK, CUT, MAX_RECORD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.readers.sources import Source

__all__ = ["NUL", "Batch", "read_batches", "stain"]

NUL: Final = "The row holds a NUL character."
_ESCAPE: Final = "assign-worker-escape"
_UNDECODED: Final = re.compile("[\ud800-\udfff]")
_BOMS: Final = (
    # UTF-32 first: its little-endian mark begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def _escape(error: UnicodeError) -> tuple[str, int]:
    """Like `surrogateescape`, but for every byte: multi-byte codecs also refuse bytes below 128."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error(_ESCAPE, _escape)


class Batch(NamedTuple):
    """Whole physical lines that follow each other."""

    first_line: int
    """The number of `lines[0]`, from 1."""
    lines: list[str]
    """With their terminators, untranslated."""
    size: int
    """Characters in `lines`, about."""
    clean: bool
    """No NUL and no undecodable byte; otherwise some line may `stain`."""
    cut: str | None
    """The beginning of a line of over `MAX_RECORD` characters that comes after `lines`; its rest is gone."""
    final: bool
    """Nothing follows."""


def stain(text: str, encoding: str | None) -> str | None:
    """A sentence on the first NUL or undecodable byte of a text; None where it has neither."""
    if "\0" in text:
        return NUL
    found = _UNDECODED.search(text)
    if found is None:
        return None
    byte = ord(found.group()) - 0xDC00
    shown = f"the byte 0x{byte:02x}" if 0 <= byte <= 0xFF else "half a surrogate pair"  # noqa: PLR2004 - a byte
    return f"The row holds {shown}, which is not {encoding or 'UTF-8'}; --encoding names another encoding."


def read_batches(source: Source, encoding: str | None) -> Iterator[Batch]:
    """All lines of a source; the last batch is `final`, and may be empty.

    Raises:
        InputError: The source fails, or is UTF-16 or UTF-32 without `encoding` saying so.
    """
    decoder = _Decoder(source.label, encoding)
    line, pending, pending_clean = 1, "", True
    skipping = False  # within a line whose beginning was given as `cut`
    while True:
        raw = source.read(CHUNK, line - 1)
        text, clean = decoder.decode(raw)
        final = not raw
        clean = clean and pending_clean
        text = pending + text
        lines = list(io.StringIO(text, newline=""))
        pending = lines.pop() if lines and not final and not lines[-1].endswith("\n") else ""
        pending_clean = clean or not pending
        if skipping and lines:
            del lines[0]
            line, skipping = line + 1, False
        cut = None
        if skipping:
            pending = "\r" if pending.endswith("\r") else ""  # it may be half of a CRLF
        elif len(pending) > MAX_RECORD and not pending.endswith("\r"):
            cut, pending, skipping = pending[:CUT], "", True
        yield Batch(line, lines, len(text), clean, cut, final)
        line += len(lines)
        if final:
            return


class _Decoder:
    """Strictly at first, which is quick and proves a chunk clean; escaped where that fails."""

    def __init__(self, label: str, encoding: str | None) -> None:
        self._label = label
        self._encoding = encoding
        codec = codecs.lookup(encoding or "utf-8")
        self._decoder = codecs.getincrementaldecoder("utf-8-sig" if codec.name == "utf-8" else codec.name)()
        self._begun = False

    def decode(self, raw: bytes) -> tuple[str, bool]:
        """The text, and whether it is clean; no bytes are the end."""
        if not self._begun and self._encoding is None:
            self._refuse_wide(raw[:4])
        self._begun = True
        decoder = self._decoder
        state = decoder.getstate()
        try:
            text = decoder.decode(raw, not raw)
        except UnicodeDecodeError:
            decoder.setstate(state)
            decoder.errors = _ESCAPE
            try:
                return decoder.decode(raw, not raw), False
            except UnicodeError as error:
                raise self._undecodable(error) from error
            finally:
                decoder.errors = "strict"
        except UnicodeError as error:
            raise self._undecodable(error) from error
        return text, "\0" not in text

    def _refuse_wide(self, head: bytes) -> None:
        for bom, name in _BOMS:
            if head.startswith(bom):
                raise InputError(f"{self._label} is {name.upper()}, not UTF-8: give --encoding {name}.")
        nuls = tuple(byte == 0 for byte in head)
        for pattern, name in (
            ((False, True, False, True), "utf-16-le"),
            ((True, False, True, False), "utf-16-be"),
        ):
            if nuls == pattern:
                raise InputError(f"{self._label} looks like {name.upper()}, not UTF-8: give --encoding {name}.")

    def _undecodable(self, error: UnicodeError) -> InputError:
        return InputError(
            f"{self._label} cannot be read as {self._encoding or 'UTF-8'} ({error}): give another --encoding."
        )
