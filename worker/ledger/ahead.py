"""What guards look at before the rows of a run are sent: what is to become of them, and those that go first."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import func, or_, select

from worker.ledger.intentions import INTENTION, Intention
from worker.ledger.tables import inputs, owners, results, same_row
from worker.models import Outcome

if TYPE_CHECKING:
    from sqlalchemy import Engine

__all__ = ["FirstRow", "count_intentions", "fetch_first_rows"]

_ROWS = inputs.outerjoin(results, same_row(results, inputs))


class FirstRow(NamedTuple):
    """One of the first rows of a run that needed sending."""

    row: int
    outcome: Outcome | None
    """None: it has no result yet."""
    reason: str | None
    """What the service said of it, else what to do."""


def count_intentions(engine: Engine, run_no: int) -> Counter[Intention]:
    """Rows that are still to be sent, by what the owner says that was read before."""
    query = (
        select(INTENTION, func.count())
        .select_from(_ROWS.join(owners, same_row(owners, inputs)))
        .where(inputs.c.run_no == run_no, results.c.row.is_(None))
        .group_by(INTENTION)
    )
    with engine.connect() as connection:
        return Counter({Intention(word): count for word, count in connection.execute(query)})


def fetch_first_rows(engine: Engine, run_no: int, count: int) -> list[FirstRow]:
    """The first so many rows, in input order, that were sent or looked at in the service, or still may be.

    Rows that were decided without it (invalid, duplicate, carried over) are passed over. So the answer stays the same
    while the run goes on and after it was resumed, but for what the rows have become.
    """
    query = (
        select(inputs.c.row, results.c.outcome, results.c.error_type, results.c.error_message, results.c.detail)
        .select_from(_ROWS)
        .where(
            inputs.c.run_no == run_no,
            inputs.c.shard.is_not(None),
            or_(results.c.row.is_(None), results.c.started_at.is_not(None)),
        )
        .order_by(inputs.c.row)
        .limit(count)
    )
    with engine.connect() as connection:
        return [
            FirstRow(
                row,
                None if outcome is None else Outcome(outcome),
                f"{error_type}: {error_message}" if error_type and error_message else error_type or detail,
            )
            for row, outcome, error_type, error_message, detail in connection.execute(query)
        ]
