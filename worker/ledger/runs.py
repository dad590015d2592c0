"""Runs in the ledger: made, found again, listed, ended."""

from __future__ import annotations

import json
import re
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import delete, func, insert, select, true, update

from worker.errors import RunNotFoundError
from worker.ledger.fences import fenced
from worker.ledger.mode import How
from worker.ledger.store import store_of
from worker.ledger.tables import metadata, runs, unsettled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Engine, Row
    from sqlalchemy.sql.elements import ColumnElement

    from worker.claim import Claim
    from worker.ledger.mode import Mode

__all__ = [
    "RETRY",
    "RUN",
    "UNDO",
    "Run",
    "RunSpec",
    "RunState",
    "as_run",
    "create_run",
    "delete_run",
    "discard_run",
    "discard_staging",
    "end_execution",
    "find_alike",
    "get_run",
    "insert_run",
    "learn_workspace",
    "list_runs",
    "look_alike",
    "note_stop",
    "worked_until",
]

RunState = Literal["staging", "open", "finished", "superseded"]
RUN: Final = "run"
"""The kind of a run over a file."""
RETRY: Final = "retry"
"""The kind of a run that sends again what did not succeed in its parent, the root of its chain."""
UNDO: Final = "undo"
"""The kind of a run that gives back what its parent has assigned."""

_STILL_SENDING: Final = 1e15
"""A point in time after all others."""
_LONGEST_STAGING: Final = 24 * 3600.0
_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True)
class RunSpec:
    """What makes two executions the same run (DESIGN 11.4), and what history calls it."""

    name: str
    input_name: str
    input_format: str
    header: tuple[str, ...] | None
    parse_options: str
    """Canonical JSON of all that decides how the file is read: format, encoding, mapping."""
    mode: Mode
    endpoint: str
    workspace_id: str | None
    settings: str
    kind: str = RUN
    parent_no: int | None = None


@dataclass(frozen=True)
class Run:
    """One run as the ledger knows it."""

    run_no: int
    id: str
    kind: str
    parent_no: int | None
    state: RunState
    name: str
    input_name: str
    input_sha256: str | None
    input_format: str
    header: tuple[str, ...] | None
    parse_options: str
    mode: Mode
    endpoint: str
    workspace_id: str | None
    settings: str
    rows: int
    created_at: float
    staged_at: float | None
    started_at: float | None
    stopped_at: float | None
    sending_seconds: float
    stop_cause: str | None
    stop_message: str | None

    @property
    def is_sync(self) -> bool:
        """Whether the present owners are read first, and only what differs is sent."""
        return self.mode.how is How.SYNC


def as_run(row: Row[Any]) -> Run:
    """A record of the table as the ledger's users know it."""
    fields = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    header = fields.pop("header")
    return Run(header=None if header is None else tuple(json.loads(header)), **fields)


def new_run_id(now: float) -> str:
    """A name that sorts by time and can be typed: `20261124-015312-4f2a`."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{secrets.token_hex(2)}"


def create_run(engine: Engine, spec: RunSpec, *, now: float) -> Run:
    """Enter a run in state `staging`; its rows come next."""
    with engine.begin() as connection:
        return insert_run(connection, spec, now=now)


def insert_run(connection: Connection, spec: RunSpec, *, now: float) -> Run:
    """`create_run`, within a transaction that does more."""
    row = connection.execute(
        insert(runs)
        .values(
            id=new_run_id(now),
            kind=spec.kind,
            parent_no=spec.parent_no,
            state="staging",
            name=spec.name,
            input_name=spec.input_name,
            input_format=spec.input_format,
            header=None if spec.header is None else json.dumps(spec.header),
            parse_options=spec.parse_options,
            mode=spec.mode,
            endpoint=spec.endpoint,
            workspace_id=spec.workspace_id,
            settings=spec.settings,
            created_at=now,
        )
        .returning(runs)
    ).one()
    return as_run(row)


def worked_until() -> ColumnElement[float]:
    """Of `runs`: until when a run that was begun may have sent; after all other times, where that is not known."""
    return func.coalesce(runs.c.stopped_at, _STILL_SENDING)


def find_alike(
    engine: Engine, spec: RunSpec, sha256: str, *, states: Sequence[RunState], any_mode: bool = False
) -> Run | None:
    """`look_alike`, by itself."""
    with engine.connect() as connection:
        return look_alike(connection, spec, sha256, states=states, any_mode=any_mode)


def look_alike(
    connection: Connection, spec: RunSpec | Run, sha256: str, *, states: Sequence[RunState], any_mode: bool = False
) -> Run | None:
    """The latest run over the same input, read the same way, in the same mode or in any, against the same endpoint.

    Its workspace may be another one: the caller compares, since a key of the wrong workspace is an error.
    """
    query = (
        select(runs)
        .where(
            runs.c.kind == spec.kind,
            runs.c.state.in_(states),
            runs.c.input_sha256 == sha256,
            runs.c.parse_options == spec.parse_options,
            true() if any_mode else runs.c.mode == spec.mode,
            runs.c.endpoint == spec.endpoint,
        )
        .order_by(runs.c.run_no.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else as_run(row)


def get_run(engine: Engine, reference: str | int | None = None, *, kinds: Sequence[str] | None = None) -> Run:
    """The run by its id or number; the latest one for None; of these kinds, where they are given.

    Raises:
        RunNotFoundError: there is none.
    """
    query = select(runs).where(runs.c.state != "staging").order_by(runs.c.run_no.desc()).limit(1)
    if isinstance(reference, int) or (reference is not None and _NUMBER.fullmatch(reference)):
        query = query.where(runs.c.run_no == int(reference))
    elif reference is not None:
        query = query.where(runs.c.id == reference)
    if kinds is not None:
        query = query.where(runs.c.kind.in_(kinds))
    with engine.connect() as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        if reference is None:
            raise RunNotFoundError("the ledger holds no run yet")
        raise RunNotFoundError(f"the ledger holds no run {reference!r}; `assign-worker runs` lists them")
    return as_run(row)


def list_runs(engine: Engine, *, limit: int | None = None, name: str | None = None) -> list[Run]:
    """The runs, newest first, all of them or the latest; those of one name, where it is given."""
    query = select(runs).where(runs.c.state != "staging").order_by(runs.c.run_no.desc()).limit(limit)
    if name is not None:
        query = query.where(runs.c.name == name)
    with engine.connect() as connection:
        return [as_run(row) for row in connection.execute(query)]


def learn_workspace(engine: Engine, run_no: int, workspace_id: str) -> Run:
    """Note which workspace the API key turned out to be for."""
    with engine.begin() as connection:
        connection.execute(update(runs).where(runs.c.run_no == run_no).values(workspace_id=workspace_id))
    return get_run(engine, run_no)


def note_stop(  # noqa: PLR0913 - the columns of one row
    engine: Engine,
    run_no: int,
    *,
    finished: bool,
    cause: str | None,
    message: str | None,
    seconds: float,
    now: float,
    claim: Claim | None = None,
) -> Run:
    """End an execution; a finished run's `unsettled` notes are dropped.

    Raises:
        FenceLostError: the claim, where there is one, is gone: whoever has it ends the run.
    """
    with fenced(engine, claim) as connection:
        end_execution(connection, run_no, finished=finished, cause=cause, message=message, seconds=seconds, now=now)
        store_of(engine.dialect).note_sizes(connection)
    return get_run(engine, run_no)


def end_execution(  # noqa: PLR0913 - likewise
    connection: Connection,
    run_no: int,
    *,
    finished: bool,
    cause: str | None,
    message: str | None,
    seconds: float,
    now: float,
) -> None:
    """`note_stop`, within a transaction."""
    connection.execute(
        update(runs)
        # Which were for good, whoever ends it late.
        .where(runs.c.run_no == run_no, runs.c.state.not_in(["superseded", "finished"]))
        .values(
            state="finished" if finished else "open",
            stop_cause=cause,
            stop_message=message,
            stopped_at=now,
            sending_seconds=runs.c.sending_seconds + seconds,
        )
    )
    if finished:
        connection.execute(delete(unsettled).where(unsettled.c.run_no == run_no))


def delete_run(connection: Connection, run_no: int) -> None:
    """Remove a run and all its rows."""
    for table in reversed(metadata.sorted_tables):
        connection.execute(delete(table).where(table.c.run_no == run_no))


def discard_staging(engine: Engine) -> None:
    """Remove what killed processes left half-staged; nothing of it was ever sent.

    Where others may be staging now, only what is older than any staging takes.
    """
    store = store_of(engine.dialect)
    left = select(runs.c.run_no).where(runs.c.state == "staging")
    if store.has_leases:
        left = left.where(runs.c.created_at < store.clock() - _LONGEST_STAGING)
    with engine.begin() as connection:
        for (run_no,) in connection.execute(left).all():
            delete_run(connection, run_no)


def discard_run(engine: Engine, run_no: int) -> None:
    """Remove a run that this process was staging, unless it has been opened."""
    with engine.begin() as connection:
        is_left = select(runs.c.run_no).where(runs.c.run_no == run_no, runs.c.state == "staging")
        if connection.execute(is_left).first() is not None:
            delete_run(connection, run_no)
