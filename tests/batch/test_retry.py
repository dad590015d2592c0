"""What `retry_run` promises: only what did not succeed, from the ledger, and the truth about the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.batch.test_batch import (
    OTHER_KEY,
    OTHER_WORKSPACE,
    TOKEN,
    Where,
    assigns,
    on_each_store,
    service,
    settings,
    stopped_at,
    uuid,
    write,
)
from tests.cli.service import read_results
from worker import Outcome, run_batch
from worker.errors import ConfigError, LedgerError, RunNotFoundError, UsageError
from worker.ledger import Ledger
from worker.ledger.mode import How, Mode
from worker.ledger.runs import get_run, list_runs
from worker.retrying import retry_run
from worker.simulator import API_KEY, WORKSPACE_ID

if TYPE_CHECKING:
    from pathlib import Path

    from worker import Settings
    from worker.simulator import RunningSimulator

__all__ = ["on_each_store"]

BROKEN = {"faults": {"shares": {"http_503": 0.3}, "times": 0, "applied_share": 0.5}}
WELL: dict[str, Any] = {"faults": {"shares": {"http_503": 0.0}}, "read_faults": {"shares": {"invalid_400": 0.0}}}


def jobs_of(folder: Path, count: int = 60) -> Path:
    """So many rows for one person."""
    return write(folder / "jobs.csv", [(number, 100) for number in range(1, count + 1)])


def owners(server: RunningSimulator) -> dict[str, str]:
    """Credential -> the ACS user that owns it now, where it was assigned here."""
    return {
        str(owner["acs_credential_id"]): str(owner["acs_user_id"])
        for owner in server.owners()
        if owner["assigned_here"]
    }


def retrying(server: RunningSimulator, folder: Path, **options: Any) -> Settings:
    """Settings for a retry from the ledger in this folder, or on the server of the test."""
    return settings(server, **{"ledger": Where.ledger or folder / "assign-ledger.db", **options})


async def test_only_what_failed_is_sent_again(tmp_path: Path) -> None:
    """Each of those rows is read back first; at the end every person has the credential, and the file says so."""
    jobs = jobs_of(tmp_path)
    async with service(**BROKEN) as server:
        first = await run_batch(jobs, settings(server, max_attempts=1, timeout=1))
        failed = {
            row["acs_credential_id"]
            for row in read_results(tmp_path / "jobs.results.csv")
            if row["outcome"] == "failed"
        }
        sent = assigns(server)
        server.configure(WELL)
        jobs.unlink()  # a retry works from the ledger
        report = await retry_run(None, retrying(server, tmp_path))
        again = {credential for credential, times in (assigns(server) - sent).items() if times}
        assert owners(server) == {uuid(number): uuid(100) for number in range(1, 61)}
    assert first.exit_code == 1
    assert 5 < len(failed) == first.outcomes[Outcome.FAILED]
    assert again == failed
    assert (report.exit_code, report.run_id, len(report.retries)) == (0, first.run_id, 1)
    assert report.outcomes == {Outcome.ASSIGNED: 60}
    rows = read_results(tmp_path / "jobs.results.csv")
    assert [row["acs_credential_id"] for row in rows] == [uuid(number) for number in range(1, 61)]
    assert {row["run_id"] for row in rows if row["acs_credential_id"] in failed} == {report.retries[0]}
    assert {row["run_id"] for row in rows if row["acs_credential_id"] not in failed} == {first.run_id}
    assert report.attempts == first.attempts + len(failed)


async def test_a_row_in_doubt_is_read_back_and_not_sent_twice(tmp_path: Path) -> None:
    """What had been applied is found so, and counts as assigned; only the rest is sent."""
    trouble = {**BROKEN, "read_faults": {"shares": {"invalid_400": 1.0}, "times": 0}}
    async with service(**trouble) as server:
        first = await run_batch(jobs_of(tmp_path), settings(server, timeout=0.5))
        applied, sent = owners(server), assigns(server)
        server.configure(WELL)
        report = await retry_run(first.run_id, retrying(server, tmp_path))
        for credential in applied:
            assert assigns(server)[credential] == sent[credential] == 1
        assert len(owners(server)) == 60
    in_doubt = first.outcomes[Outcome.IN_DOUBT]
    rows = [row for row in read_results(tmp_path / "jobs.results.csv") if row["run_id"] != first.run_id]
    assert in_doubt == len(rows) > 5
    assert {row["outcome"] for row in rows} == {"assigned"}
    assert 0 < sum(row["acs_credential_id"] in applied for row in rows) < in_doubt
    assert report.exit_code == 0


async def test_nothing_to_retry_is_said_and_nothing_is_sent(tmp_path: Path) -> None:
    """The exit code is that of the run as it stands."""
    async with service(world={"unknown_users": 1.0}) as server:
        first = await run_batch(jobs_of(tmp_path, 3), settings(server))
        report = await retry_run(None, retrying(server, tmp_path))
        assert assigns(server).total() == 3
        assert (first.exit_code, report.exit_code, report.retries) == (1, 1, ())
        assert report.notes[0].startswith("nothing to retry: ")
        server.configure({"world": {"unknown_users": 0.0}})
        report = await retry_run(None, retrying(server, tmp_path), outcomes=["failed"])
        assert (report.exit_code, report.outcomes) == (0, {Outcome.ASSIGNED: 3})
        report = await retry_run(None, retrying(server, tmp_path), outcomes=["failed"])
        assert (report.exit_code, len(report.retries)) == (0, 1)


async def test_an_unfinished_retry_is_gone_on_with(tmp_path: Path) -> None:
    """The same call, no other choice, and no second retry beside it; until then the run counts as unfinished."""
    jobs = jobs_of(tmp_path, 200)
    async with service(world={"unknown_users": 1.0}) as server:
        await run_batch(jobs, settings(server))
        server.configure({"world": {"unknown_users": 0.0}, "limit": {"kind": "token_bucket", "rate": 100, "burst": 1}})
        first = await retry_run(None, retrying(server, tmp_path, deadline="0.5s"), outcomes=["failed"])
        assert (first.state, first.exit_code) == ("open", 3)
        assert first.outcomes[Outcome.PENDING] > 50
        with pytest.raises(UsageError, match=r"not finished, and was begun with other choices.*goes on with it"):
            await retry_run(None, retrying(server, tmp_path), outcomes=["in_doubt"])
        with pytest.raises(UsageError, match="other choices"):
            await retry_run(None, retrying(server, tmp_path, takeover="refuse"))
        told = await run_batch(jobs, settings(server))
        assert any(f"assign-worker retry {first.run_id}" in step for step in told.next_steps)
        server.configure({"limit": {"kind": "none"}})
        second = await retry_run(None, retrying(server, tmp_path))
        assert set(assigns(server).values()) == {2}  # once in the run, once in the retry
    assert (second.exit_code, second.outcomes) == (0, {Outcome.ASSIGNED: 200})
    assert first.retries == second.retries
    assert len(second.retries) == 1


async def test_a_conflict_is_sent_when_takeovers_are_allowed(tmp_path: Path) -> None:
    """The run refused them; the retry is told otherwise, and only the row that was refused goes."""
    async with service() as server:
        await run_batch(write(tmp_path / "first.csv", [(1, 100)]), settings(server))
        jobs = write(tmp_path / "jobs.csv", [(1, 200), (2, 200), (3, 200), (3, 300)])
        await run_batch(jobs, settings(server, takeover="refuse"))
        report = await retry_run(None, retrying(server, tmp_path), outcomes=["conflict"])
        assert report.outcomes[Outcome.CONFLICT] == 3  # by the run's own rule
        report = await retry_run(None, retrying(server, tmp_path, takeover="allow"), outcomes=["conflict"])
        assert owners(server) == {uuid(1): uuid(200), uuid(2): uuid(200)}
    assert report.outcomes == {Outcome.ASSIGNED: 2, Outcome.CONFLICT: 2}
    assert len(report.retries) == 2


async def test_rows_with_a_warning_are_assigned_once_more(tmp_path: Path) -> None:
    """They and no others; a rule that would leave them alone is refused with the way out."""
    async with service(world={"warnings": 0.5}) as server:
        await run_batch(jobs_of(tmp_path), settings(server))
        wanted = {
            row["acs_credential_id"]
            for row in read_results(tmp_path / "jobs.results.csv")
            if "needs_to_be_reissued" in row["warning_codes"].split(";")
        }
        with pytest.raises(UsageError, match="add --takeover allow"):
            await retry_run(None, retrying(server, tmp_path, takeover="refuse"), warnings=["needs_to_be_reissued"])
        report = await retry_run(None, retrying(server, tmp_path), warnings=["needs_to_be_reissued"])
        assert {credential for credential, times in assigns(server).items() if times == 2} == wanted
        assert set(assigns(server).values()) == {1, 2}
    assert wanted
    assert (report.exit_code, report.outcomes) == (0, {Outcome.ASSIGNED: 60})


async def test_a_row_that_a_later_file_gives_away_is_left_alone(tmp_path: Path) -> None:
    """The retry of the older run does not send over it, and says so."""
    async with service(world={"unknown_users": 1.0}) as server:
        first = await run_batch(jobs_of(tmp_path, 3), settings(server))
        server.configure({"world": {"unknown_users": 0.0}})
        await run_batch(write(tmp_path / "later.csv", [(2, 300)]), settings(server))
        report = await retry_run(first.run_id, retrying(server, tmp_path), outcomes=["failed"])
        assert owners(server) == {uuid(1): uuid(100), uuid(2): uuid(300), uuid(3): uuid(100)}
    assert report.outcomes == {Outcome.ASSIGNED: 2, Outcome.FAILED: 1}
    assert report.notes == ("1 row is left alone, since a later run has the credential in hand",)


async def test_a_retry_that_goes_on_leaves_alone_what_a_later_file_gave_away_meanwhile(tmp_path: Path) -> None:
    """Its rows were chosen before; the person of the later file keeps the credential."""
    async with service(world={"unknown_users": 1.0}) as server:
        first = await run_batch(jobs_of(tmp_path, 20), settings(server))
        server.configure({"world": {"unknown_users": 0.0}})
        here = retrying(server, tmp_path, concurrency=1)
        stopped = await retry_run(first.run_id, here, outcomes=["failed"], **stopped_at(2))
        assert stopped.exit_code == 143
        await run_batch(write(tmp_path / "later.csv", [(20, 300)]), settings(server))
        report = await retry_run(first.run_id, here)
        assert owners(server) == {**dict.fromkeys(map(uuid, range(1, 20)), uuid(100)), uuid(20): uuid(300)}
    assert report.outcomes == {Outcome.ASSIGNED: 19, Outcome.FAILED: 1}
    assert report.notes == ("1 row is left alone, since a later run has the credential in hand",)


async def test_a_retry_that_makes_no_sense_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    """One sentence, exit 2, and no request."""
    async with service(limit={"kind": "token_bucket", "rate": 100, "burst": 1}) as server:
        here = retrying(server, tmp_path)
        with pytest.raises(LedgerError, match="there is no ledger "):
            await retry_run(None, here)
        jobs = jobs_of(tmp_path, 200)
        first = await run_batch(jobs, settings(server, deadline="0.3s"))
        sent = assigns(server).total()
        with pytest.raises(UsageError, match=f"run {first.run_id} is not finished .*; run its command again first"):
            await retry_run(None, here)
        with pytest.raises(RunNotFoundError, match="holds no run 'nonsense'"):
            await retry_run("nonsense", here)
        with pytest.raises(UsageError, match="'lost' is no outcome to retry; there are failed, in_doubt, conflict"):
            await retry_run(None, here, outcomes=["lost"])
        with pytest.raises(UsageError, match="rows that are assigned are never sent again"):
            await retry_run(None, here, outcomes=["assigned"])
        assert assigns(server).total() == sent
        server.configure({"limit": {"kind": "none"}})
        write(jobs, [(number, 100) for number in range(1, 200)])
        second = await run_batch(jobs, settings(server))
        with pytest.raises(UsageError, match=r"was superseded by a later run of jobs\.csv"):
            await retry_run(first.run_id, here)
        with pytest.raises(UsageError, match=r"was sent to .*, and the settings say https://connect\.getseam\.com"):
            await retry_run(second.run_id, here.replace(endpoint="https://connect.getseam.com"))
    assert not (tmp_path / "assign-ledger.results.csv").exists()


async def test_the_key_of_another_workspace_is_refused(tmp_path: Path) -> None:
    """And so is one key where the rows are of several workspaces: their rows would become invalid."""
    async with service() as server:
        for key in (API_KEY, OTHER_KEY):  # an empty workspace does not tell which one it is
            seed = write(tmp_path / f"{key}.csv", [(900 + len(key), 100)])
            await run_batch(seed, settings(server, api_key=key, ledger=tmp_path / f"{key}.db"))
        server.configure({"world": {"unknown_users": 1.0}})
        await run_batch(jobs_of(tmp_path, 2), settings(server))
        with pytest.raises(
            ConfigError, match=f"begun in workspace {WORKSPACE_ID}, and the key is for {OTHER_WORKSPACE}"
        ):
            await retry_run(None, retrying(server, tmp_path, api_key=OTHER_KEY), outcomes=["failed"])
        spread = write(tmp_path / "spread.csv", [(11, 100), (12, 100)], workspaces=[WORKSPACE_ID, OTHER_WORKSPACE])
        token = {"personal_access_token": TOKEN, "workspace_id": WORKSPACE_ID}
        await run_batch(spread, settings(server, **token))
        with pytest.raises(UsageError, match=f"row 2 of run .* is of workspace {OTHER_WORKSPACE}"):
            await retry_run(None, retrying(server, tmp_path), outcomes=["failed"])
        server.configure({"world": {"unknown_users": 0.0}})
        report = await retry_run(None, retrying(server, tmp_path, **token), outcomes=["failed"])
    assert (report.exit_code, report.outcomes) == (0, {Outcome.ASSIGNED: 2})


async def test_the_ledger_lists_a_retry_under_its_kind(tmp_path: Path) -> None:
    """With the takeover rule of its parent."""
    async with service(world={"unknown_users": 1.0}) as server:
        await run_batch(jobs_of(tmp_path, 2), settings(server, takeover="refuse"))
        report = await retry_run("1", retrying(server, tmp_path), outcomes=["failed"])
    with Ledger(Where.ledger or str(tmp_path / "assign-ledger.db"), exclusive=False) as ledger:
        retry, run = list_runs(ledger.engine)
        assert (retry.kind, retry.parent_no, retry.mode, retry.state) == (
            "retry",
            run.run_no,
            Mode(How.PLAIN, "refuse"),
            "finished",
        )
        assert get_run(ledger.engine, report.retries[0]) == retry
