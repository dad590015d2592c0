"""Who else works on a run, or on its workspaces, by the leases in the ledger (DESIGN 6, 11.12)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import exists, func, select, true

from worker.errors import LedgerHeldError
from worker.ledger.holders import describe, is_alive, is_dead, is_released, is_same, settles_at, timeout_of
from worker.ledger.store import store_of
from worker.ledger.tables import runs, shards

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Engine, Row

__all__ = ["Holds", "find_worker", "look_for_holders", "refuse_held"]


@dataclass(frozen=True)
class Holds:
    """What stands in the way of taking some shards."""

    reasons: Mapping[int, str] = field(default_factory=dict)
    """Shard -> who has it, or its workspace, in hand; those that are free do not stand here."""
    settles_in: float = 0.0
    """Seconds until nothing can be under way any more of a former holder whose lease ran out and who may still live, or
    of one before it whom it had to wait for itself, or of one that was cut off; 0.0: nothing is."""
    server_time: float = 0.0
    """Unix seconds by the ledger's server; 0.0 where the store has no leases."""


def refuse_held(connection: Connection, run_no: int, numbers: Sequence[int] | None = None, *, holder: str) -> Holds:
    """See that no live process but `holder` has these shards (all for None), or works on their workspaces.

    Returns:
        What is known of holders, none of whom stands in the way.

    Raises:
        LedgerHeldError: one has; the message names it.
    """
    holds = look_for_holders(connection, run_no, numbers, holder=holder)
    for reason in holds.reasons.values():
        raise LedgerHeldError(reason)
    return holds


def look_for_holders(
    connection: Connection, run_no: int, numbers: Sequence[int] | None = None, *, holder: str
) -> Holds:
    """Who but `holder` has these shards (all for None), or works on their workspaces in whatever run.

    A workspace that is not known may be any. On SQLite the lock on the file has seen to it.
    """
    store = store_of(connection.dialect)
    if not store.has_leases:
        return Holds()
    now = float(connection.execute(select(store.clock())).scalar_one())
    leased = _leased(connection, run_no)
    if not leased:
        return Holds(server_time=now)
    wanted = _Wanted(connection, run_no, numbers)
    known = _Holders(holder)
    reasons: dict[int, str] = {}
    settles_in = 0.0
    for row in leased:
        hindered, is_ours = wanted.hindered_by(row)
        if not hindered:
            continue
        settles_in = max(settles_in, settles_at(row.holder) - now)
        if known.gone(row.holder):
            continue
        if row.left > 0 and row.state == "open":
            for shard in hindered:
                reasons.setdefault(shard, _reason(row, is_ours=is_ours))
        else:  # of whatever run: one that was taken over may have sent rows that are this run's now
            settles_in = max(settles_in, known.timeout(row.holder) + row.left)
    return Holds(reasons, settles_in, now)


def find_worker(engine: Engine, run_no: int) -> str | None:
    """Who sends an open run just now, for people; None where nobody is known to."""
    has_leases = store_of(engine.dialect).has_leases
    query = select(shards.c.holder).where(
        shards.c.run_no == run_no,
        shards.c.holder.is_not(None),
        exists().where(
            runs.c.run_no == run_no,
            runs.c.state == "open",
            runs.c.started_at.is_not(None),
            runs.c.stopped_at.is_(None),
        ),
    )
    if has_leases:
        query = query.where(shards.c.lease_until > store_of(engine.dialect).clock())
    with engine.connect() as connection:
        for said in connection.execute(query.distinct()).scalars():
            if is_alive(said) or (has_leases and not is_dead(said)):
                return describe(said)
    return None


_WHOSE: Final = func.coalesce(shards.c.workspace_id, runs.c.workspace_id).label("workspace")


def _leased(connection: Connection, run_no: int) -> Sequence[Row[*tuple[Any, ...]]]:
    """All leases on shards of runs for the run's service that may still be sent, or that another has taken over."""
    here = select(runs.c.endpoint).where(runs.c.run_no == run_no).scalar_subquery()
    left = (shards.c.lease_until - store_of(connection.dialect).clock()).label("left")
    query = (
        select(shards.c.run_no, shards.c.shard, shards.c.holder, left, _WHOSE, runs.c.id, runs.c.state)
        .join(runs, runs.c.run_no == shards.c.run_no)
        .where(runs.c.endpoint == here, shards.c.lease_until.is_not(None), runs.c.state.in_(["open", "superseded"]))
    )
    return connection.execute(query).all()


class _Wanted:
    """The shards that are to be taken (all of the run for None), and their workspaces, as far as they are known."""

    def __init__(self, connection: Connection, run_no: int, numbers: Sequence[int] | None) -> None:
        self._run_no = run_no
        self._shards: set[int] = set()
        self._of_workspace: dict[str | None, list[int]] = {}
        meant = true() if numbers is None else shards.c.shard.in_(numbers)
        query = select(shards.c.shard, _WHOSE).join(runs, runs.c.run_no == shards.c.run_no)
        for shard, workspace in connection.execute(query.where(shards.c.run_no == run_no, meant)):
            self._shards.add(shard)
            self._of_workspace.setdefault(workspace, []).append(shard)

    def hindered_by(self, row: Row[*tuple[Any, ...]]) -> tuple[Sequence[int], bool]:
        """Which of them this lease keeps from being taken, and whether it is on one of them."""
        if row.run_no == self._run_no and row.shard in self._shards:
            return [row.shard], True
        if row.workspace is None:
            return [*self._shards], False
        return [*self._of_workspace.get(row.workspace, ()), *self._of_workspace.get(None, ())], False


def _reason(row: Row[*tuple[Any, ...]], *, is_ours: bool) -> str:
    doing = "another run works on this" if is_ours else f"run {row.id} works on the same workspace"
    return (
        f"{doing} ({describe(row.holder)}); wait for it to end, or stop it with SIGTERM. If it is gone, its hold ends "
        f"within {row.left:.0f} s"
    )


class _Holders:
    """What is known of holders, each looked at once: there are many shards to one."""

    def __init__(self, own: str) -> None:
        self._own = own
        self._gone: dict[str | None, bool] = {}

    def gone(self, said: str | None) -> bool:
        """Whether it is the one that asks, or has ended."""
        if said not in self._gone:
            self._gone[said] = is_same(said, self._own) or is_dead(said) or is_released(said)
        return self._gone[said]

    def timeout(self, said: str | None) -> float:
        """How long its last request may last; where it did not say, as long as one of the asker's."""
        return timeout_of(said) or timeout_of(self._own) or 0.0
