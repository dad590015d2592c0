"""Taking a run's shards, reading what is left of them, and writing results under the fence.

The write-ahead rule (DESIGN 6): before any row of a shard is sent, the shard's `dispatched_through` at or
beyond it is committed. So after a crash: no result and beyond the mark was never sent; no result and within
the mark is in doubt, unless an orderly stop noted in `unsettled` that it was not executed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, bindparam, false, func, select, true, update

from worker.claim import Claim, KnownOwner, OpenRow, ShardClaim
from worker.errors import LedgerHeldError
from worker.leases import LEASE, Lease
from worker.ledger.doubts import mark_left_since
from worker.ledger.fences import require_held
from worker.ledger.held import Holds, look_for_holders, refuse_held
from worker.ledger.holders import settling
from worker.ledger.statements import Statement
from worker.ledger.store import store_of
from worker.ledger.tables import inputs, owners, results, runs, same_row, same_shard, shards, unsettled
from worker.models import Job, UserKey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Dialect, Engine
    from sqlalchemy.sql.elements import ColumnElement

__all__ = [
    "claim_free",
    "claim_run",
    "claim_shards",
    "fetch_details_due",
    "fetch_fresh",
    "hold_run",
]


_OPEN_COLUMNS: Final = (
    inputs.c.row,
    inputs.c.line,
    inputs.c.acs_credential_id,
    inputs.c.acs_user_id,
    inputs.c.user_identity_id,
    inputs.c.workspace_id,
    inputs.c.unassign,
    unsettled.c.maybe_applied,
    unsettled.c.attempts,
)
_JOINED: Final = inputs.outerjoin(results, same_row(results, inputs)).outerjoin(unsettled, same_row(unsettled, inputs))


_WITH_OWNERS: Final = _JOINED.outerjoin(owners, same_row(owners, inputs))
_OWNER_COLUMNS: Final = (
    owners.c.state,
    owners.c.assigned_acs_user_id,
    owners.c.read_at,
    owners.c.assigned_user_identity_id,
)


def _job(record: Sequence[Any]) -> Job:
    row, line, credential, acs_user, identity, workspace, unassign = record[:7]
    if acs_user is not None:
        return Job(row, line, credential, UserKey.ACS_USER, acs_user, workspace, unassign == 1)
    return Job(row, line, credential, UserKey.USER_IDENTITY, identity, workspace, unassign == 1)


def _open_row(record: Sequence[Any], *, maybe_applied: bool) -> OpenRow:
    owner = None
    if record[9] in {"owned", "unowned"}:
        owner = KnownOwner(record[10], record[11], record[12])
    return OpenRow(_job(record), maybe_applied, record[8] or 0, owner)


def claim_run(  # noqa: PLR0913 - likewise
    engine: Engine, run_no: int, *, holder: str, now: float, through: int | None = None, after: Claim | None = None
) -> Claim:
    """Take every shard of the run; as `claim_shards`."""
    return claim_shards(engine, run_no, None, holder=holder, now=now, through=through, after=after)


def claim_shards(  # noqa: PLR0913 - who takes what, and for how long
    engine: Engine,
    run_no: int,
    numbers: Sequence[int] | None,
    *,
    holder: str,
    now: float,
    through: int | None = None,
    lease: float = LEASE,
    after: Claim | None = None,
) -> Claim:
    """Take shards of a run, all for None: their epochs rise, and no older holder can write from here on.

    Rows that an orderly stop gave back count as in doubt again from this commit on, since this execution may
    send them at once; in this process's memory they are still known as not executed. Rows beyond `through` are let be.

    Args:
        engine: the ledger.
        run_no: the run.
        numbers: its shards.
        holder: who takes them; see `holders.holder`.
        now: Unix seconds.
        through: the last row that is meant.
        lease: seconds for which the claim holds without renewal, where the store has leases.
        after: the holder's claim until now, on which it has read or decided something that this one is to rely on.

    Raises:
        FenceLostError: `after` has not held all the time.
        LedgerHeldError: a live process holds one of them, or works on the same workspace in another run; or a later
            run of the same name has taken this one over.
    """
    with engine.begin() as connection:
        store_of(engine.dialect).take_turns(connection)
        if after is not None:
            require_held(connection, after)
        holds = refuse_held(connection, run_no, numbers, holder=holder)
        mark_left_since(connection, run_no, numbers)
        return _take(
            connection,
            run_no,
            numbers,
            holder=holder,
            lease=lease,
            holds=holds,
            began={"started_at": now, "stopped_at": None, "stop_cause": None, "stop_message": None},
            meant=true() if through is None else inputs.c.row <= through,
        )


def claim_free(  # noqa: PLR0913 - who takes what, and for how long
    engine: Engine, run_no: int, numbers: Sequence[int], *, holder: str, now: float, lease: float
) -> tuple[Claim | None, Mapping[int, str]]:
    """As `claim_shards`, of these shards those that can be had, for one of several processes that share a run.

    Returns:
        The claim, None where nothing could be had; and of each other shard why not.

    Raises:
        LedgerHeldError: a later run of the same name has taken this one over.
    """
    with engine.begin() as connection:
        store_of(engine.dialect).take_turns(connection)
        holds = look_for_holders(connection, run_no, numbers, holder=holder)
        free = [number for number in numbers if number not in holds.reasons]
        if not free:
            return None, holds.reasons
        # By whichever of them was the first; and a run that was cancelled meanwhile stays so.
        began = {"started_at": func.coalesce(runs.c.started_at, now)}
        mark_left_since(connection, run_no, free)
        claim = _take(connection, run_no, free, holder=holder, lease=lease, holds=holds, began=began, meant=true())
        return claim, holds.reasons


def hold_run(engine: Engine, run_no: int, *, holder: str) -> Claim:
    """Keep others off a run, and off its workspaces, before anything of it is sent: it has not begun by that.

    Raises:
        LedgerHeldError: as `claim_shards`.
    """
    with engine.begin() as connection:
        store_of(engine.dialect).take_turns(connection)
        holds = refuse_held(connection, run_no, holder=holder)
        same = {"state": runs.c.state}
        return _take(connection, run_no, None, holder=holder, lease=LEASE, holds=holds, began=same, meant=false())


def _take(  # noqa: PLR0913 - who takes what, and for how long
    connection: Connection,
    run_no: int,
    numbers: Sequence[int] | None,
    *,
    holder: str,
    lease: float,
    holds: Holds,
    began: Mapping[str, Any],
    meant: ColumnElement[bool],
) -> Claim:
    """Take shards that are free, of which the rows that are `meant`."""
    store = store_of(connection.dialect)
    term = Lease(lease) if store.has_leases else None
    wanted = and_(shards.c.run_no == run_no, true() if numbers is None else shards.c.shard.in_(numbers))
    taken_run = connection.execute(
        update(runs)
        .where(runs.c.run_no == run_no, runs.c.state != "superseded")
        .values(**began)
        .returning(runs.c.id, runs.c.mode)
    ).one_or_none()
    if taken_run is None:
        raise LedgerHeldError("a later run of the same name has taken this one over; `assign-worker runs` lists it")
    # Its locks would be waited for. Whoever lost its lease by being frozen was so for longer than this.
    store.end_frozen_writes(connection, lease / 4)
    asked_at = Lease.now()
    taken = connection.execute(
        update(shards)
        .where(wanted)
        .values(
            epoch=shards.c.epoch + 1,
            holder=settling(holder, holds.server_time + holds.settles_in) if holds.settles_in > 0 else holder,
            lease_until=store.clock() + lease if term else None,
        )
        .returning(shards)
    ).all()
    if term is not None:
        term.renewed(asked_at)
    carried: dict[int, list[OpenRow]] = {}
    within = (
        select(*_OPEN_COLUMNS, *_OWNER_COLUMNS, inputs.c.shard)
        .select_from(_WITH_OWNERS.join(shards, same_shard(shards, inputs)))
        .where(wanted, inputs.c.row <= shards.c.dispatched_through, meant, results.c.row.is_(None))
        .order_by(inputs.c.row)
    )
    for record in connection.execute(within):
        maybe = record.maybe_applied is None or bool(record.maybe_applied)
        carried.setdefault(record.shard, []).append(_open_row(record, maybe_applied=maybe))
    mark = (
        select(shards.c.dispatched_through)
        .join(inputs, same_shard(inputs, shards))
        .where(inputs.c.run_no == unsettled.c.run_no, inputs.c.row == unsettled.c.row, wanted, meant)
        .scalar_subquery()
    )
    connection.execute(
        update(unsettled).where(unsettled.c.run_no == run_no, unsettled.c.row <= mark).values(maybe_applied=True)
    )
    return Claim(
        run_no,
        str(taken_run.id),
        tuple(
            ShardClaim(
                row.shard,
                row.workspace_id,
                row.epoch,
                row.dispatched_through,
                row.rows,
                tuple(carried.get(row.shard, ())),
            )
            for row in sorted(taken, key=lambda row: row.shard)
        ),
        owners_read=taken_run.mode.knows_owners,
        lease=term,
        settles_in=holds.settles_in,
        server_time=holds.server_time,
    )


def fetch_fresh(  # noqa: PLR0913 - where to read, and how much
    engine: Engine,
    run_no: int,
    shard: int,
    *,
    after_row: int,
    limit: int,
    crowded: bool = False,
    with_owners: bool = False,
) -> list[OpenRow]:
    """The next rows of a shard without a result, in input order, beyond `after_row`.

    `crowded`: the run has many shards, so that a shard's rows are found by their index; those of a single shard are
    quicker read as they lie. `with_owners`: the run has read whose the credentials were.
    """
    statement = _fresh_statement(engine.dialect, crowded=crowded, with_owners=with_owners)
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        records = statement.fetch(cursor, run=run_no, in_shard=shard, after=after_row, most=limit)
    finally:
        connection.close()
    if with_owners:
        return [_open_row(record, maybe_applied=bool(record[7])) for record in records]
    return [OpenRow(_job(record), bool(record[7]), record[8] or 0) for record in records]


_BY_SHARD: Final = "FROM inputs INDEXED BY inputs_by_shard "
_built: dict[tuple[str, bool, bool], Statement] = {}


def _fresh_statement(dialect: Dialect, *, crowded: bool, with_owners: bool = False) -> Statement:
    kind = (dialect.name, crowded, with_owners)
    if kind not in _built:
        query = (
            select(*_OPEN_COLUMNS, *(_OWNER_COLUMNS if with_owners else ()))
            .select_from(_WITH_OWNERS if with_owners else _JOINED)
            .where(
                inputs.c.run_no == bindparam("run"),
                inputs.c.shard == bindparam("in_shard"),
                inputs.c.row > bindparam("after"),
                results.c.row.is_(None),
            )
            .order_by(inputs.c.row)
            .limit(bindparam("most"))
        )
        statement = Statement.build(query, dialect)
        if crowded and dialect.name == "sqlite":  # without statistics it would walk the whole run for every shard
            statement = replace(statement, text=statement.text.replace("FROM inputs ", _BY_SHARD, 1))
        _built[kind] = statement
    return _built[kind]


def fetch_details_due(engine: Engine, run_no: int, shard: int, *, after_row: int, limit: int) -> list[Job]:
    """Assigned rows of a shard whose reply was void, so that their details are still to be read."""
    query = (
        select(*_OPEN_COLUMNS)
        .select_from(_JOINED)
        .where(
            inputs.c.run_no == run_no,
            inputs.c.shard == shard,
            inputs.c.row > after_row,
            results.c.details_due,
        )
        .order_by(inputs.c.row)
        .limit(limit)
    )
    with engine.connect() as connection:
        return [_job(record) for record in connection.execute(query)]
