"""Writing batches under the fence: results, marks, later details, notes.

The fence is the first statement of every batch: it moves the marks where the shards' epochs are still ours, and
locks their rows until the commit, so that nobody takes a shard between the look at its epoch and the append.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, func, null, select, update

from worker.errors import FenceLostError
from worker.leases import Lease
from worker.ledger.holders import released
from worker.ledger.statements import Statement
from worker.ledger.store import store_of
from worker.ledger.tables import DETAIL_COLUMNS, results, shards, unsettled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Engine

    from worker.claim import Batch, Claim
    from worker.models import Result

__all__ = ["ShardWriter"]


class ShardWriter:
    """Writes a claim's batches, and renews and returns its lease, on one connection of its own."""

    def __init__(self, engine: Engine, claim: Claim) -> None:
        dialect, store = engine.dialect, store_of(engine.dialect)
        self._run_no = claim.run_no
        self._lease = claim.lease
        self._epochs = {shard.shard: shard.epoch for shard in claim.shards}
        self._results = store.result_rows(dialect, claim.run_no)
        self._find = Statement.build(
            select(results.c.row).where(results.c.run_no == bindparam("of_run"), results.c.row == bindparam("of_row")),
            dialect,
        )
        self._details = Statement.build(
            update(results)
            .where(results.c.run_no == bindparam("of_run"), results.c.row == bindparam("of_row"))
            .values(
                {
                    **{name: bindparam(name) for name in DETAIL_COLUMNS},
                    "detail": func.coalesce(bindparam("detail", type_=results.c.detail.type), results.c.detail),
                    "details_due": bindparam("due"),
                }
            ),
            dialect,
        )
        held = and_(
            shards.c.run_no == bindparam("of_run"),
            shards.c.shard == bindparam("of_shard"),
            shards.c.epoch == bindparam("our_epoch"),
        )
        higher = bindparam("through", type_=shards.c.dispatched_through.type)
        self._raise = Statement.build(
            update(shards).where(held).values(dispatched_through=store.greatest(shards.c.dispatched_through, higher)),
            dialect,
        )
        self._lower = Statement.build(update(shards).where(held).values(dispatched_through=higher), dialect)
        term = bindparam("term", type_=shards.c.lease_until.type)
        # One that ran out may have let another run take the workspace, which no epoch of ours would tell.
        unexpired = and_(held, shards.c.lease_until > store.clock())
        self._renew = Statement.build(update(shards).where(unexpired).values(lease_until=store.clock() + term), dialect)
        self._return = Statement.build(update(shards).where(held).values(lease_until=null()), dialect)
        left = bindparam("left_by", type_=shards.c.holder.type)
        self._leave = Statement.build(
            update(shards).where(held).values(lease_until=store.clock(), holder=left), dialect
        )
        self._forget = Statement.build(
            unsettled.delete().where(unsettled.c.run_no == bindparam("of_run"), unsettled.c.row == bindparam("of_row")),
            dialect,
        )
        self._note = store.bulk(unsettled, ("run_no", "row", "maybe_applied", "attempts"))
        self._session = store.session(engine, self._lease.holds if self._lease is not None else bool)

    def write(self, batch: Batch) -> None:
        """Commit the batch whole, or nothing of it.

        Raises:
            FenceLostError: a shard of ours has been taken by another process.
            LedgerWriteError: the server did not come back within our lease.
        """
        self._session.write(partial(self._append, batch))

    def renew(self) -> None:
        """Have the lease begin anew.

        Raises:
            FenceLostError, LedgerWriteError: as `write`; nothing may be sent any more.
        """
        lease = self._lease
        if lease is None:
            return
        asked_at = 0.0

        def ask(cursor: Any, _again: bool) -> None:  # noqa: ANN401, FBT001 - as the session calls it
            nonlocal asked_at
            asked_at = Lease.now()
            if self._change(cursor, self._renew, {shard: {"term": lease.seconds} for shard in self._epochs}):
                raise FenceLostError(
                    "this process lost its hold on shards of the run, or was late to renew it; it stops"
                )

        try:
            self._session.write(ask)
        except FenceLostError:
            lease.lost()
            raise
        lease.renewed(asked_at)

    def give_back(self, settles_at: float = 0.0) -> None:
        """Let anybody take the shards at once; of those that were taken already, nothing changes.

        `settles_at`: until then, by the server's clock, requests may be under way that whoever takes them waits for;
        0.0: there are none.
        """
        if self._lease is None:
            return
        statement, values = (self._leave, {"left_by": released(settles_at)}) if settles_at else (self._return, {})

        def release(cursor: Any, _again: bool) -> None:  # noqa: ANN401, FBT001 - as the session calls it
            self._change(cursor, statement, dict.fromkeys(self._epochs, values))

        self._session.write(release)
        self._lease.lost()

    def _append(self, batch: Batch, cursor: Any, again: bool) -> None:  # noqa: ANN401, FBT001 - any DBAPI cursor
        run_no = self._run_no
        self._fence(cursor, batch)
        if batch.results:
            # A commit whose answer was lost: the rows are there whole, or not at all.
            if again and self._find.fetch(cursor, of_run=run_no, of_row=batch.results[0].row):
                return
            self._results.insert(cursor, batch.results)
        if batch.details:
            self._details.many(cursor, [self._detail_values(result) for result in batch.details])
        if batch.notes:
            self._forget.many(cursor, [(run_no, note[0]) for note in batch.notes])
            self._note.many(cursor, [(run_no, *note) for note in batch.notes])

    def _fence(self, cursor: Any, batch: Batch) -> None:  # noqa: ANN401 - any DBAPI cursor
        """Move the marks of all our shards that this batch names; with none named, touch one to check the epoch."""
        statement, marks = (self._lower, batch.lowered) if batch.lowered else (self._raise, batch.marks)
        marks = marks or {next(iter(self._epochs)): 0}
        if self._change(cursor, statement, {shard: {"through": through} for shard, through in marks.items()}):
            raise FenceLostError("another process has taken over shards of this run; this one has written nothing more")

    def _change(self, cursor: Any, statement: Statement, shards: Mapping[int, Mapping[str, object]]) -> int:  # noqa: ANN401 - likewise
        """Change these shards where they are still ours, each with its values; how many are not.

        In one order, so that no two processes wait for each other; and all together, since it is a turn of the network
        for each else.
        """
        rows = [
            statement.ordered({"of_run": self._run_no, "of_shard": shard, "our_epoch": self._epochs[shard], **values})
            for shard, values in sorted(shards.items())
        ]
        if len(rows) == 1:  # of many, a driver makes more
            cursor.execute(statement.text, rows[0])
        else:
            statement.many(cursor, rows)
        return len(rows) - int(cursor.rowcount)

    def _detail_values(self, result: Result) -> list[object]:
        values = result._asdict()
        values |= {"of_run": self._run_no, "of_row": result.row, "due": False}
        return self._details.ordered(values)

    def close(self) -> None:
        """Give the connection back."""
        self._session.close()
