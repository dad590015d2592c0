"""What `verify` promises: every assigned row is read back, and told in three stages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.batch.test_batch import Where, assigns, service, settings, uuid, write
from tests.cli.service import Service, call, make_jobs, read_results, write_jobs
from tests.sync.test_sync import IN_ONE_SYSTEM, requests
from worker import run_batch
from worker.errors import ConfigError, LedgerHeldError, RunNotFoundError, UsageError
from worker.ledger.pruning import Family, remove
from worker.models import Stop, StopCause
from worker.session import Session
from worker.verifying import verify_run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from worker import Settings
    from worker.simulator import RunningSimulator


def on(server: RunningSimulator, folder: Path, **options: Any) -> Settings:
    """Settings for the ledger that a run in `folder` made."""
    return settings(server, ledger=Where.ledger or folder / "assign-ledger.db", **options)


async def test_all_is_well(tmp_path: Path) -> None:
    """Owners are read by pages; nothing is sent."""
    jobs = write(tmp_path / "jobs.csv", [(number, 100) for number in range(1, 1001)])
    async with service(**IN_ONE_SYSTEM) as server:
        run = await run_batch(jobs, settings(server))
        before, sent = requests(server), assigns(server)
        report = await verify_run(run.run_id, on(server, tmp_path))
        assert assigns(server) == sent
        spent = requests(server) - before
    assert (report.accepted, report.confirmed, report.findings) == (1000, 1000, {"confirmed": 1000})
    assert report.exit_code == 0
    assert spent["list"] + spent["get"] <= 5


async def test_what_changed_since_is_told(tmp_path: Path) -> None:
    """Somebody else's, nobody's: exit 1, each with an example, and a file with every row."""
    jobs = write(tmp_path / "jobs.csv", [(number, 100) for number in range(1, 11)])
    async with service(**IN_ONE_SYSTEM) as server:
        await run_batch(jobs, settings(server))
        await run_batch(write(tmp_path / "else.csv", [(3, 300)]), settings(server, ledger=tmp_path / "else.db"))
        report = await verify_run(None, on(server, tmp_path, results=tmp_path / "found.csv"))
    assert report.findings == {"confirmed": 9, "other_owner": 1}
    assert (report.examples["other_owner"], report.exit_code) == (3, 1)
    found = read_results(tmp_path / "found.csv")
    assert [record["outcome"] for record in found[:3]] == ["confirmed", "confirmed", "other_owner"]
    assert found[2]["assigned_acs_user_id"] == uuid(300)


async def test_it_waits_for_what_is_not_issued_yet(tmp_path: Path) -> None:
    """Credentials that become issued and synced while it waits; without waiting they are told as waiting."""
    jobs = write(tmp_path / "jobs.csv", [(number, 100) for number in range(1, 41)])
    world = {"systems_per_workspace": 1, "becomes_issued_after": 2.0, "synced_after": 1.0}
    async with service(world=world) as server:
        await run_batch(jobs, settings(server))
        at_once = await verify_run(None, on(server, tmp_path))
        waited = await verify_run(None, on(server, tmp_path), wait=60)
    assert (at_once.findings.get("waiting", 0) > 0, at_once.exit_code) == (True, 1)
    assert (waited.findings, waited.exit_code) == ({"confirmed": 40}, 0)
    assert waited.synced == 40
    assert waited.issued == waited.cards - waited.issue_untold


async def test_a_stop_that_came_after_the_last_row_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 3 says that rows were left unread."""
    read = Session.survey

    async def read_and_stop(self: Session, *args: Any) -> tuple[Stop, ...]:
        await read(self, *args)
        return (Stop(StopCause.OUTAGE, "too late"),)

    jobs = write(tmp_path / "jobs.csv", [(number, 100) for number in range(1, 11)])
    async with service(**IN_ONE_SYSTEM) as server:
        await run_batch(jobs, settings(server))
        monkeypatch.setattr(Session, "survey", read_and_stop)
        report = await verify_run(None, on(server, tmp_path))
    assert (report.findings, report.stops, report.exit_code) == ({"confirmed": 10}, (), 0)


async def test_nothing_is_told_of_a_run_that_is_removed_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process prunes the ledger: what was not read is gone, and not well."""
    survey = Session.survey

    async def read_and_lose(session: Session, client: Any, run: Any, *rest: Any) -> Any:
        stops = await survey(session, client, run, *rest)
        assert remove(session._engine, Family((run,)))
        return stops

    jobs = write(tmp_path / "jobs.csv", [(number, 100) for number in range(1, 11)])
    async with service(**IN_ONE_SYSTEM) as server:
        await run_batch(jobs, settings(server))
        monkeypatch.setattr(Session, "survey", read_and_lose)
        with pytest.raises(LedgerHeldError, match=r"has removed run .* while it was read"):
            await verify_run(None, on(server, tmp_path))


async def test_runs_that_cannot_be_verified(tmp_path: Path) -> None:
    """Unknown, or sent elsewhere: one sentence before anything is read."""
    jobs = write(tmp_path / "jobs.csv", [(1, 100)])
    async with service(**IN_ONE_SYSTEM) as server:
        await run_batch(jobs, settings(server))
        before = requests(server)
        with pytest.raises(RunNotFoundError, match="no run 'nonsense'"):
            await verify_run("nonsense", on(server, tmp_path))
        with pytest.raises(UsageError, match="was sent to"):
            await verify_run(None, on(server, tmp_path, endpoint="http://127.0.0.1:9"))
        assert requests(server) == before


async def test_a_key_of_another_workspace_verifies_nothing(tmp_path: Path) -> None:
    """Its credentials would all look gone."""
    jobs = write(tmp_path / "jobs.csv", [(1, 100)])
    async with service(**IN_ONE_SYSTEM) as server:
        await run_batch(jobs, settings(server))
        await run_batch(
            write(tmp_path / "o.csv", [(9, 100)]),
            settings(server, api_key="seam_other_key", ledger=tmp_path / "o.db"),
        )
        with pytest.raises(ConfigError, match="the key is for"):
            await verify_run(None, on(server, tmp_path, api_key="seam_other_key"))


@pytest.fixture(scope="module")
def simulator() -> Iterator[Service]:
    """A service in a process of its own."""
    with Service() as running:
        yield running


def test_the_command(tmp_path: Path, simulator: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page and a document; an unknown run and a bad span are one line and exit 2."""
    monkeypatch.chdir(tmp_path)
    path = write_jobs(tmp_path / "jobs.csv", make_jobs(20))
    call(["run", path], simulator.environ())
    page = call(["verify"], simulator.environ())
    assert page.code == 0
    assert "20 of 20 rows confirmed" in page.out
    assert call(["verify", "--json"], simulator.environ()).document()["findings"] == {"confirmed": 20}
    unknown = call(["verify", "nonsense"], simulator.environ())
    assert (unknown.code, len(unknown.err.strip().splitlines())) == (2, 1)
    span = call(["verify", "--wait", "soon"], simulator.environ())
    assert span.code == 2
    assert "--wait: 'soon' is not allowed" in span.err
