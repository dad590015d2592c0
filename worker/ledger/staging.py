"""Every input row into the ledger in one pass, before the first send (DESIGN 4).

Rows that can never be sent get their result here: invalid ones as they are read, duplicates and conflicts by
SQL over the whole file. What earlier runs say of them comes when the run is opened (`opening`).
"""

from __future__ import annotations

import sys
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import insert

from worker.ledger.decided import DECIDED
from worker.ledger.repeats import decide_repeats
from worker.ledger.store import store_of
from worker.ledger.tables import inputs, results, shards
from worker.models import InputRow, Job, UserKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sqlalchemy import Engine

    from worker.ledger.runs import Run

__all__ = ["stage"]

_ROWS_PER_TRANSACTION: Final = 50_000
_LOOK: Final = 2_000
"""Rows from one look at whether to go on to the next."""

_INPUT_COLUMNS: Final = tuple(column.name for column in inputs.columns if column.name != "unassign")


def stage(  # noqa: PLR0913 - keywords, each of them optional
    engine: Engine,
    run: Run,
    rows: Iterable[InputRow],
    *,
    now: float,
    keep_going: Callable[[], bool] = lambda: True,
    shard_rows: int | None = None,
) -> bool:
    """Write all rows of the input; decide those that cannot be sent. False if `keep_going` said no.

    A workspace is one shard, or, given `shard_rows`, as many as it takes with so many rows each. Memory does not grow
    with the number of rows; it does with the number of shards.

    Raises:
        InputError: from the reader, where the file as a whole turns out to be unreadable.
    """
    cut = _Shards(shard_rows)
    records = _Records(run.run_no, rows, cut, now=now, keep_going=keep_going)
    _write_inputs(engine, records)
    if records.is_cut_short:
        return False
    with engine.begin() as connection:
        if cut.sizes:
            connection.execute(insert(shards), [{"run_no": run.run_no, **shard} for shard in cut.records()])
        decide_repeats(connection, run.run_no, home=run.workspace_id, now=now)
    return True


class _Shards:
    """Deals rows out to shards, as they come."""

    def __init__(self, most_rows: int | None) -> None:
        self._most = sys.maxsize if most_rows is None else most_rows
        self._present: dict[str | None, int] = {}
        self._workspaces: list[str | None] = []
        self.sizes: list[int] = []

    def shard_of(self, workspace_id: str | None) -> int:
        """The shard of the next row of this workspace."""
        shard = self._present.get(workspace_id)
        if shard is None or self.sizes[shard] >= self._most:
            shard = self._present[workspace_id] = len(self.sizes)
            self._workspaces.append(workspace_id)
            self.sizes.append(0)
        self.sizes[shard] += 1
        return shard

    def records(self) -> Iterator[dict[str, Any]]:
        """For the table, without their run."""
        for shard, (workspace_id, rows) in enumerate(zip(self._workspaces, self.sizes, strict=True)):
            yield {"shard": shard, "workspace_id": workspace_id, "rows": rows}


class _Records:
    """What is written of each row, made as the rows come; iterate once."""

    def __init__(
        self, run_no: int, rows: Iterable[InputRow], cut: _Shards, *, now: float, keep_going: Callable[[], bool]
    ) -> None:
        self._run_no = run_no
        self._rows = rows
        self._cut = cut
        self._now = now
        self._keep_going = keep_going
        self.invalid: list[tuple[object, ...]] = []
        """Results of the rows so far that are no jobs; whoever writes them takes them away."""
        self.is_cut_short = False

    def __iter__(self) -> Iterator[tuple[object, ...]]:
        """Values of `_INPUT_COLUMNS`."""
        run_no, shard_of, now = self._run_no, self._cut.shard_of, self._now
        for number, (parsed, cells) in enumerate(self._rows):
            if not number % _LOOK and not self._keep_going():
                self.is_cut_short = True
                return
            if isinstance(parsed, Job):
                row, line, credential, user_key, user, workspace, _ = parsed
                shard = shard_of(workspace)
                if user_key is UserKey.ACS_USER:
                    yield (run_no, row, line, shard, credential, user, None, workspace, cells)
                else:
                    yield (run_no, row, line, shard, credential, None, user, workspace, cells)
            else:
                yield (run_no, parsed.row, parsed.line, None, None, None, None, None, cells)
                self.invalid.append((run_no, parsed.row, "invalid", parsed.reason, now, 0, False, False))


def _write_inputs(engine: Engine, records: _Records) -> None:
    store = store_of(engine.dialect)
    write_inputs, write_results = store.bulk(inputs, _INPUT_COLUMNS), store.bulk(results, DECIDED)
    connection = engine.raw_connection()
    cursor = connection.cursor()
    left = iter(records)
    try:
        for first in left:
            if store.begin:
                cursor.execute(store.begin)
            # As they are read, not as a list: so a server takes rows in while the next ones are read.
            write_inputs.many(cursor, chain((first,), islice(left, _ROWS_PER_TRANSACTION - 1)))
            if records.invalid:
                write_results.many(cursor, records.invalid)
                records.invalid.clear()
            connection.commit()
    finally:
        connection.rollback()
        connection.close()
