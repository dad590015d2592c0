"""An undo in the ledger: a run that gives each assigned credential of a chain back to whom it belonged before.

Its `inputs` name the previous owner (or, with `unassign`, the present one), its `owners` the person that the chain
gave the credential to: a row is sent only while that is still so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import and_, case, exists, func, insert, literal, null, or_, select, true, type_coerce
from sqlalchemy.types import Text

from worker.errors import LedgerHeldError
from worker.ledger.chains import latest, require_same
from worker.ledger.children import fill_shards, open_child
from worker.ledger.held import refuse_held
from worker.ledger.holders import holder
from worker.ledger.runs import UNDO, as_run, delete_run, insert_run
from worker.ledger.store import store_of
from worker.ledger.tables import inputs, owners, results, runs, same_row, shards, verifications
from worker.models import Outcome

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Select
    from sqlalchemy.sql.elements import ColumnElement

    from worker.ledger.chains import Chain
    from worker.ledger.runs import Run, RunSpec

__all__ = [
    "NOT_UNDOABLE",
    "UndoGroup",
    "begin_undo",
    "create_undo",
    "discard_unbegun",
    "find_undo",
    "group_undo",
    "has_rest",
    "wanted_by_undo",
]

NOT_UNDOABLE: Final = "not_undoable"
"""The error type of rows that no undo can give back."""
_UNKNOWN: Final = (
    "who had it before is not recorded, since the run did not read it (a plain run does not); nothing was changed"
)
_UNTOLD: Final = "whom the run gave it to is not recorded, so nobody can tell if that is still so; nothing was changed"


class UndoGroup(NamedTuple):
    """Rows of an undo that are alike."""

    unassign: bool
    """Nobody had the credential before."""
    decided: bool
    """It cannot be undone."""
    state: str | None
    """As read for a dry run: `owned`, `unowned`, `missing` or `unknown`."""
    is_still_so: bool | None
    """Whether the person still has it whom the run gave it to."""
    rows: int


def find_undo(engine: Engine, chain: Chain) -> Run | None:
    """The undo of a chain that is not finished, else the latest one."""
    is_open = case((runs.c.state == "open", 1), else_=0)
    query = _undos(chain, runs).order_by(is_open.desc(), runs.c.run_no.desc()).limit(1)
    with engine.connect() as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else as_run(row)


def create_undo(engine: Engine, chain: Chain, spec: RunSpec, *, now: float) -> Run:
    """Make an undo in state `staging`, to be looked at: under the root's row numbers, as `begin_undo` makes it.

    Raises:
        LedgerHeldError: as `begin_undo`.
    """
    with engine.begin() as connection:
        return _create(connection, chain, spec, now=now)


def begin_undo(  # noqa: PLR0913 - what the undo does not know yet
    engine: Engine, chain: Chain, spec: RunSpec, *, earlier: Run | None, workspace_id: str | None, now: float
) -> Run:
    """Make the undo, open for sending, in one transaction; rows that cannot be undone get their result.

    Args:
        engine: the ledger, held by this process.
        chain: what is undone: its rows that are assigned.
        spec: of kind `undo`, its parent the root.
        earlier: the latest undo of it when it was looked at, which has ended; or None.
        workspace_id: of the default key, where the service has told it.
        now: Unix seconds.

    Raises:
        LedgerHeldError: another process sends what is to be undone, works on its workspace, has begun to undo it, or
            has retried or removed it since it was looked at.
    """
    with engine.begin() as connection:
        run = _create(connection, chain, spec, now=now)
        others = _undos(chain, runs.c.id).where(runs.c.run_no > (0 if earlier is None else earlier.run_no))
        other = connection.execute(others.limit(1)).scalar()
        if other is not None:
            raise LedgerHeldError(
                f"another process has begun to undo run {chain.root.id} meanwhile, as run {other}; nothing was sent "
                "here. The same command tells what became of it"
            )
        return open_child(connection, chain.root, run, now=now, workspace_id=workspace_id or chain.root.workspace_id)


def discard_unbegun(engine: Engine, run_no: int) -> None:
    """Remove an undo that this process has opened and could not take, if nobody else has taken it."""
    with engine.begin() as connection:
        store_of(connection.dialect).take_turns(connection)
        was_taken = exists().where(shards.c.run_no == run_no, shards.c.epoch > 0)
        if not connection.execute(select(was_taken)).scalar():
            delete_run(connection, run_no)


def _undos(chain: Chain, *columns: Any) -> Select[Any]:  # noqa: ANN401 - SQL expressions
    """`columns` of the undos of a chain."""
    return select(*columns).where(runs.c.parent_no == chain.root.run_no, runs.c.kind == UNDO, runs.c.state != "staging")


def _create(connection: Connection, chain: Chain, spec: RunSpec, *, now: float) -> Run:
    store = store_of(connection.dialect)
    store.take_turns(connection)
    require_same(connection, chain)
    refuse_held(connection, chain.last.run_no, holder=holder())
    run = insert_run(connection, spec, now=now)
    # Where the run was undone before: what it assigned since, and what could not be given back then.
    among = _not_undone(connection, chain) if _has_rest(connection, chain) else true()
    _fill_inputs(connection, chain, run, among)
    _fill_owners(connection, chain, run, among)
    fill_shards(connection, chain.root, run)
    _decide(connection, chain, run, among, now=now)
    store.note_sizes(connection)
    return run


_EXPECTED: Final = func.coalesce(inputs.c.acs_user_id, results.c.assigned_acs_user_id)
"""Whom the chain gave the credential to: a reading after the assignment may have found somebody else's already."""
_KNOWN: Final = and_(results.c.previous_owner_state == "known", results.c.previous_acs_user_id.is_not(None))
_TARGET: Final = case((_KNOWN, results.c.previous_acs_user_id), else_=inputs.c.acs_user_id)
"""Null: the row's identity, from which the credential is taken."""


def _assigned(chain: Chain, *columns: Any) -> Select[Any]:  # noqa: ANN401 - SQL expressions
    """`columns` over the rows of a chain that it assigned, by the last word on each."""
    words = latest(chain.root.run_no).subquery("words")
    return (
        select(*columns)
        .select_from(inputs)
        .join(words, same_row(words, inputs))
        .join(results, same_row(results, inputs))
        .where(results.c.outcome == Outcome.ASSIGNED.value)
    )


def _not_undone(connection: Connection, chain: Chain) -> ColumnElement[bool]:
    """Of `inputs`: no undo of the chain has settled the row; what failed in one, another may give back."""
    undos = connection.execute(_undos(chain, runs.c.run_no)).scalars()
    word = results.alias()
    is_settled = or_(
        word.c.outcome.not_in([Outcome.FAILED.value, Outcome.IN_DOUBT.value]), word.c.error_type == NOT_UNDOABLE
    )
    return and_(
        true(), *(~exists().where(word.c.run_no == undo, word.c.row == inputs.c.row, is_settled) for undo in undos)
    )


def _has_rest(connection: Connection, chain: Chain) -> bool:
    rest = _assigned(chain, inputs.c.row).where(_not_undone(connection, chain)).limit(1)
    return connection.execute(rest).one_or_none() is not None


def has_rest(engine: Engine, chain: Chain) -> bool:
    """Whether a chain has assigned rows that no undo of it has settled."""
    with engine.connect() as connection:
        return _has_rest(connection, chain)


def _fill_inputs(connection: Connection, chain: Chain, run: Run, among: ColumnElement[bool]) -> None:
    identity = case(
        (_TARGET.is_(None), inputs.c.user_identity_id),
        else_=type_coerce(null(), Text),
    )
    columns: dict[str, Any] = {
        "run_no": literal(run.run_no),
        "row": inputs.c.row,
        "line": inputs.c.line,
        "shard": inputs.c.shard,
        "acs_credential_id": inputs.c.acs_credential_id,
        "acs_user_id": _TARGET,
        "user_identity_id": identity,
        "workspace_id": inputs.c.workspace_id,
        "cells": inputs.c.cells,
        "unassign": func.coalesce(results.c.previous_owner_state == "none", literal(False)),  # noqa: FBT003 - SQL's
    }
    query = _assigned(chain, *columns.values()).where(among)
    connection.execute(insert(inputs).from_select(list(columns), query))


def _fill_owners(connection: Connection, chain: Chain, run: Run, among: ColumnElement[bool]) -> None:
    columns: dict[str, Any] = {
        "run_no": literal(run.run_no),
        "row": inputs.c.row,
        "read_at": literal(0.0),  # expected, not read: so each is read before anything is sent
        "state": literal("owned"),
        "being_deleted": literal(False),  # noqa: FBT003 - SQL's false
        "assigned_acs_user_id": _EXPECTED,
        "assigned_user_identity_id": inputs.c.user_identity_id,  # as asked for; a reply may have named somebody else
    }
    query = _assigned(chain, *columns.values()).where(among).where(_EXPECTED.is_not(None))
    connection.execute(insert(owners).from_select(list(columns), query))


def _decide(connection: Connection, chain: Chain, run: Run, among: ColumnElement[bool], *, now: float) -> None:
    """Results for rows that cannot be undone."""
    is_none = func.coalesce(results.c.previous_owner_state == "none", literal(False))  # noqa: FBT003 - SQL's false
    columns: dict[str, Any] = {
        "run_no": literal(run.run_no),
        "row": inputs.c.row,
        "outcome": literal(Outcome.FAILED.value),
        "retryable": literal(False),  # noqa: FBT003 - SQL's false
        "detail": case((or_(_KNOWN, is_none), literal(_UNTOLD)), else_=literal(_UNKNOWN)),
        "error_type": literal(NOT_UNDOABLE),
        "attempts": literal(0),
        "read_back": literal(False),  # noqa: FBT003 - SQL's false
        "finished_at": literal(now),
        "details_due": literal(False),  # noqa: FBT003 - SQL's false
    }
    query = (
        _assigned(chain, *columns.values())
        .where(among)
        .where(
            or_(_EXPECTED.is_(None), and_(~func.coalesce(_KNOWN, literal(False)), ~is_none))  # noqa: FBT003 - SQL's false
        )
    )
    connection.execute(insert(results).from_select(list(columns), query))


def wanted_by_undo(run_no: int) -> Select[Any]:
    """What a dry run reads: whether the person still has it whom the run gave it to; for `Readings`."""
    decided = exists().where(results.c.run_no == inputs.c.run_no, results.c.row == inputs.c.row)
    return (
        select(
            inputs.c.row,
            inputs.c.line,
            inputs.c.shard,
            inputs.c.workspace_id,
            inputs.c.acs_credential_id,
            owners.c.assigned_acs_user_id,
            owners.c.assigned_user_identity_id,
        )
        .join(owners, same_row(owners, inputs))
        .where(inputs.c.run_no == run_no, ~decided)
    )


def group_undo(engine: Engine, run_no: int) -> list[UndoGroup]:
    """The rows of an undo by what would become of them, with what a dry run read of them."""
    found = verifications.c
    keys = (inputs.c.unassign, results.c.row.is_not(None).label("decided"), found.state, found.is_mine)
    each = (
        select(*keys)
        .outerjoin(results, same_row(results, inputs))
        .outerjoin(verifications, and_(found.run_no == inputs.c.run_no, found.row == inputs.c.row))
        .where(inputs.c.run_no == run_no)
        .subquery()
    )
    query = select(*each.c, func.count()).group_by(*each.c)
    with engine.connect() as connection:
        return [
            UndoGroup(bool(unassign), bool(decided), state, still, rows)
            for unassign, decided, state, still, rows in map(tuple, connection.execute(query))
        ]
