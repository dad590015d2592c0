"""What a process that was stopped for too long may still write, and whose requests its successor waits for."""

from __future__ import annotations

import asyncio
import queue
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from tests.ledger.filling import NOW, result, row, staged
from worker.claim import Batch
from worker.errors import FenceLostError
from worker.hold import Hold
from worker.ledger import Ledger, holder
from worker.ledger.claimed import ClaimedRun
from worker.ledger.claims import claim_run, claim_shards, hold_run
from worker.ledger.doubts import doubt_open_rows
from worker.ledger.elsewhere import judge_workspaces
from worker.ledger.fences import fenced
from worker.ledger.intentions import decide_by_owners
from worker.ledger.runs import end_execution, get_run, note_stop
from worker.ledger.store import store_of
from worker.ledger.tables import shards
from worker.ledger.writing import ShardWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from worker.claim import Claim
    from worker.ledger.runs import Run

ELSEWHERE = '{"host": "far", "pid": 7, "started_at": 1700000000.0, "machine": "another", "timeout": 60.0}'
"""A process that nothing is known of from here, whose requests may last a minute."""
ANOTHER = '{"host": "farther", "pid": 8, "started_at": 1700000000.0, "machine": "a third"}'


@pytest.fixture
def ledger(database: str) -> Iterator[Ledger]:
    """An empty ledger on a server."""
    with Ledger(database, exclusive=True) as opened:
        yield opened


def let_lapse(ledger: Ledger, run: Run) -> None:
    """The leases of a run ran out this moment, by the server's clock."""
    with ledger.engine.begin() as connection:
        lapsed = store_of(ledger.engine.dialect).clock() - 0.001
        connection.execute(update(shards).where(shards.c.run_no == run.run_no).values(lease_until=lapsed))


def settles_in(ledger: Ledger, run: Run) -> float:
    """What another process would have to wait for that took the run now."""
    return claim_run(ledger.engine, run.run_no, holder=ANOTHER, now=NOW).settles_in


# What was read under a hold is relied on only while that holds.


def test_a_hold_that_ran_out_is_no_base_for_sending(ledger: Ledger) -> None:
    """Though nobody has touched the run: its workspace may have been another run's meanwhile."""
    run = staged(ledger.engine, [row(1)])
    hold = hold_run(ledger.engine, run.run_no, holder=holder())
    claim_run(ledger.engine, run.run_no, holder=holder(), now=NOW, after=hold)
    again = hold_run(ledger.engine, run.run_no, holder=holder())
    let_lapse(ledger, run)
    with pytest.raises(FenceLostError, match="The same command goes on from here"):
        claim_run(ledger.engine, run.run_no, holder=holder(), now=NOW, after=again)
    assert get_run(ledger.engine, run.run_no).state == "open"


@pytest.mark.parametrize("what", ["owners", "workspaces", "doubts", "end"])
def test_nothing_is_decided_by_who_has_lost_its_hold(ledger: Ledger, what: str) -> None:
    """Another process may be sending the row that it would give a result."""
    run = staged(ledger.engine, [row(1)])
    engine, hold = ledger.engine, hold_run(ledger.engine, run.run_no, holder=holder())
    writes: dict[str, Callable[[Claim], object]] = {
        "owners": lambda claim: decide_by_owners(engine, run, claim=claim),
        "workspaces": lambda claim: judge_workspaces(engine, run, "w", only=True, now=NOW, claim=claim),
        "doubts": lambda claim: doubt_open_rows(engine, run.run_no, claim=claim),
        "end": lambda claim: note_stop(
            engine, run.run_no, finished=False, cause="sigterm", message=None, seconds=0.0, now=NOW, claim=claim
        ),
    }
    writes[what](hold)
    let_lapse(ledger, run)
    with pytest.raises(FenceLostError):
        writes[what](hold)


def test_a_run_that_another_process_has_finished_stays_so(ledger: Ledger) -> None:
    """Whoever ends it late."""
    run = staged(ledger.engine, [row(1)])
    with ledger.engine.begin() as connection:
        for finished in (True, False):
            end_execution(connection, run.run_no, finished=finished, cause=None, message=None, seconds=0.0, now=NOW + 1)
    assert get_run(ledger.engine, run.run_no).state == "finished"


async def test_a_hold_is_turned_into_claims_without_a_gap(ledger: Ledger) -> None:
    """At no time can another process take the run before it is let go."""
    run = staged(ledger.engine, [row(1), row(2)])
    async with Hold(ledger.engine, run.run_no, timeout=5.0) as hold:
        epochs = [_epoch(hold.claim)]
        for through in (1, None):
            await hold.take(now=NOW, through=through)
            epochs.append(_epoch(hold.claim))
        assert hold.claim is not None
        assert hold.claim.lease is not None
        assert hold.claim.lease.holds()
    assert epochs == [1, 2, 3]
    assert settles_in(ledger, run) == 0.0


def _epoch(claim: Claim | None) -> int:
    assert claim is not None
    return claim.shards[0].epoch


# Whose requests are waited for.


def test_the_wait_for_a_former_holder_outlives_who_waits(ledger: Ledger) -> None:
    """It was stopped while it waited, or killed: whoever comes next waits for the rest, and no longer."""
    run = staged(ledger.engine, [row(1)])
    claim_run(ledger.engine, run.run_no, holder=ELSEWHERE, now=NOW)
    let_lapse(ledger, run)
    waiting = claim_run(ledger.engine, run.run_no, holder=holder(timeout=1.0), now=NOW)
    assert 50 < waiting.settles_in < 60
    ClaimedRun(ledger.engine, waiting).close()
    dead = holder(timeout=1.0).replace('"pid": ', '"pid": 4194305, "was": ')
    killed = claim_run(ledger.engine, run.run_no, holder=dead, now=NOW)
    assert 50 < killed.settles_in <= waiting.settles_in
    assert 50 < settles_in(ledger, run) <= killed.settles_in


def test_a_wait_that_is_over_is_not_begun_again(ledger: Ledger) -> None:
    """The lease of who waited is given back as any."""
    run = staged(ledger.engine, [row(1)])
    brief = ELSEWHERE.replace("60.0", "0.000001")
    claim_run(ledger.engine, run.run_no, holder=brief, now=NOW)
    let_lapse(ledger, run)
    ClaimedRun(ledger.engine, claim_run(ledger.engine, run.run_no, holder=holder(), now=NOW)).close()
    assert settles_in(ledger, run) == 0.0


def test_requests_that_were_cut_off_are_waited_for(ledger: Ledger) -> None:
    """They may still be executed, for as long as one may last."""
    run = staged(ledger.engine, [row(1), row(2)])
    claimed_run = ClaimedRun(ledger.engine, claim_run(ledger.engine, run.run_no, holder=holder(), now=NOW))
    claimed_run.write(Batch(results=[result(1)], marks={0: 2}))
    claimed_run.cut_off(60.0)
    claimed_run.close()
    assert 50 < settles_in(ledger, run) <= 60


async def test_a_cancelled_hold_leaves_its_requests_to_be_waited_for(ledger: Ledger) -> None:
    """Whoever cancels a run from a program cuts its requests off."""
    run = staged(ledger.engine, [row(1)])

    async def send_until_cancelled() -> None:
        async with Hold(ledger.engine, run.run_no, timeout=60.0) as hold:
            await hold.take(now=NOW)
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await send_until_cancelled()
    assert 50 < settles_in(ledger, run) <= 60


def test_one_odd_failure_does_not_end_the_renewals(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a statement that the server's administrator has cancelled."""
    renew, renewed = ShardWriter.renew, queue.SimpleQueue[bool]()
    failures = iter([RuntimeError("cancelled by the administrator")])

    def renew_but_once(self: ShardWriter) -> None:
        if error := next(failures, None):
            raise error
        renew(self)
        renewed.put(True)  # noqa: FBT003 - that it was

    monkeypatch.setattr(ShardWriter, "renew", renew_but_once)
    run = staged(ledger.engine, [row(1)])
    claim = claim_shards(ledger.engine, run.run_no, None, holder=ELSEWHERE, now=NOW, lease=6.0)
    claimed_run = ClaimedRun(ledger.engine, claim)
    assert renewed.get(timeout=30)
    claimed_run.close()
    assert next(failures, None) is None


def test_a_long_decision_keeps_no_lease_from_being_renewed(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a process that decides many rows would lose its own run by that."""
    renew, renewed = ShardWriter.renew, queue.SimpleQueue[bool]()

    def renew_and_tell(self: ShardWriter) -> None:
        renew(self)
        renewed.put(True)  # noqa: FBT003 - that it was

    monkeypatch.setattr(ShardWriter, "renew", renew_and_tell)
    run = staged(ledger.engine, [row(1)])
    claim = claim_shards(ledger.engine, run.run_no, None, holder=holder(), now=NOW, lease=6.0)
    claimed_run = ClaimedRun(ledger.engine, claim)
    with fenced(ledger.engine, claim):
        assert renewed.get(timeout=30)
    claimed_run.close()
