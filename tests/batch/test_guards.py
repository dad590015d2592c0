"""Guards against a bad file, in whole runs: what the service was sent is counted by the service."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select

from tests.batch.test_batch import OTHER_WORKSPACE, TOKEN, assigns, service, settings, stopped_at, uuid, write
from worker import Control, Intent, Outcome, RunReport, run_batch
from worker.errors import ConfigError, UsageError
from worker.ledger import Ledger
from worker.ledger.tables import runs
from worker.models import StopCause
from worker.retrying import retry_run
from worker.simulator import WORKSPACE_ID
from worker.undoing import undo_run

if TYPE_CHECKING:
    from pathlib import Path

    from worker.simulator import RunningSimulator

NOBODY_KNOWN = {"world": {"unknown_users": 1.0}}
ALL_KNOWN = {"world": {"unknown_users": 0.0, "warnings": 0.0}}
IN_ONE_SYSTEM = {"world": {"systems_per_workspace": 1}}
HUNDRED = [(number, 100) for number in range(1, 101)]


def causes(report: RunReport) -> list[StopCause]:
    """Why it stopped."""
    return [stop.cause for stop in report.stops]


def sent(server: RunningSimulator, numbers: range) -> int:
    """How many of these credentials were sent, once each."""
    counted = assigns(server)
    assert set(counted.values()) <= {1}
    return sum(counted[uuid(number)] for number in numbers)


# The canary.


async def test_nothing_beyond_a_canary_of_failing_rows_is_sent(tmp_path: Path) -> None:
    """Exit 3, the first bad row and its error named; the same command sends nothing; without the flag it goes on."""
    jobs = write(tmp_path / "jobs.csv", HUNDRED)
    async with service(**NOBODY_KNOWN) as server:
        first = await run_batch(jobs, settings(server, canary=5), command=("assign-worker", "run", "jobs.csv"))
        assert assigns(server).total() == sent(server, range(1, 6)) == 5
        again = await run_batch(jobs, settings(server, canary=5))
        assert assigns(server).total() == 5
        server.configure(ALL_KNOWN)
        rest = await run_batch(jobs, settings(server))
        assert sent(server, range(1, 101)) == 100
    assert (first.exit_code, again.exit_code) == (3, 3)
    assert causes(first) == causes(again) == [StopCause.CANARY]
    assert first.stops[0].message.startswith("canary row 1 is failed (acs_user_not_found: ")
    assert "run the same command without --canary" in first.stops[0].message
    assert not any("same command goes on" in step for step in first.next_steps)
    assert (first.outcomes[Outcome.FAILED], first.outcomes[Outcome.PENDING]) == (5, 95)
    assert first.run_id == again.run_id == rest.run_id
    assert (rest.exit_code, rest.outcomes) == (1, {Outcome.FAILED: 5, Outcome.ASSIGNED: 95})


async def test_a_good_canary_goes_alone_and_the_rest_follows(tmp_path: Path) -> None:
    """Not one other row reaches the service before every canary row is applied."""
    rows = [(1, 100), (1, 100), (7, 1), (7, 2), *((number, 100) for number in range(10, 110))]
    jobs = write(tmp_path / "jobs.csv", rows)
    async with service() as server:
        report = await run_batch(jobs, settings(server, canary=4))
        events = [event for event in server.events() if event["kind"] in {"received", "applied"}]
        assert sent(server, range(1, 110)) == 101
    canary = {uuid(number) for number in (1, 10, 11, 12)}
    assert {event["credential"] for event in events[:8]} == canary
    assert report.outcomes[Outcome.ASSIGNED] == 101
    assert report.state == "finished"


async def test_a_canary_of_the_whole_file_needs_no_rest(tmp_path: Path) -> None:
    """Where nothing is left to hold back, the run is finished, whatever became of the rows."""
    jobs = write(tmp_path / "jobs.csv", HUNDRED[:3])
    async with service(**NOBODY_KNOWN) as server:
        report = await run_batch(jobs, settings(server, canary=10))
    assert (report.exit_code, report.state, report.stops) == (1, "finished", ())


async def test_an_interrupted_canary_is_resumed_as_the_same_rows(tmp_path: Path) -> None:
    """A stop within it: the next execution sends what is left of it, then the rest, each row once."""
    jobs = write(tmp_path / "jobs.csv", HUNDRED)
    async with service() as server:
        first = await run_batch(jobs, settings(server, canary=20, concurrency=2), **stopped_at(3))
        assert assigns(server).total() == sent(server, range(1, 21)) < 20
        second = await run_batch(jobs, settings(server, canary=20))
        assert sent(server, range(1, 101)) == 100
    assert first.exit_code == 143
    assert first.outcomes[Outcome.IN_DOUBT] == 0
    assert (second.exit_code, second.outcomes) == (0, {Outcome.ASSIGNED: 100})


async def test_a_run_under_way_takes_its_first_rows_for_the_canary(tmp_path: Path) -> None:
    """A run that was stopped far beyond them has them settled: nothing is sent twice, nothing is doubted."""
    jobs = write(tmp_path / "jobs.csv", HUNDRED)
    async with service() as server:
        first = await run_batch(jobs, settings(server), **stopped_at(30))
        assert 30 <= first.outcomes[Outcome.ASSIGNED] < 100
        second = await run_batch(jobs, settings(server, canary=5))
        assert sent(server, range(1, 101)) == 100
        assert not [event for event in server.events() if event["kind"] == "read" and event["route"] == "get"]
    assert (second.exit_code, second.outcomes) == (0, {Outcome.ASSIGNED: 100})


async def test_a_canary_whose_workspace_stops_holds_the_others_back(tmp_path: Path) -> None:
    """A row that cannot be sent is not well; the message says why the other workspaces' rows wait."""
    spaces = [WORKSPACE_ID, OTHER_WORKSPACE] * 20
    jobs = write(tmp_path / "jobs.csv", HUNDRED[:40], workspaces=spaces)
    access = {"personal_access_tokens": {TOKEN: [WORKSPACE_ID]}}
    async with service(access=access) as server:
        token = {"personal_access_token": TOKEN, "workspace_id": WORKSPACE_ID}
        report = await run_batch(jobs, settings(server, canary=4, **token))
        assert sent(server, range(1, 5)) == assigns(server).total() == 2
    assert report.exit_code == 3
    assert causes(report) == [StopCause.KEY_REFUSED, StopCause.CANARY]
    assert "canary row 2 could not be sent, since its workspace stopped" in report.stops[1].message
    assert report.outcomes == {Outcome.ASSIGNED: 2, Outcome.PENDING: 38}


async def test_failures_of_a_canary_and_of_the_rest_count_together(tmp_path: Path) -> None:
    """Guards count what an execution does, in however many parts."""
    jobs = write(tmp_path / "jobs.csv", HUNDRED)
    async with service() as server:

        def observe(_run: str, row: int | None, _number: int, _attempt: object) -> None:
            if row == 2:
                server.configure(NOBODY_KNOWN)

        report = await run_batch(jobs, settings(server, canary=2, concurrency=1, max_failures=3), observers=(observe,))
        assert 6 <= assigns(server).total() <= 8
    assert causes(report) == [StopCause.MAX_FAILURES]
    assert 4 <= report.outcomes[Outcome.FAILED] <= 6


# Warnings.


async def all_warnings(server: RunningSimulator, folder: Path) -> list[str]:
    """Every warning that rows carry here."""
    report = await run_batch(write(folder / "a.csv", [(number, 1) for number in range(900, 950)]), settings(server))
    return list(report.warnings)


async def test_a_warning_ends_the_run_and_it_goes_on(tmp_path: Path) -> None:
    """The first row that carries it is named; what is in flight ends, and the rest is sent by the next call."""
    jobs = write(tmp_path / "jobs.csv", HUNDRED)
    async with service(world={"warnings": 1.0}) as server:
        codes = await all_warnings(server, tmp_path)
        first = await run_batch(jobs, settings(server, fail_on_warning=["no_such_code", *codes], concurrency=2))
        assert 1 <= sent(server, range(1, 101)) < 10
        server.configure(ALL_KNOWN)
        second = await run_batch(jobs, settings(server, fail_on_warning=codes))
        assert sent(server, range(1, 101)) == 100
    assert (first.exit_code, causes(first)) == (3, [StopCause.FAIL_ON_WARNING])
    assert "row 1 came back with the warning " in first.stops[0].message
    assert first.outcomes[Outcome.IN_DOUBT] == 0
    assert (second.exit_code, second.outcomes) == (0, {Outcome.ASSIGNED: 100})


async def test_a_warning_of_the_last_row_is_told_too(tmp_path: Path) -> None:
    """No row is left to hold back, so the run is finished; who asked to fail on it gets exit 3 all the same."""
    async with service(world={"warnings": 1.0}) as server:
        codes = await all_warnings(server, tmp_path)
        report = await run_batch(write(tmp_path / "b.csv", HUNDRED[:1]), settings(server, fail_on_warning=codes))
    assert (report.state, report.exit_code, causes(report)) == ("finished", 3, [StopCause.FAIL_ON_WARNING])


async def test_a_warning_in_details_that_came_later_counts_too(tmp_path: Path) -> None:
    """A void reply carries none; the credential that is read afterwards does."""
    jobs = write(tmp_path / "jobs.csv", HUNDRED[:20])
    async with service(world={"warnings": 1.0}, void={"empty_object": 1.0}) as server:
        codes = await all_warnings(server, tmp_path)
        report = await run_batch(jobs, settings(server, fail_on_warning=codes))
    assert (report.exit_code, causes(report)) == (3, [StopCause.FAIL_ON_WARNING])


# A shrunken file.


@pytest.mark.parametrize("rows", [0, 49])
async def test_a_shrunken_file_is_not_sent(tmp_path: Path, rows: int) -> None:
    """Nothing is sent until it is allowed; then the same run goes on, and is what the next one is compared with."""
    old, new = write(tmp_path / "monday.csv", HUNDRED), write(tmp_path / "tuesday.csv", HUNDRED[:rows])
    async with service() as server:
        await run_batch(old, settings(server, name="tower"))
        before = assigns(server).total()
        stopped = await run_batch(new, settings(server, name="tower"))
        again = await run_batch(new, settings(server, name="tower"))
        assert assigns(server).total() == before == 100
        allowed = await run_batch(new, settings(server, name="tower", allow_shrink=True))
        later = await run_batch(write(tmp_path / "wednesday.csv", HUNDRED[:30]), settings(server, name="tower"))
    assert (stopped.exit_code, again.exit_code) == (3, 3)
    assert causes(stopped) == causes(again) == [StopCause.SHRUNKEN]
    assert f"tower has {rows or 'no'} rows" in stopped.stops[0].message
    assert "had 100; nothing was sent" in stopped.stops[0].message
    assert "--allow-shrink" in stopped.stops[0].message
    assert stopped.outcomes.get(Outcome.PENDING, 0) == rows
    assert not any("same command goes on" in step for step in stopped.next_steps)
    assert stopped.run_id == allowed.run_id
    assert (allowed.exit_code, allowed.state, allowed.outcomes.get(Outcome.ASSIGNED, 0)) == (0, "finished", rows)
    assert later.exit_code == 0


async def test_only_runs_of_the_same_name_and_service_are_compared(tmp_path: Path) -> None:
    """Another name is another history; without one the file's name counts."""
    async with service() as server, service() as other:
        await run_batch(write(tmp_path / "jobs.csv", HUNDRED), settings(server, ledger=tmp_path / "l.db"))
        elsewhere = write(tmp_path / "other.csv", HUNDRED[:3])
        assert (await run_batch(elsewhere, settings(server, ledger=tmp_path / "l.db"))).exit_code == 0
        small = write(tmp_path / "jobs.csv", HUNDRED[:4])
        assert (await run_batch(small, settings(other, ledger=tmp_path / "l.db"))).exit_code == 0
        assert (await run_batch(small, settings(server, ledger=tmp_path / "l.db"))).exit_code == 3


async def test_what_was_allowed_once_is_not_asked_again(tmp_path: Path) -> None:
    """A shrunken run that has begun to send goes on by the plain command."""
    async with service() as server:
        await run_batch(write(tmp_path / "a.csv", HUNDRED), settings(server, name="tower"))
        server.configure({"limit": {"kind": "token_bucket", "rate": 20, "burst": 1}})
        small = write(tmp_path / "b.csv", HUNDRED[:40])
        first = await run_batch(small, settings(server, name="tower", allow_shrink=True, deadline="0.5s"))
        assert first.exit_code == 3
        server.configure({"limit": {"kind": "none"}})
        assert (await run_batch(small, settings(server, name="tower"))).exit_code == 0


# Takeovers.


async def test_too_many_takeovers_send_nothing(tmp_path: Path) -> None:
    """A sync knows beforehand whom it takes from; a plain run does not, and refuses the flag."""
    jobs = write(tmp_path / "new.csv", [*((number, 200) for number in range(1, 11)), (50, 200), (51, 200)])
    async with service(**IN_ONE_SYSTEM) as server:
        await run_batch(write(tmp_path / "old.csv", HUNDRED[:10]), settings(server))
        sync = {"sync": True, "takeover": "allow"}
        stopped = await run_batch(jobs, settings(server, max_takeovers=9, **sync))
        assert assigns(server).total() == 10
        allowed = await run_batch(jobs, settings(server, max_takeovers=10, **sync))
        assert assigns(server).total() == 22
        with pytest.raises(UsageError, match="--max-takeovers goes with --sync"):
            await run_batch(jobs, settings(server, max_takeovers=9))
    assert (stopped.exit_code, causes(stopped)) == (3, [StopCause.MAX_TAKEOVERS])
    assert stopped.stops[0].message.startswith("10 rows would take a credential from somebody else")
    assert stopped.outcomes == {Outcome.PENDING: 12}
    assert (allowed.exit_code, allowed.run_id) == (0, stopped.run_id)


# The question.


async def test_the_question_tells_the_run_and_no_is_obeyed(tmp_path: Path) -> None:
    """The hook is told the counts and the last run; False sends nothing and leaves the run resumable."""
    asked: list[Intent] = []

    async def answer(intent: Intent) -> bool:
        asked.append(intent)
        return len(asked) > 1

    first = write(tmp_path / "first.csv", HUNDRED[:5])
    second = write(tmp_path / "second.csv", [*HUNDRED[:4], (4, 100), (6, 1), (6, 2)])
    async with service() as server:
        before = await run_batch(first, settings(server, name="tower"))
        refused = await run_batch(second, settings(server, name="tower"), confirm=answer)
        assert assigns(server).total() == 5
        agreed = await run_batch(second, settings(server, name="tower"), confirm=answer)
        finished = await run_batch(second, settings(server, name="tower"), confirm=answer)
    assert (refused.exit_code, causes(refused)) == (3, [StopCause.NOT_CONFIRMED])
    assert refused.outcomes[Outcome.PENDING] == 4
    assert (agreed.run_id, agreed.outcomes[Outcome.ASSIGNED]) == (refused.run_id, 4)
    assert finished.run_id == agreed.run_id
    assert len(asked) == 2, "there was nothing to ask about a finished run"
    intent = asked[0]
    assert (intent.name, intent.rows, intent.to_send, intent.takeovers) == ("tower", 7, 4, None)
    assert intent.decided == {Outcome.DUPLICATE: 1, Outcome.CONFLICT: 2}
    assert intent.last is not None
    assert (intent.last.run_id, intent.last.rows, intent.last.outcomes) == (before.run_id, 5, {Outcome.ASSIGNED: 5})


async def test_the_question_of_a_sync_counts_whom_it_takes_from(tmp_path: Path) -> None:
    """New and taken over, once the present owners are known."""
    asked: list[Intent] = []

    async def answer(intent: Intent) -> bool:
        asked.append(intent)
        return False

    async with service(**IN_ONE_SYSTEM) as server:
        await run_batch(write(tmp_path / "old.csv", HUNDRED[:10]), settings(server))
        jobs = write(tmp_path / "new.csv", [*HUNDRED[:5], (6, 200), (7, 200), (50, 200)])
        await run_batch(jobs, settings(server, sync=True, takeover="allow"), confirm=answer)
        assert assigns(server).total() == 10
    (intent,) = asked
    assert (intent.new, intent.takeovers, intent.to_send) == (1, 2, 3)
    assert intent.decided == {Outcome.UNCHANGED: 5}


async def test_a_stop_ends_the_question(tmp_path: Path) -> None:
    """Nobody has to answer: the hook is cancelled, nothing is sent, and the signal's exit code stands."""
    control = Control()
    cancelled = asyncio.Event()

    async def answer(_: Intent) -> bool:
        control.stop(StopCause.SIGINT)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return True

    jobs = write(tmp_path / "jobs.csv", HUNDRED)
    async with service() as server:
        report = await run_batch(jobs, settings(server), control=control, confirm=answer)
        assert assigns(server).total() == 0
    assert cancelled.is_set()
    assert (report.exit_code, report.outcomes) == (130, {Outcome.PENDING: 100})


async def test_a_question_that_fails_is_no_consent(tmp_path: Path) -> None:
    """What the hook raises comes out, and nothing was sent."""

    async def answer(_: Intent) -> bool:
        raise OSError("the terminal has gone")

    jobs = write(tmp_path / "jobs.csv", HUNDRED)
    async with service() as server:
        with pytest.raises(OSError, match="terminal has gone"):
            await run_batch(jobs, settings(server), confirm=answer)
        assert assigns(server).total() == 0
        assert (await run_batch(jobs, settings(server))).exit_code == 0


# The clock.


async def test_a_deadline_too_far_ahead_is_told_before_anything_is_read(tmp_path: Path) -> None:
    """Exit 2, and the ledger holds no half-read run."""
    jobs = write(tmp_path / "jobs.csv", [(1, 100)])
    async with service() as server:
        far = next(hour for hour in range(24) if _far(hour))
        with pytest.raises(ConfigError, match="more than 12 hours ahead"):
            await run_batch(jobs, settings(server, deadline=f"{far:02}:00"))
    with Ledger(str(tmp_path / "assign-ledger.db"), exclusive=False) as ledger, ledger.engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(runs)).scalar_one() == 0


def _far(hour: int) -> bool:
    from datetime import UTC, datetime, time  # noqa: PLC0415 - here alone

    from worker.config import resolve_deadline  # noqa: PLC0415 - likewise

    try:
        resolve_deadline(time(hour), datetime.now(UTC))
    except ConfigError:
        return True
    return False


# What sends without a file.


async def test_a_retry_sends_its_canary_first(tmp_path: Path) -> None:
    """The first of the rows that are sent again go alone; they are still bad, so the others are spared."""
    jobs = write(tmp_path / "jobs.csv", HUNDRED[:20])
    async with service(**NOBODY_KNOWN) as server:
        await run_batch(jobs, settings(server))
        again = settings(server, ledger=tmp_path / "assign-ledger.db")
        report = await retry_run(None, again.replace(canary=3), outcomes=["failed"])
        assert assigns(server).total() == 23
        server.configure(ALL_KNOWN)
        rest = await retry_run(None, again)
        assert assigns(server).total() == 40
    assert (report.exit_code, causes(report)) == (3, [StopCause.CANARY])
    assert not any("same command goes on" in step for step in report.next_steps)
    assert rest.outcomes == {Outcome.FAILED: 3, Outcome.ASSIGNED: 17}


async def test_an_undo_takes_its_canary_back_first(tmp_path: Path) -> None:
    """Rows that nobody had before are well when they are nobody's again."""
    jobs = write(tmp_path / "jobs.csv", HUNDRED[:20])
    async with service(**IN_ONE_SYSTEM) as server:
        await run_batch(jobs, settings(server, sync=True))
        report = await undo_run(None, settings(server, ledger=tmp_path / "assign-ledger.db", canary=3))
        events = [event for event in server.events() if event["route"] == "unassign"]
    assert (report.exit_code, report.outcomes) == (0, {Outcome.UNASSIGNED: 20})
    first = [event["credential"] for event in events if event["kind"] in {"received", "applied"}][:6]
    assert set(first) == {uuid(number) for number in (1, 2, 3)}


async def test_the_canary_of_a_sync_is_of_what_differs(tmp_path: Path) -> None:
    """Rows that are right already tell nothing, so they are passed over."""
    async with service(**IN_ONE_SYSTEM) as server:
        await run_batch(write(tmp_path / "old.csv", HUNDRED[:50]), settings(server))
        server.configure({"world": {"unknown_users": 1.0, "systems_per_workspace": 1}})
        report = await run_batch(write(tmp_path / "new.csv", HUNDRED), settings(server, sync=True, canary=5))
        assert sent(server, range(51, 101)) == sent(server, range(51, 56)) == 5
    assert (report.exit_code, causes(report)) == (3, [StopCause.CANARY])
    assert report.stops[0].message.startswith("canary row 51 is failed")
    assert report.outcomes == {Outcome.UNCHANGED: 50, Outcome.FAILED: 5, Outcome.PENDING: 45}
