"""Results into the ledger: those of rows that went well at once in fewer columns than the others.

The driver takes longer over a null or a flag than over a text, and a row that was simply assigned has a dozen of
them, all of which are the columns' defaults or the same for every such row.
"""

from __future__ import annotations

from itertools import compress
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, false, insert, literal_column

from worker.ledger.statements import Statement
from worker.ledger.tables import RESULT_COLUMNS, results
from worker.models import Outcome, Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Dialect

__all__ = ["ResultRows"]

_SAME: Final = (
    "outcome",
    "read_back",
    "details_due",
    "retryable",
    "detail",
    "error_type",
    "error_message",
    "previous_acs_user_id",
    "previous_owner_state",
    "warning_codes",
    "warnings",
    "credential_errors",
    "code",
    "card_number",
)
"""What tells nothing of a row that was assigned at once; all but the first three are null then."""
_same_of: Final = itemgetter(*map(RESULT_COLUMNS.index, _SAME))
_PLAIN: Final = _same_of(Result(0, Outcome.ASSIGNED))


class ResultRows:
    """Inserts results of one run."""

    def __init__(self, dialect: Dialect, run_no: int) -> None:
        self._run_no = run_no
        self._any = Statement.build(
            insert(results).values({name: bindparam(name) for name in ("run_no", *RESULT_COLUMNS)}), dialect
        )
        told = [name for name in RESULT_COLUMNS if name not in _SAME]
        self._plain = Statement.build(
            insert(results).values(
                {
                    "run_no": literal_column(str(run_no)),
                    "outcome": literal_column(f"'{Outcome.ASSIGNED.value}'"),
                    "read_back": false(),
                    "details_due": false(),
                    **{name: bindparam(name) for name in told},
                }
            ),
            dialect,
        )
        self._told_of = itemgetter(*map(RESULT_COLUMNS.index, self._plain.parameters))

    def insert(self, cursor: Any, batch: Sequence[Result]) -> None:  # noqa: ANN401 - any DBAPI cursor
        """Insert them all."""
        are_plain = [same == _PLAIN for same in map(_same_of, batch)]
        if plain := list(map(self._told_of, compress(batch, are_plain))):
            self._plain.many(cursor, plain)
        if len(plain) < len(batch):
            others = [
                (self._run_no, *result) for result, is_plain in zip(batch, are_plain, strict=True) if not is_plain
            ]
            self._any.many(cursor, others)
