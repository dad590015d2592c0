"""Opens a staged run, with what earlier runs say about its rows: settled already, or still in doubt."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, case, exists, func, literal, or_, select, true, update

from worker.errors import LedgerHeldError
from worker.ledger.decided import decide, sentinel
from worker.ledger.doubts import mark_doubtful
from worker.ledger.held import refuse_held
from worker.ledger.holders import holder
from worker.ledger.homes import home_of, may_share_workspace
from worker.ledger.runs import Run, RunState, delete_run, get_run, look_alike, worked_until
from worker.ledger.store import store_of
from worker.ledger.tables import inputs, results, runs, same_row, shards
from worker.models import Outcome

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, FromClause, Row, Select
    from sqlalchemy.sql.elements import ColumnElement

__all__ = ["CARRY_OVER_WINDOW", "finish_staging"]

_SENT: Final[tuple[RunState, ...]] = ("open", "finished")

CARRY_OVER_WINDOW: Final = 24 * 3600.0
"""Seconds for which a settled row of an unfinished run counts as still so (DESIGN 11.5)."""


def finish_staging(  # noqa: PLR0913 - what the run does not know yet
    engine: Engine, run: Run, *, sha256: str, now: float, workspace_id: str | None = None, again: bool = True
) -> Run:
    """Open the staged run for sending, with what earlier runs say about its rows.

    Args:
        engine: the ledger.
        run: as made, its rows staged.
        sha256: of the input's bytes.
        now: Unix seconds.
        workspace_id: of the API key, where the service has told it.
        again: whatever other runs there are over the same input; else one that came in the meantime has the input.

    Raises:
        LedgerHeldError: another process works on the unfinished run of the same name, or on its workspace; or it has
            opened a run over this input meanwhile, and this one is gone.
    """
    run = replace(run, workspace_id=workspace_id or run.workspace_id)
    store = store_of(engine.dialect)
    with engine.begin() as connection:  # by itself, since nobody else can do so until its transaction ends
        store.note_sizes(connection)
    with engine.begin() as connection:
        store.take_turns(connection)
        other = None if again else look_alike(connection, run, sha256, states=("open",) if run.is_sync else _SENT)
        if other is None:
            _open(connection, run, sha256=sha256, now=now)
        else:
            delete_run(connection, run.run_no)
    if other is not None:
        raise LedgerHeldError(
            f"another process has begun this input meanwhile, as run {other.id}; nothing was sent here. The same "
            "command tells what became of it"
        )
    return get_run(engine, run.run_no)


def _open(connection: Connection, run: Run, *, sha256: str, now: float) -> None:
    _carry_over(connection, run, now=now)
    mark_doubtful(connection, run)
    total = select(func.count()).select_from(inputs).where(inputs.c.run_no == run.run_no).scalar_subquery()
    connection.execute(
        update(runs)
        .where(runs.c.run_no == run.run_no)
        .values(
            state="open",
            input_sha256=sha256,
            rows=total,
            staged_at=now,
            workspace_id=run.workspace_id,
        )
    )


def _carry_over(connection: Connection, run: Run, *, now: float) -> None:
    """Take over what the unfinished run of the same name has settled (DESIGN 11.5), and supersede that run."""
    before = connection.execute(
        select(runs)
        .where(
            runs.c.name == run.name,
            runs.c.kind == run.kind,
            runs.c.endpoint == run.endpoint,
            runs.c.run_no < run.run_no,
            runs.c.state != "staging",
        )
        .order_by(runs.c.run_no.desc())
        .limit(1)
    ).one_or_none()
    if before is None or before.state != "open":
        return
    if run.is_sync:  # it reads for itself what is so
        refuse_held(connection, before.run_no, holder=holder())
        _supersede(connection, before.run_no)
        return
    home = home_of(connection, before.run_no)
    if not may_share_workspace(connection, before.run_no, run.run_no, homes=(home, run.workspace_id)):
        return  # another building's file of the same name
    refuse_held(connection, before.run_no, holder=holder())
    at_home = home in {None, run.workspace_id}
    settled = _settled_by(before, run.run_no, at_home=at_home, now=now).subquery()
    _, *never_sent = sentinel(now)
    decide(
        connection,
        select(
            inputs.c.run_no,
            inputs.c.row,
            literal(Outcome.UNCHANGED.value),
            settled.c.detail,
            settled.c.settled_at,  # so that the window does not begin again with each change of the file
            *never_sent,
        )
        .join(settled, settled.c.content == _content(inputs))
        .where(
            inputs.c.run_no == run.run_no,
            ~exists().where(results.c.run_no == inputs.c.run_no, results.c.row == inputs.c.row),
        ),
    )
    _supersede(connection, before.run_no)


def _supersede(connection: Connection, run_no: int) -> None:
    """Take a run over for good: whoever held it writes nothing more."""
    connection.execute(update(runs).where(runs.c.run_no == run_no).values(state="superseded"))
    connection.execute(update(shards).where(shards.c.run_no == run_no).values(epoch=shards.c.epoch + 1))


def _content(rows: FromClause) -> ColumnElement[str]:
    """What makes a row of `inputs` the same as another one, as one text: looked up in one search, without an index."""
    here = rows.c
    people = (func.coalesce(column, "") for column in (here.acs_user_id, here.user_identity_id, here.workspace_id))
    return functools.reduce(lambda text, part: text + " " + part, people, here.acs_credential_id)


def _settled_by(before: Row[Any], run_no: int, *, at_home: bool, now: float) -> Select[Any]:
    """(content, settled_at, detail) of rows that a run settled lately; of a credential it has settled one row at most.

    Without those whose credential another run may have written since, and, unless the run went to the same workspace
    by default (`at_home`), those that name none: they are of wherever its key was for. Other runs are gone through
    once: to look in them for one credential at a time would take as long for each row.
    """
    old, word, other = inputs.alias(), results.alias(), inputs.alias()
    stopped = worked_until()
    # One that was taken over before that run was opened has written nothing since, even if it was killed.
    is_ended = and_(runs.c.state == "superseded", runs.c.name == before.name, runs.c.run_no < before.run_no)
    since = (
        select(other.c.acs_credential_id, func.max(stopped).label("stopped_at"))
        .join(runs, runs.c.run_no == other.c.run_no)
        .where(
            runs.c.run_no.not_in([run_no, before.run_no]),
            ~is_ended,
            runs.c.started_at.is_not(None),
            stopped > now - CARRY_OVER_WINDOW,
        )
        .group_by(other.c.acs_credential_id)
        .subquery()
    )
    # What that run had itself taken over was so when it was opened, by the same rules.
    known_at = case((word.c.finished_at > before.staged_at, word.c.finished_at), else_=literal(before.staged_at))
    is_assigned = word.c.outcome == Outcome.ASSIGNED.value
    detail = case(
        (is_assigned, literal(f"run {before.id} assigned it before this file changed; nothing was sent")),
        else_=word.c.detail,
    )
    return (
        select(_content(old).label("content"), word.c.finished_at.label("settled_at"), detail.label("detail"))
        .select_from(
            old.join(word, same_row(word, old)).outerjoin(since, since.c.acs_credential_id == old.c.acs_credential_id)
        )
        .where(
            old.c.run_no == before.run_no,
            or_(is_assigned, word.c.outcome == Outcome.UNCHANGED.value),
            word.c.finished_at > now - CARRY_OVER_WINDOW,
            func.coalesce(since.c.stopped_at, literal(0.0)) <= known_at,
            true() if at_home else old.c.workspace_id.is_not(None),
        )
    )
