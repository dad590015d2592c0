"""Two runs over files of the same name, compared by credential in one sort on disk: what the later one brought.

inputs and last words of both ─> one record a credential ─> those that differ ─> counted by how they differ
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Integer, and_, case, func, literal, literal_column, or_, select, union_all

from worker.ledger.chains import last_words
from worker.ledger.tables import inputs, results
from worker.models import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine, FromClause, Select
    from sqlalchemy.sql.elements import ColumnElement

    from worker.ledger.chains import Chain

__all__ = ["Difference", "stream_differences"]

_WELL = (Outcome.ASSIGNED.value, Outcome.UNCHANGED.value)
_BAD = (Outcome.FAILED.value, Outcome.INVALID.value, Outcome.CONFLICT.value, Outcome.IN_DOUBT.value)


class Difference(NamedTuple):
    """Credentials that differ alike between the two runs."""

    is_new: bool
    """Only the later run has it."""
    is_gone: bool
    """Only the earlier run had it."""
    other_person: bool
    worse: bool
    """It was assigned or unchanged, and is not any more."""
    codes_before: str | None
    """Warning codes, `;`-joined."""
    codes_now: str | None
    credentials: int
    first_row: int
    """In the later run; of those that are gone, in the earlier one."""


def stream_differences(engine: Engine, before: Chain, now: Chain) -> Iterator[Difference]:
    """What differs between two finished chains, a record for each way in which it does; memory stays flat.

    Rows that were no job when they were read, and duplicates within a file, are left out.
    """
    sides = union_all(_side(before, now=0), _side(now, now=1)).subquery()
    each = _by_credential(sides).subquery()
    row, row_before = each.c.now_row, each.c.before_row
    in_both = and_(row.is_not(None), row_before.is_not(None))
    ways = select(
        row_before.is_(None).label("is_new"),
        row.is_(None).label("is_gone"),
        and_(in_both, each.c.now_person != each.c.before_person).label("other_person"),
        and_(in_both, _is_worse(each.c.before_outcome, each.c.now_outcome)).label("worse"),
        case((in_both, each.c.before_codes)).label("codes_before"),
        case((in_both, each.c.now_codes)).label("codes_now"),
        func.coalesce(row, row_before).label("row"),
    ).subquery()
    keys = [column for column in ways.c if column.name != "row"]
    query = select(*keys, func.count(), func.min(ways.c.row)).group_by(*keys)
    with engine.connect() as connection:
        for is_new, is_gone, other, worse, *rest in connection.execute(query):
            yield Difference(bool(is_new), bool(is_gone), bool(other), bool(worse), *rest)


def _side(chain: Chain, *, now: int) -> Select[Any]:
    """(credential, now, row, person, outcome, codes) of every job of a chain."""
    root_no = chain.root.run_no
    rows: FromClause = last_words(root_no).subquery() if chain.retries else inputs
    row = rows.c
    query = (
        select(
            row.acs_credential_id,
            literal_column(str(now), Integer).label("now"),
            row.row,
            func.coalesce(row.acs_user_id, literal("identity ") + row.user_identity_id).label("person"),
            results.c.outcome,
            results.c.warning_codes,
        )
        .select_from(rows.outerjoin(results, and_(results.c.run_no == row.run_no, results.c.row == row.row)))
        .where(row.shard.is_not(None), results.c.outcome != Outcome.DUPLICATE.value)
    )
    return query if chain.retries else query.where(inputs.c.run_no == root_no)


def _by_credential(sides: Any) -> Select[Any]:  # noqa: ANN401 - SQLAlchemy's subquery
    """One record a credential, with both sides; only those where something differs."""
    here = sides.c
    told = {
        f"{side}_{name}": func.min(case((here.now == number, column)))
        for side, number in (("before", 0), ("now", 1))
        for name, column in (
            ("row", here.row),
            ("person", here.person),
            ("outcome", here.outcome),
            ("codes", here.warning_codes),
        )
    }
    differs = or_(
        told["before_row"].is_(None),
        told["now_row"].is_(None),
        told["now_person"] != told["before_person"],
        _is_worse(told["before_outcome"], told["now_outcome"]),
        told["now_codes"] != func.coalesce(told["before_codes"], ""),
    )
    return (
        select(*(column.label(name) for name, column in told.items())).group_by(here.acs_credential_id).having(differs)
    )


def _is_worse(before: ColumnElement[str], now: ColumnElement[str]) -> ColumnElement[bool]:
    return and_(before.in_(_WELL), now.in_(_BAD))
