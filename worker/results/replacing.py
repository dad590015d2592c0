"""A file that appears whole or not at all, with mode 0600 from its first byte."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from worker.errors import ResultsWriteError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import TextIO

__all__ = ["check_destination", "replacing"]

_BUFFER: Final = 1 << 20
_OTHER_KINDS: Final = frozenset({".xlsx", ".xls", ".ods", ".parquet", ".gz", ".zst", ".zip", ".db"})
"""Endings by which other programs would take the file for what it is not."""


def check_destination(path: Path) -> None:
    """Say now, rather than after the work, that no results can be written to `path`.

    Raises:
        UsageError: it is a folder or a device, is named as what results are not, its folder is missing, or may not be
            written.
    """
    if path.suffix.lower() in _OTHER_KINDS:
        raise UsageError(f"cannot write results to {path}: they are plain CSV or JSONL; end the name in .csv or .jsonl")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise UsageError(f"cannot write results to {path}: the folder {folder} does not exist")
    with suppress(FileNotFoundError):
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise UsageError(f"cannot write results to {path}: it is a folder; name a file in it")
        if not stat.S_ISREG(mode):
            raise UsageError(f"cannot write results to {path}: it is no plain file")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"cannot write results to {path}: the folder {folder} may not be written")


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """A text file (UTF-8, lone surrogates escaped) that takes the place of `path` when the block ends well.

    A link at `path` is replaced, not followed. What was there before stays until the new file is on the disk.

    Raises:
        UsageError: see `check_destination`.
        ResultsWriteError: a write, the sync or the rename failed; the unfinished file is removed.
    """
    check_destination(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        descriptor = _create(partial)
        try:
            with open(
                descriptor, "w", _BUFFER, encoding="utf-8", errors="backslashreplace", newline="", closefd=False
            ) as file:
                yield file
                file.flush()
            os.fsync(descriptor)
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        _sync(path.absolute().parent)
    except OSError as error:
        raise ResultsWriteError(
            f"cannot write the results to {path}: {_reason(error)}. The ledger holds every row: "
            "`assign-worker results -o FILE` writes them elsewhere"
        ) from error


def _reason(error: OSError) -> str:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return "the disk is full"
    return error.strerror or str(error)


def _create(partial: Path) -> int:
    """A new file, locked while it is written; what a killed export left under that name goes.

    Raises:
        ResultsWriteError: another process is writing it just now.
    """
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(partial, flags, 0o600)
    except FileExistsError:
        _remove_leftover(partial)
        descriptor = os.open(partial, flags, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def _remove_leftover(partial: Path) -> None:
    try:
        leftover = os.open(partial, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        partial.unlink(missing_ok=True)  # a link, or a file that we may not read
        return
    try:
        fcntl.flock(leftover, fcntl.LOCK_EX | fcntl.LOCK_NB)
        partial.unlink(missing_ok=True)
    except BlockingIOError:
        raise ResultsWriteError(f"another process is writing {partial} just now; try again") from None
    finally:
        os.close(leftover)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
