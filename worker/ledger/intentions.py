"""What is to become of a row, by whom its credential belonged to when it was read; and the rows that need no sending.

One expression names the intention of a row; `plan` shows it, and a sync decides by it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, case, delete, exists, func, insert, literal, or_, select

from worker.ledger.fences import fenced
from worker.ledger.runs import worked_until
from worker.ledger.store import store_of
from worker.ledger.tables import (
    DETAIL_COLUMNS,
    inputs,
    owners,
    results,
    runs,
    same_row,
    same_shard,
    shards,
    unsettled,
    word_of,
)
from worker.models import Outcome

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Select

    from worker.claim import Claim
    from worker.ledger.runs import Run

__all__ = ["INTENTION", "Intention", "decide_by_owners", "unread_shards", "wanted_by_sync"]


class Intention(StrEnum):
    """What is to become of a row."""

    NEW = "new"
    """Nobody has the credential: it is given."""
    TAKEOVER = "takeover"
    """Somebody else has it: it is taken over, or left alone, as the takeover rule says."""
    UNCHANGED = "unchanged"
    """The person has it already."""
    UNKNOWN_CREDENTIAL = "unknown_credential"
    """Seam knows no such credential in this workspace."""
    BEING_DELETED = "being_deleted"
    CHILD = "child"
    """One phone's part of a multi-phone credential; the whole one is to be given."""
    UNREADABLE = "unreadable"
    """Whose it is could not be read."""


INTENTION: Final = case(
    (owners.c.state == word_of("missing"), word_of(Intention.UNKNOWN_CREDENTIAL)),
    (owners.c.is_mine, word_of(Intention.UNCHANGED)),
    (owners.c.parent_acs_credential_id.is_not(None), word_of(Intention.CHILD)),
    (owners.c.being_deleted, word_of(Intention.BEING_DELETED)),
    (owners.c.state == word_of("unowned"), word_of(Intention.NEW)),
    (and_(owners.c.state == word_of("owned"), owners.c.is_mine.is_not(None)), word_of(Intention.TAKEOVER)),
    else_=word_of(Intention.UNREADABLE),
)
"""The `Intention` of a row with a reading in `owners`."""

_NO_RESULT: Final = ~exists().where(results.c.run_no == inputs.c.run_no, results.c.row == inputs.c.row)
_NEVER_SENT: Final = and_(
    inputs.c.row > shards.c.dispatched_through,
    ~exists().where(unsettled.c.run_no == inputs.c.run_no, unsettled.c.row == inputs.c.row, unsettled.c.attempts > 0),
)
"""By this run: a row that only another one left in doubt is read and judged as any other."""
_WITH_SHARD: Final = inputs.join(shards, same_shard(shards, inputs))
_UNREAD: Final = ~exists().where(owners.c.run_no == inputs.c.run_no, owners.c.row == inputs.c.row)


def wanted_by_sync(engine: Engine, run_no: int) -> Select[Any]:
    """What a survey is to read for a sync: all that was neither decided, sent nor read; for `Readings`."""
    with engine.begin() as connection:  # readings that a kill left half-made
        connection.execute(
            delete(owners).where(
                owners.c.run_no == run_no,
                owners.c.state == "owned",
                owners.c.is_mine.is_(None),
                owners.c.detail.is_(None),
            )
        )
        _forget_outdated(connection, run_no)
    return (
        select(
            inputs.c.row,
            inputs.c.line,
            inputs.c.shard,
            inputs.c.workspace_id,
            inputs.c.acs_credential_id,
            inputs.c.acs_user_id,
            inputs.c.user_identity_id,
        )
        .select_from(_WITH_SHARD)
        .where(inputs.c.run_no == run_no, _NO_RESULT, _NEVER_SENT, _UNREAD)
    )


def _forget_outdated(connection: Connection, run_no: int) -> None:
    """Have a credential read again that another run has had in hand since, unless this run has sent it by now."""
    here, first_read = runs.alias(), select(func.min(owners.c.read_at)).where(owners.c.run_no == run_no)
    stopped = worked_until()
    is_later = and_(
        runs.c.run_no != run_no,
        runs.c.endpoint == select(here.c.endpoint).where(here.c.run_no == run_no).scalar_subquery(),
        runs.c.started_at.is_not(None),
        stopped > first_read.scalar_subquery(),
    )
    if not connection.execute(select(exists().where(is_later))).scalar():
        return
    other = inputs.alias()
    since = (
        select(other.c.acs_credential_id, func.max(stopped).label("stopped_at"))
        .join(runs, runs.c.run_no == other.c.run_no)
        .where(is_later, other.c.shard.is_not(None))
        .group_by(other.c.acs_credential_id)
        .subquery()
    )
    outdated = (
        select(inputs.c.row)
        .select_from(
            _WITH_SHARD.join(owners, same_row(owners, inputs)).join(
                since, since.c.acs_credential_id == inputs.c.acs_credential_id
            )
        )
        .where(inputs.c.run_no == run_no, _NO_RESULT, _NEVER_SENT, owners.c.read_at <= since.c.stopped_at)
    )
    connection.execute(delete(owners).where(owners.c.run_no == run_no, owners.c.row.in_(outdated)))


def unread_shards(engine: Engine, run_no: int) -> frozenset[int]:
    """The shards of which a survey did not read every row."""
    query = (
        select(inputs.c.shard)
        .select_from(_WITH_SHARD)
        .where(inputs.c.run_no == run_no, _NO_RESULT, _NEVER_SENT, _UNREAD)
        .distinct()
    )
    with engine.connect() as connection:
        return frozenset(connection.execute(query).scalars())


_DECISIONS: Final[dict[Intention, tuple[Outcome, bool | None, str]]] = {
    Intention.UNKNOWN_CREDENTIAL: (
        Outcome.FAILED,
        False,
        "Seam knows no such credential in this workspace; nothing was sent. Check acs_credential_id",
    ),
    Intention.UNCHANGED: (Outcome.UNCHANGED, None, "the person has it already; nothing was sent"),
    Intention.CHILD: (
        Outcome.INVALID,
        None,
        "it is one phone's part of a multi-phone credential; nothing was sent. Assign its parent instead",
    ),
    Intention.BEING_DELETED: (
        Outcome.FAILED,
        False,
        "it is being deleted; nothing was sent. Use another credential for this person",
    ),
}
"""What is decided without sending, whatever the takeover rule."""
_REFUSED: Final = "and takeover is refused; nothing was changed. `--takeover allow` replaces owners"


def decide_by_owners(engine: Engine, run: Run, *, claim: Claim | None = None) -> int:
    """Give a result to every row that, by the owner that was read, is not to be sent; how many (DESIGN 5).

    Raises:
        FenceLostError: the claim under which owners were read, where there is one, is gone; nothing was decided.
    """
    decided = dict(_DECISIONS)
    if run.mode.takeover_refused:
        decided[Intention.TAKEOVER] = (Outcome.CONFLICT, False, "")
        decided[Intention.UNREADABLE] = (Outcome.CONFLICT, True, f"whose it is could not be read, {_REFUSED}")
    belongs = func.coalesce(
        literal("it belongs to user ") + owners.c.assigned_acs_user_id + ", ", literal("it belongs to somebody else, ")
    ) + literal(_REFUSED)
    columns: dict[str, Any] = {
        "run_no": inputs.c.run_no,
        "row": inputs.c.row,
        "outcome": case(*((word_of(key) == INTENTION, word_of(value[0])) for key, value in decided.items())),
        "retryable": case(*((word_of(key) == INTENTION, literal(value[1])) for key, value in decided.items())),
        "detail": case(
            (word_of(Intention.TAKEOVER) == INTENTION, belongs),
            *((word_of(key) == INTENTION, literal(value[2])) for key, value in decided.items()),
        ),
        "error_type": case((owners.c.state == "missing", literal("acs_credential_not_found"))),
        "attempts": literal(0),
        "read_back": literal(True),  # noqa: FBT003 - SQL's true
        "finished_at": owners.c.read_at,
        "details_due": literal(False),  # noqa: FBT003 - SQL's false
        **{name: owners.c[name] for name in DETAIL_COLUMNS},
    }
    query = (
        select(*columns.values())
        .select_from(_WITH_SHARD.join(owners, same_row(owners, inputs)))
        .where(
            inputs.c.run_no == run.run_no,
            _NO_RESULT,
            _NEVER_SENT,
            or_(*(word_of(key) == INTENTION for key in decided)),
        )
    )
    with fenced(engine, claim) as connection:
        statement = insert(results).from_select(list(columns), query).execution_options(preserve_rowcount=True)
        decided_rows = int(connection.execute(statement).rowcount)
        store_of(connection.dialect).note_sizes(connection)
    return decided_rows
