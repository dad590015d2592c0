"""An undo that was left unfinished, and later runs that have assigned its credentials since."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, case, exists, func, insert, literal, or_, select, true

from worker.ledger.fences import fenced
from worker.ledger.runs import UNDO, worked_until
from worker.ledger.tables import inputs, results, runs, same_row, same_shard, shards, unsettled
from worker.ledger.undos import NOT_UNDOABLE
from worker.models import Outcome

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, FromClause, Select
    from sqlalchemy.sql.elements import ColumnElement

    from worker.claim import Claim
    from worker.ledger.chains import Chain
    from worker.ledger.runs import Run

__all__ = ["leave_overtaken"]

_OVERTAKEN: Final = "a later run has assigned the credential anew, and what that one says goes"


def leave_overtaken(  # noqa: PLR0913 - what it goes by
    engine: Engine, chain: Chain, undo: Run, *, recover: bool, now: float, claim: Claim | None = None
) -> int:
    """Of an undo, decide the rows whose credential a later run has assigned, or may have; how many.

    The person may be the same one whom the chain gave it to: by the present owner alone nobody can tell.

    Args:
        engine: the ledger, held by this process.
        chain: what is undone.
        undo: of it, open.
        recover: the ledger's marks are not to be trusted: any open row may have been sent.
        now: Unix seconds.
        claim: that keeps others off it; None where nobody can take it.

    Raises:
        FenceLostError: the claim is gone; nothing was decided.
    """
    with fenced(engine, claim) as connection:
        made_at = undo.staged_at or undo.created_at
        is_later = and_(
            or_(runs.c.run_no > undo.run_no, worked_until() > made_at),  # begun later, or gone on with later
            runs.c.run_no.not_in(chain.numbers),
            runs.c.kind != UNDO,
            runs.c.endpoint == undo.endpoint,
            runs.c.started_at.is_not(None),
        )
        if not connection.execute(select(exists().where(is_later))).scalar():
            return 0
        return _leave(connection, undo, _assigned_in(is_later, undo.run_no, made_at), recover=recover, now=now)


def _leave(connection: Connection, undo: Run, taken: Select[Any], *, recover: bool, now: float) -> int:
    maybe_sent = true() if recover else _is_on_its_way(inputs, shards, unsettled)
    in_doubt = f"it may have been given back, and {_OVERTAKEN}; look at whose it is in Seam"
    columns: dict[str, Any] = {
        "run_no": literal(undo.run_no),
        "row": inputs.c.row,
        "outcome": case((maybe_sent, literal(Outcome.IN_DOUBT.value)), else_=literal(Outcome.CONFLICT.value)),
        "retryable": literal(False),  # noqa: FBT003 - SQL's false
        "detail": case((maybe_sent, literal(in_doubt)), else_=literal(f"{_OVERTAKEN}; nothing was changed")),
        "error_type": literal(NOT_UNDOABLE),  # so that no other undo takes it up
        "attempts": func.coalesce(unsettled.c.attempts, 0),
        "read_back": literal(False),  # noqa: FBT003 - SQL's false
        "finished_at": literal(now),
        "details_due": literal(False),  # noqa: FBT003 - SQL's false
    }
    query = (
        select(*columns.values())
        .join(shards, same_shard(shards, inputs))
        .outerjoin(results, same_row(results, inputs))
        .outerjoin(unsettled, same_row(unsettled, inputs))
        .where(
            inputs.c.run_no == undo.run_no,
            results.c.row.is_(None),
            inputs.c.acs_credential_id.in_(taken),
        )
    )
    statement = insert(results).from_select(list(columns), query)
    return int(connection.execute(statement.execution_options(preserve_rowcount=True)).rowcount)


def _is_on_its_way(rows: FromClause, places: FromClause, notes: FromClause) -> ColumnElement[bool]:
    """Of a row without a result: it may have been sent."""
    return and_(rows.c.row <= places.c.dispatched_through, func.coalesce(notes.c.maybe_applied, true()))


def _assigned_in(meant: ColumnElement[bool], undo_no: int, since: float) -> Select[Any]:
    """The credentials that some runs have assigned since an undo was made (Unix seconds), or may have."""
    there, word, place, note = inputs.alias(), results.alias(), shards.alias(), unsettled.alias()
    was_written = word.c.outcome.in_([Outcome.ASSIGNED.value, Outcome.IN_DOUBT.value])
    # Of a run before it that was not gone on with since, what was left in doubt was so before.
    is_recent = or_(runs.c.run_no > undo_no, runs.c.started_at >= since)
    left = and_(word.c.row.is_(None), _is_on_its_way(there, place, note), is_recent)
    return (
        select(there.c.acs_credential_id)
        .join(runs, runs.c.run_no == there.c.run_no)
        .join(place, same_shard(place, there))
        .outerjoin(word, same_row(word, there))
        .outerjoin(note, same_row(note, there))
        .where(meant, or_(and_(was_written, word.c.finished_at >= since), left))
    )
