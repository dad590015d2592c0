"""What `undo` promises: every credential goes back to whom it belonged, but for rows that changed since."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.batch.test_batch import (
    OTHER_KEY,
    OTHER_WORKSPACE,
    TOKEN,
    Where,
    assigns,
    service,
    settings,
    stopped_at,
    uuid,
    write,
)
from tests.cli.service import Service, call, make_jobs, read_results, write_jobs
from tests.sync.test_sync import IN_ONE_SYSTEM, owners
from tests.sync.test_verify import on
from worker import Control, Outcome, run_batch
from worker.cli.undo import _print
from worker.errors import ConfigError, LedgerHeldError, UsageError
from worker.ledger import Ledger
from worker.ledger.runs import list_runs
from worker.models import Call, StopCause
from worker.retrying import retry_run
from worker.simulator import WORKSPACE_ID
from worker.simulator.ids import NOBODY, packed
from worker.undoing import UndoPlan, plan_undo, undo_run
from worker.verifying import verify_run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from worker import Progress
    from worker.models import Attempt
    from worker.simulator import RunningSimulator

SYNC: dict[str, Any] = {"sync": True, "takeover": "allow"}


async def moved(server: RunningSimulator, folder: Path, count: int = 20) -> dict[str, str]:
    """`count` credentials, half of them owned, all given to user 200 by a sync; who had them before."""
    first = write(folder / "first.csv", [(number, 1000 + number) for number in range(1, count // 2 + 1)])
    await run_batch(first, settings(server, ledger=folder / "first.db"))
    before = owners(server)
    await run_batch(
        write(folder / "jobs.csv", [(number, 200) for number in range(1, count + 1)]), settings(server, **SYNC)
    )
    assert set(owners(server).values()) == {uuid(200)}
    return before


def list_of(folder: Path) -> list[str]:
    """The ids of the runs in the ledger of `moved`, the newest first."""
    with Ledger(Where.ledger or str(folder / "assign-ledger.db"), exclusive=False) as ledger:
        return [run.id for run in list_runs(ledger.engine)]


async def test_every_owner_is_restored(tmp_path: Path) -> None:
    """Those who had it have it again; what nobody had, nobody has."""
    async with service(**IN_ONE_SYSTEM) as server:
        before = await moved(server, tmp_path)
        plan = await plan_undo(None, on(server, tmp_path))
        assert set(owners(server).values()) == {uuid(200)}
        report = await undo_run(None, on(server, tmp_path))
        after = {credential: owner for credential, owner in owners(server).items() if owner not in {"None", ""}}
    assert (plan.give_back, plan.unassign, plan.rows, plan.exit_code) == (10, 10, 20, 0)
    assert report.outcomes == {Outcome.ASSIGNED: 10, Outcome.UNASSIGNED: 10}
    assert after == before
    assert report.exit_code == 0
    records = read_results(tmp_path / "jobs.undone.csv")
    assert [record["outcome"] for record in records] == ["assigned"] * 10 + ["unassigned"] * 10


async def test_what_a_run_assigned_after_it_was_undone_can_be_undone(tmp_path: Path) -> None:
    """It was stopped, undone and then finished: a second undo gives back the rest, and a third one nothing."""
    async with service(**IN_ONE_SYSTEM) as server:
        first = write(tmp_path / "first.csv", [(number, 150) for number in range(1, 11)])
        await run_batch(first, settings(server, ledger=tmp_path / "first.db"))
        before, jobs = owners(server), write(tmp_path / "jobs.csv", [(number, 200) for number in range(1, 11)])
        await run_batch(jobs, settings(server, **SYNC, concurrency=1), **stopped_at(3))
        early = await undo_run(None, on(server, tmp_path))
        await run_batch(jobs, settings(server, **SYNC))
        rest = await undo_run(None, on(server, tmp_path))
        assert owners(server) == before
        again = await undo_run(None, on(server, tmp_path))
    assert early.rows + rest.rows == 10
    assert (early.exit_code, rest.exit_code, again.run_id) == (0, 0, rest.run_id)


async def test_what_a_retry_proved_is_given_back_as_the_run_had_read_it(tmp_path: Path) -> None:
    """The run knew whose it was, and not if its send was applied; the retry learned the one, and read too late."""
    async with service(**IN_ONE_SYSTEM) as server:
        await run_batch(write(tmp_path / "first.csv", [(1, 150)]), settings(server, ledger=tmp_path / "first.db"))
        before, jobs = owners(server), write(tmp_path / "jobs.csv", [(1, 200), (2, 200)])
        server.configure({"faults": {"shares": {"http_503": 1.0}, "times": 0, "applied_share": 1.0}})

        def cannot_read(_run: str, _row: int | None, _number: int, attempt: Attempt) -> None:
            if attempt.call is Call.ASSIGN:
                server.configure({"read_faults": {"shares": {"invalid_400": 1.0}, "times": 0}})

        doubtful = await run_batch(jobs, settings(server, **SYNC, timeout=1), observers=(cannot_read,))
        server.configure({"faults": {"shares": {"http_503": 0.0}}, "read_faults": {"shares": {"invalid_400": 0.0}}})
        proven = await retry_run(None, on(server, tmp_path))
        records = read_results(tmp_path / "jobs.results.csv")
        undone = await undo_run(None, on(server, tmp_path))
        after = {credential: owner for credential, owner in owners(server).items() if owner not in {"None", ""}}
    assert doubtful.outcomes == {Outcome.IN_DOUBT: 2}
    assert proven.outcomes == {Outcome.ASSIGNED: 2}
    assert [record["previous_acs_user_id"] for record in records] == [uuid(150), ""]
    assert undone.outcomes == {Outcome.ASSIGNED: 1, Outcome.UNASSIGNED: 1}
    assert after == before


async def test_who_was_given_it_before_its_details_were_read_keeps_it(tmp_path: Path) -> None:
    """The reply told nothing, and by the time of the reading it was somebody else's: that is no owner of ours."""
    async with service(**IN_ONE_SYSTEM) as server:
        await run_batch(write(tmp_path / "first.csv", [(1, 150)]), settings(server, ledger=tmp_path / "first.db"))
        server.configure({"void": {"empty_object": 1.0}})

        def hand_over(_run: str, _row: int | None, _number: int, attempt: Attempt) -> None:
            if attempt.call is Call.ASSIGN:
                server._state.world.hand_over(packed(uuid(1)), WORKSPACE_ID, packed(uuid(300)), NOBODY)

        jobs = write(tmp_path / "jobs.csv", [(1, 200)])
        await run_batch(jobs, settings(server, **SYNC), observers=(hand_over,))
        report = await undo_run(None, on(server, tmp_path))
        assert owners(server) == {uuid(1): uuid(300)}
    assert report.outcomes == {Outcome.CONFLICT: 1}
    (record,) = read_results(tmp_path / "jobs.results.csv")
    assert (record["outcome"], record["assigned_acs_user_id"]) == ("assigned", "")


@pytest.mark.parametrize("mode", [{"takeover": "refuse"}, {}, {"sync": True}, SYNC])
async def test_what_was_undone_does_not_pass_for_sent(tmp_path: Path, mode: dict[str, Any]) -> None:
    """The same file is neither told to be assigned nor assigned unasked, in whatever mode it comes again."""
    async with service(**IN_ONE_SYSTEM) as server:
        jobs, again = write(tmp_path / "jobs.csv", [(1, 200), (2, 200)]), settings(server, **mode)
        await run_batch(jobs, settings(server, takeover="refuse"))
        undone = await undo_run(None, on(server, tmp_path))
        sent = assigns(server)
        with pytest.raises(UsageError, match=rf"run {undone.run_id} undoes it; nothing was sent.*--again"):
            await run_batch(jobs, again)
        assert assigns(server) == sent
        report = await run_batch(jobs, again, again=True)
        assert report.outcomes == {Outcome.ASSIGNED: 2}
        after = await run_batch(jobs, again)  # what was sent anew stands
    assert after.exit_code == 0


async def test_an_undo_that_was_begun_earlier_than_the_run_ended_is_not_all(tmp_path: Path) -> None:
    """It was made for three rows and stopped; the run has assigned the rest since: it says so, and is not well."""
    async with service(**IN_ONE_SYSTEM) as server:
        first = write(tmp_path / "first.csv", [(number, 150) for number in range(1, 11)])
        await run_batch(first, settings(server, ledger=tmp_path / "first.db"))
        before, jobs = owners(server), write(tmp_path / "jobs.csv", [(number, 200) for number in range(1, 11)])
        await run_batch(jobs, settings(server, **SYNC, concurrency=1), **stopped_at(3))
        begun = await undo_run(None, on(server, tmp_path, concurrency=1), **stopped_at(1))
        await run_batch(jobs, settings(server, **SYNC))
        early = await undo_run(None, on(server, tmp_path))
        rest = await undo_run(None, on(server, tmp_path))
        assert owners(server) == before
    assert begun.exit_code == 143
    assert (early.run_id, early.exit_code) == (begun.run_id, 3)
    assert "assigned more after this undo was begun; the same command gives that back too" in early.notes[-1]
    assert (early.rows + rest.rows, rest.exit_code) == (10, 0)


async def test_what_an_undo_could_not_give_back_the_next_one_does(tmp_path: Path) -> None:
    """Rows that failed are no rows undone; those that succeeded, or had changed, are left alone."""
    async with service(**IN_ONE_SYSTEM) as server:
        before = await moved(server, tmp_path, 20)
        server.configure({"faults": {"shares": {"http_503": 0.5}, "times": 0, "applied_share": 0.0}})
        early = await undo_run(None, on(server, tmp_path, max_attempts=1))
        server.configure({"faults": {"shares": {"http_503": 0.0}}})
        rest = await undo_run(None, on(server, tmp_path))
        after = {credential: owner for credential, owner in owners(server).items() if owner not in {"None", ""}}
        again = await undo_run(None, on(server, tmp_path))
    failed = early.outcomes[Outcome.FAILED]
    assert 0 < failed < 20
    assert early.next_steps[-1] == "To give back what did not succeed, run the same command once more"
    assert (rest.rows, rest.exit_code, again.run_id) == (failed, 0, rest.run_id)
    assert after == before


async def test_the_key_of_a_workspace_without_credentials_is_refused(tmp_path: Path) -> None:
    """It tells no workspace, and to it every credential of the run would be unknown."""
    async with service(**IN_ONE_SYSTEM) as server:
        before = await moved(server, tmp_path, 4)
        for call in (plan_undo, undo_run, verify_run):
            with pytest.raises(ConfigError, match="and the key is for one that holds no credential"):
                await call(None, on(server, tmp_path, api_key=OTHER_KEY))
        report = await undo_run(None, on(server, tmp_path))
        after = {credential: owner for credential, owner in owners(server).items() if owner not in {"None", ""}}
    assert report.exit_code == 0
    assert after == before


async def test_the_tokens_own_workspace_is_nothing_to_rows_that_name_theirs(tmp_path: Path) -> None:
    """It was not known to the run, and holds no credential: the run is verified and undone all the same."""
    async with service(**IN_ONE_SYSTEM) as server:
        jobs = write(tmp_path / "jobs.csv", [(1, 100), (2, 100)], workspaces=[OTHER_WORKSPACE] * 2)
        await run_batch(jobs, settings(server, personal_access_token=TOKEN, **SYNC))
        token = on(server, tmp_path, personal_access_token=TOKEN, workspace_id=WORKSPACE_ID)
        verified = await verify_run(None, token)
        planned = await plan_undo(None, token)
        undone = await undo_run(None, token)
    assert (verified.exit_code, planned.unassign) == (0, 2)
    assert undone.outcomes == {Outcome.UNASSIGNED: 2}


async def test_rows_that_changed_since_stay(tmp_path: Path) -> None:
    """Somebody gave two of them to others after the run: those are conflicts."""
    async with service(**IN_ONE_SYSTEM) as server:
        before = await moved(server, tmp_path)
        later = write(tmp_path / "later.csv", [(2, 300), (12, 300)])
        await run_batch(later, settings(server, ledger=tmp_path / "later.db"))
        plan = await plan_undo(None, on(server, tmp_path))
        report = await undo_run(None, on(server, tmp_path))
        after = owners(server)
    assert (plan.changed_since, plan.exit_code) == (2, 1)
    assert report.outcomes == {Outcome.ASSIGNED: 9, Outcome.UNASSIGNED: 9, Outcome.CONFLICT: 2}
    assert after[uuid(2)] == after[uuid(12)] == uuid(300)
    assert {credential: after[credential] for credential in before if credential != uuid(2)} == {
        credential: owner for credential, owner in before.items() if credential != uuid(2)
    }
    assert report.exit_code == 1


async def test_a_plain_run_recorded_no_owner(tmp_path: Path) -> None:
    """Its rows are told so, and nothing is sent."""
    async with service(**IN_ONE_SYSTEM) as server:
        await run_batch(write(tmp_path / "jobs.csv", [(1, 100), (2, 100)]), settings(server))
        sent = assigns(server)
        report = await undo_run(None, on(server, tmp_path))
        assert assigns(server) == sent
    assert report.outcomes == {Outcome.FAILED: 2}
    (failure,) = report.failures
    assert failure.error_type == "not_undoable"
    assert "does not read" in (failure.detail or "") or "did not read" in (failure.detail or "")


async def test_an_undo_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    """Stopped half-way and called again: the same run, each row once, all owners restored."""
    async with service(**IN_ONE_SYSTEM) as server:
        before = await moved(server, tmp_path, 200)
        sent = assigns(server)
        server.configure({"limit": {"kind": "token_bucket", "rate": 100, "burst": 5}})
        control = Control()

        def watch(progress: Progress) -> None:
            if progress.phase == "sending" and progress.done > 20:
                control.stop(StopCause.SIGTERM)

        first = await undo_run(None, on(server, tmp_path), control=control, watch=watch)
        server.configure({"limit": {"kind": "none"}})
        second = await undo_run(None, on(server, tmp_path))
        given_back = assigns(server) - sent
        after = {credential: owner for credential, owner in owners(server).items() if owner not in {"None", ""}}
    assert (first.exit_code, first.run_id) == (143, second.run_id)
    assert dict(second.outcomes) == {Outcome.ASSIGNED: 100, Outcome.UNASSIGNED: 100}
    assert after == before
    assert given_back == Counter(dict.fromkeys(given_back, 1))


async def test_an_undo_that_goes_on_leaves_alone_what_was_assigned_anew_meanwhile(tmp_path: Path) -> None:
    """The person is the same: whom a later run gave it to keeps it."""
    async with service(**IN_ONE_SYSTEM) as server:
        await moved(server, tmp_path, 20)
        begun = await undo_run(None, on(server, tmp_path, concurrency=1), **stopped_at(1))
        again = await run_batch(tmp_path / "jobs.csv", settings(server), again=True)
        assert again.exit_code == 0
        first_run = list_of(tmp_path)[-1]
        report = await undo_run(first_run, on(server, tmp_path))
        assert set(owners(server).values()) == {uuid(200)}
        told = await undo_run(first_run, on(server, tmp_path))
    left = report.outcomes[Outcome.CONFLICT] + report.outcomes[Outcome.IN_DOUBT]
    assert begun.outcomes[Outcome.PENDING] > 0
    assert (report.run_id, report.exit_code) == (begun.run_id, 1)
    assert left + report.outcomes[Outcome.ASSIGNED] == 20
    assert f"{left} rows are left alone, since a later run has assigned the credential anew" in report.notes
    assert "was undone already" in told.notes[0]


async def test_an_undo_that_finds_the_workspace_taken_leaves_none_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody took it after the undo was made: the next call makes its own."""

    def taken(*_: object, **__: object) -> None:
        raise LedgerHeldError("run 5 works on the same workspace")

    async with service(**IN_ONE_SYSTEM) as server:
        before = await moved(server, tmp_path, 4)
        known = list_of(tmp_path)
        with monkeypatch.context() as patched:
            patched.setattr("worker.hold.hold_run", taken)
            patched.setattr("worker.hold.claim_run", taken)
            with pytest.raises(LedgerHeldError, match="run 5"):
                await undo_run(None, on(server, tmp_path))
        assert list_of(tmp_path) == known
        report = await undo_run(None, on(server, tmp_path))
        after = {credential: owner for credential, owner in owners(server).items() if owner not in {"None", ""}}
    assert report.exit_code == 0
    assert after == before


async def test_what_cannot_be_undone(tmp_path: Path) -> None:
    """An undo of an undo, a run that went elsewhere: one sentence each; a second undo tells the first."""
    async with service(**IN_ONE_SYSTEM) as server:
        await moved(server, tmp_path)
        undone = await undo_run(None, on(server, tmp_path))
        with pytest.raises(UsageError, match="is itself an undo"):
            await undo_run(undone.run_id, on(server, tmp_path))
        (tmp_path / "jobs.undone.csv").unlink()
        sent = assigns(server)
        again = await undo_run(None, on(server, tmp_path))
        assert assigns(server) == sent
        assert (again.run_id, again.exit_code) == (undone.run_id, 0)
        assert "was undone already" in again.notes[0]
        assert (tmp_path / "jobs.undone.csv").exists()
        with pytest.raises(UsageError, match="was sent to"):
            await undo_run(None, on(server, tmp_path, endpoint="http://127.0.0.1:9"))


@pytest.mark.parametrize("told", [True, False])
async def test_a_reply_that_named_another_user_is_no_change(tmp_path: Path, told: bool) -> None:  # noqa: FBT001 - a case
    """Rows by identity go by the identity: what was assigned is given back, and what changed since stays."""
    world = {**IN_ONE_SYSTEM["world"], "identity_on_credential": False}
    async with service(world=world) as server:
        lines = [f"{uuid(number)},{uuid(500 + number)}" for number in range(1, 11)]
        jobs = tmp_path / "jobs.csv"
        first = write(tmp_path / "first.csv", [(number, 1000 + number) for number in range(1, 6)])
        await run_batch(first, settings(server, ledger=tmp_path / "first.db"))
        before = owners(server)
        server.configure({"faults": {"shares": {"other_user": 1.0}, "times": 0}})
        jobs.write_text("\n".join(["acs_credential_id,user_identity_id", *lines]) + "\n")
        await run_batch(jobs, settings(server, **SYNC))
        server.configure({"faults": {"shares": {"other_user": 0.0}}})
        later = write(tmp_path / "later.csv", [(2, 300), (7, 300)])
        await run_batch(later, settings(server, ledger=tmp_path / "later.db"))
        server.configure({"world": {"identity_on_credential": told}})
        plan = await plan_undo(None, on(server, tmp_path))
        report = await undo_run(None, on(server, tmp_path))
        after = {credential: owner for credential, owner in owners(server).items() if owner not in {"None", ""}}
    assert (plan.give_back, plan.unassign, plan.changed_since) == (4, 4, 2)
    assert report.outcomes == {Outcome.ASSIGNED: 4, Outcome.UNASSIGNED: 4, Outcome.CONFLICT: 2}
    assert after == {**before, uuid(2): uuid(300), uuid(7): uuid(300)}


@pytest.fixture(scope="module")
def simulator() -> Iterator[Service]:
    """A service in a process of its own."""
    with Service() as running:
        yield running


def test_the_command(tmp_path: Path, simulator: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dry run, the undo, and its second call."""
    monkeypatch.chdir(tmp_path)
    path = write_jobs(tmp_path / "jobs.csv", make_jobs(20))
    call(["run", path, "--sync"], simulator.environ())
    dry = call(["undo", "--dry-run"], simulator.environ())
    assert dry.code == 0
    assert "nothing was sent" in dry.out
    done = call(["undo", "--json"], simulator.environ())
    assert (done.code, done.document()["outcomes"]["unassigned"]) == (0, 20)
    again = call(["undo"], simulator.environ())
    assert again.code == 0
    assert "was undone already" in again.out
    dry = call(["undo", "--dry-run"], simulator.environ())
    assert dry.code == 1
    assert f"was undone already, by run {done.document()['run_id']}" in dry.out
    assert "changed since     20" in dry.out


def test_a_dry_run_says_what_is_not_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    """Of rows that cannot be undone it may be either: who had it before, or whom the run gave it to."""
    _print(UndoPlan("20260821-090000-0000", "jobs.csv", 2, 0, 0, 0, 0, 0, not_undoable=2))
    said = " ".join(capsys.readouterr().out.split())
    assert "not undoable 2 who had it before, or whom the run gave it to, was not recorded" in said
