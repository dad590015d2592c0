"""What a run means to do, added up and row by row, once the present owners were read; nothing here writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import and_, case, false, func, literal, not_, select

from worker.ledger.intentions import INTENTION, Intention
from worker.ledger.queries import ExportRow
from worker.ledger.tables import DETAIL_COLUMNS, inputs, owners, results, same_row, word_of
from worker.models import Outcome, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from sqlalchemy import Engine, Select
    from sqlalchemy.sql.elements import ColumnElement

__all__ = ["PlanGroup", "count_drift", "group_plan", "stream_plan"]


class PlanGroup(NamedTuple):
    """Rows of which the same is intended."""

    intention: str
    """An `Intention`, or the outcome of a row that was decided when the input was read."""
    may_create: bool
    """By an identity of which no user was seen: Seam may create one."""
    drifted: bool
    """The person had it after the last run of this name."""
    rows: int
    first_row: int


_PAIR: Final = (
    inputs.c.acs_credential_id
    + literal(" ")
    + func.coalesce(inputs.c.acs_user_id, literal("identity ") + inputs.c.user_identity_id)
)
"""A credential and its person, as one text: looked up in one search, without an index on the inputs."""


def _settled_by(runs_before: Sequence[int]) -> Select[Any]:
    """Which pairs were right after the last run of the name."""
    return (
        select(_PAIR)
        .join(results, same_row(results, inputs))
        .where(
            inputs.c.run_no.in_(runs_before),
            results.c.outcome.in_([Outcome.ASSIGNED.value, Outcome.UNCHANGED.value]),
        )
        .correlate(None)
    )


def _planned(run_no: int, runs_before: Sequence[int], *columns: ColumnElement[Any]) -> Select[Any]:
    """`columns` over the rows of a run, after what is intended, whether a user may be created, whether it drifted."""
    sent = and_(results.c.row.is_(None), INTENTION.in_([word_of(Intention.NEW), word_of(Intention.TAKEOVER)]))
    seen = (
        select(owners.c.assigned_user_identity_id)
        .where(owners.c.run_no == run_no, owners.c.assigned_user_identity_id.is_not(None))
        .correlate(None)
    )
    may_create = and_(sent, inputs.c.user_identity_id.is_not(None), inputs.c.user_identity_id.not_in(seen))
    drifted = and_(
        owners.c.row.is_not(None),
        not_(func.coalesce(owners.c.is_mine, false())),
        _PAIR.in_(_settled_by(runs_before)),
    )
    source = inputs.outerjoin(results, same_row(results, inputs)).outerjoin(owners, same_row(owners, inputs))
    word = case((results.c.row.is_not(None), results.c.outcome), else_=INTENTION)
    return (
        select(word.label("word"), may_create.label("may_create"), drifted.label("drifted"), *columns)
        .select_from(source)
        .where(inputs.c.run_no == run_no)
    )


def group_plan(engine: Engine, run_no: int, runs_before: Sequence[int]) -> list[PlanGroup]:
    """The rows of a run by what is intended."""
    each = _planned(run_no, runs_before, inputs.c.row).subquery()
    keys = (each.c.word, each.c.may_create, each.c.drifted)
    query = select(*keys, func.count(), func.min(each.c.row)).group_by(*keys)
    with engine.connect() as connection:
        return [
            PlanGroup(word, bool(create), bool(drifted), rows, first)
            for word, create, drifted, rows, first in connection.execute(query)
        ]


def count_drift(engine: Engine, run_no: int, runs_before: Sequence[int]) -> tuple[int, int | None]:
    """How many rows of a sync were right after the last run of its name, and not when it read them; the first one."""
    each = _planned(run_no, runs_before, inputs.c.row).subquery()
    with engine.connect() as connection:
        rows, first = connection.execute(select(func.count(), func.min(each.c.row)).where(each.c.drifted)).one()
    return rows, first


def stream_plan(
    engine: Engine, run_no: int, runs_before: Sequence[int], say: Callable[[str, str | None, bool], str]
) -> Generator[ExportRow]:
    """The rows of a run in input order, as a results file has them; its word is what is intended.

    `say` makes the sentence: of the intention, the owner, and whether a user may be created.
    """
    details = [func.coalesce(results.c[name], owners.c[name]).label(name) for name in DETAIL_COLUMNS]
    query = _planned(
        run_no, runs_before, inputs.c.row, inputs.c.line, inputs.c.cells, results.c.detail, *details
    ).order_by(inputs.c.row)
    with engine.connect() as connection:
        for record in connection.execution_options(yield_per=_PLAN_PAGE).execute(query):
            owner = record.assigned_acs_user_id
            detail = record.detail if record.detail is not None else say(record.word, owner, bool(record.may_create))
            result = Result(
                record.row,
                record.word,
                detail=detail + (_DRIFTED if record.drifted else ""),
                read_back=record.word in set(Intention),
                previous_acs_user_id=owner if record.word == Intention.TAKEOVER else None,
                **{name: getattr(record, name) for name in DETAIL_COLUMNS},
            )
            yield ExportRow(record.line, record.cells, result, "")


_PLAN_PAGE: Final = 1_000
_DRIFTED: Final = "; it was right after the last run of this name"
