"""A ledger in one SQLite file: where it may lie, how it is opened, and the OS lock that fences it.

One sending process per ledger file: the lock is a `flock` on a file beside the database, so the kernel gives
it back when its holder dies, however it dies, and neither a changed clock nor a reused process id matters.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from typing import TYPE_CHECKING, Final, Self

import psutil
from sqlalchemy import create_engine, event
from sqlalchemy.pool import NullPool

from worker.errors import LedgerError, LedgerHeldError
from worker.ledger.holders import describe, holder
from worker.ledger.migrations import take_steps
from worker.ledger.tables import SCHEMA_VERSION, metadata

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from sqlalchemy import Engine
    from sqlalchemy.pool import ConnectionPoolEntry

__all__ = ["FileLock", "check_place", "open_sqlite", "sync_folder"]

APPLICATION_ID: Final = 0x41574B31
"""`AWK1`, in the file's header: tells a ledger from every other SQLite file."""

_HEADER: Final = 100
_MAGIC: Final = b"SQLite format 3\x00"
_NETWORK_FILE_SYSTEMS: Final = frozenset(
    {
        "nfs",
        "nfs4",
        "cifs",
        "smb",
        "smb2",
        "smb3",
        "smbfs",
        "afpfs",
        "9p",
        "fuse.sshfs",
        "glusterfs",
        "ceph",
        "lustre",
    }
)
_PAGE_CACHE_KIB: Final = 8 * 1024
_BUSY_TIMEOUT_MS: Final = 10_000


def open_sqlite(path: Path, *, create: bool) -> Engine:
    """The engine on the ledger file at `path`, made with mode 0600 if `create` and it is not there.

    Raises:
        LedgerError: the file is missing (without `create`), is no ledger, is damaged, is of a newer version, is
            a symbolic link, or lies on a network file system. It is left as it was.
    """
    try:
        version = _version_of(path, create=create)
        if version is None:
            _create_schema(path, may=create)
        engine = _engine(path)
        if version is not None and version < SCHEMA_VERSION:
            _upgrade(engine)
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT run_no FROM runs LIMIT 1")
    except LedgerError:
        raise
    except OSError as error:
        raise LedgerError(f"cannot open the ledger {path}: {error.strerror or error}") from None
    except Exception as error:  # noqa: BLE001 - whatever the driver says of a file that is no good
        raise LedgerError(f"the ledger {path} {_what_is_wrong(error)}, or name another one with --ledger.") from None
    return engine


def _what_is_wrong(error: Exception) -> str:
    origin = getattr(error, "orig", None) or error
    reason = str(origin).splitlines()[0][:200]
    if getattr(origin, "sqlite_errorname", "").startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM")):
        return f"cannot be written ({reason}). See that this user may write it and its folder"
    return f"is damaged ({reason}); it was left as it is. Restore it from a backup"


def check_place(path: Path) -> None:
    """Refuse what is no ledger, a folder that is not there, and a file system whose locks cannot be trusted.

    Raises:
        LedgerError: the ledger cannot lie there; nothing was made, no lock's file either.
    """
    if path.is_dir():
        raise LedgerError(f"the ledger {path} is a folder; name a file in it with --ledger")
    if path.exists() or path.is_symlink():
        _version_of(path, create=False)
    parent = path.absolute().parent
    if not parent.is_dir():
        raise LedgerError(f"cannot put the ledger at {path}: the folder {parent} does not exist")
    where = str(parent.resolve())
    mounts = [
        (partition.mountpoint, partition.fstype)
        for partition in psutil.disk_partitions(all=True)
        if where == partition.mountpoint or where.startswith(partition.mountpoint.rstrip("/") + "/")
    ]
    if mounts and (kind := max(mounts, key=lambda mount: len(mount[0]))[1].lower()) in _NETWORK_FILE_SYSTEMS:
        raise LedgerError(
            f"the ledger {path} would lie on a network file system ({kind}), whose locks cannot be trusted; "
            "put it on a local disk with --ledger, or use a PostgreSQL ledger"
        )


def _version_of(path: Path, *, create: bool) -> int | None:
    """The schema's version, None of an empty file, or where there is none and one is to be made.

    Without SQLite, so that no file but a ledger is touched.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        if create:
            return None
        raise LedgerError(f"there is no ledger at {path}; name it with --ledger") from None
    except OSError as error:
        if path.is_symlink():
            raise LedgerError(f"the ledger {path} is a symbolic link; name the file itself with --ledger") from None
        raise LedgerError(f"cannot open the ledger {path}: {error.strerror}") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise LedgerError(f"the ledger {path} is not a plain file")
        header = os.pread(descriptor, _HEADER, 0)
    finally:
        os.close(descriptor)
    if not header:
        return None
    if not header.startswith(_MAGIC) or len(header) < _HEADER:
        raise LedgerError(f"{path} is not a ledger of assign-worker; it was left as it is. Name another --ledger.")
    application_id = int.from_bytes(header[68:72], "big")
    version = int.from_bytes(header[60:64], "big")
    if application_id != APPLICATION_ID:
        raise LedgerError(f"{path} is the database of another program; it was left as it is. Name another --ledger.")
    if version > SCHEMA_VERSION:
        raise LedgerError(
            f"the ledger {path} was written by a newer assign-worker (version {version}, this one knows "
            f"{SCHEMA_VERSION}); update assign-worker, or name another --ledger"
        )
    return version


def _create_schema(path: Path, *, may: bool) -> None:
    """Build the tables beside the ledger and move them in place whole: a kill half-way leaves none.

    Only for who holds the lock (`may`): what it finds empty, another process may be making, and have filled by then.
    """
    if not may:
        raise LedgerError(f"the ledger {path} is empty: no run was recorded in it; name it with --ledger")
    scratch = path.with_name(f".{path.name}.{os.getpid()}.new")
    scratch.unlink(missing_ok=True)
    os.close(os.open(scratch, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
    try:
        engine = create_engine(f"sqlite:///{scratch}", poolclass=NullPool)
        metadata.create_all(engine)
        with engine.connect() as connection:
            connection.exec_driver_sql(f"PRAGMA application_id={APPLICATION_ID}")
            connection.exec_driver_sql(f"PRAGMA user_version={SCHEMA_VERSION}")
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        engine.dispose()
        descriptor = os.open(scratch, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
        scratch.replace(path)
        sync_folder(path.absolute().parent)
    finally:
        for suffix in ("", "-wal", "-shm", "-journal"):
            scratch.with_name(scratch.name + suffix).unlink(missing_ok=True)


def _upgrade(engine: Engine) -> None:
    """Bring it up to date; where another process did so meanwhile, nothing is left to do."""
    with engine.connect() as connection:
        connection.exec_driver_sql("ROLLBACK")  # of the transaction that every connection begins: it may only read
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        take_steps(connection, int(connection.exec_driver_sql("PRAGMA user_version").scalar_one()))
        connection.exec_driver_sql(f"PRAGMA user_version={SCHEMA_VERSION}")
        connection.commit()


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _engine(path: Path) -> Engine:
    engine = create_engine(
        f"sqlite:///{path.absolute()}",
        hide_parameters=True,  # errors must not carry rows
        connect_args={"timeout": _BUSY_TIMEOUT_MS / 1000, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
        connection.isolation_level = None
        for pragma in (
            "synchronous=FULL",
            "foreign_keys=OFF",  # our own statements name only rows they have just read; checks cost a lookup a row
            f"cache_size=-{_PAGE_CACHE_KIB}",
            "temp_store=FILE",
            "wal_autocheckpoint=2000",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: object) -> None:
        connection.exec_driver_sql("BEGIN")  # type: ignore[attr-defined] # the event's argument is untyped

    return engine


class FileLock:
    """The exclusive lock on a ledger file, held until `release` or the end of the process."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(database.name + ".lock")
        self._descriptor: int | None = None

    def acquire(self) -> Self:
        """Take the lock, or fail at once.

        Raises:
            LedgerHeldError: another process has it; the message names that process.
        """
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LedgerError(f"cannot lock the ledger: {self._path}: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            said = os.pread(descriptor, 4096, 0)
            os.close(descriptor)
            raise LedgerHeldError(
                f"another run works on this ledger ({describe(said)}); wait for it to end, stop it with "
                "SIGTERM, or give this run a ledger of its own with --ledger"
            ) from None
        with contextlib.suppress(OSError):  # who it is, is for people only; the lock holds on a full disk too
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, holder().encode(), 0)
        self._descriptor = descriptor
        return self

    def release(self) -> None:
        """Give the lock back; the file stays, since removing it would race with the next holder."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        """Take the lock."""
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        """Give it back."""
        self.release()
