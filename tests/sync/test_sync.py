"""What `--sync` promises: the present owners are read by pages, and only what differs is sent."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.batch.test_batch import OTHER_KEY, assigns, service, settings, uuid, write
from tests.cli.service import read_results
from worker import Control, Outcome, run_batch
from worker.client import SeamClient
from worker.models import StopCause
from worker.simulator import API_KEY, WORKSPACE_ID

if TYPE_CHECKING:
    from pathlib import Path

    from worker import Progress
    from worker.models import Attempt
    from worker.simulator import RunningSimulator

IN_ONE_SYSTEM: dict[str, Any] = {"world": {"systems_per_workspace": 1}}


def requests(server: RunningSimulator) -> Counter[str]:
    """Route -> requests that were answered so far."""
    answered: Any = server.stats()["requests"]
    return Counter({route: sum(by_status.values()) for route, by_status in answered.items()})


def owners(server: RunningSimulator) -> dict[str, str]:
    """Credential -> who has it."""
    return {str(each["acs_credential_id"]): str(each["acs_user_id"]) for each in server.owners()}


async def test_only_what_differs_is_sent(tmp_path: Path) -> None:
    """Rows that are right are unchanged, new ones are given, a takeover is refused unless allowed."""
    first = write(tmp_path / "first.csv", [(number, 100) for number in range(1, 41)])
    second = write(tmp_path / "second.csv", [*((number, 100) for number in range(1, 39)), (39, 200), (41, 100)])
    async with service(**IN_ONE_SYSTEM) as server:
        await run_batch(first, settings(server))
        sent = assigns(server)
        refused = await run_batch(second, settings(server, sync=True))
        assert assigns(server) - sent == {uuid(41): 1}
        assert owners(server)[uuid(39)] == uuid(100)
        allowed = await run_batch(second, settings(server, sync=True, takeover="allow"))
        assert assigns(server) - sent == {uuid(41): 1, uuid(39): 1}
        assert owners(server)[uuid(39)] == uuid(200)
    assert refused.outcomes == {Outcome.UNCHANGED: 38, Outcome.CONFLICT: 1, Outcome.ASSIGNED: 1}
    assert allowed.outcomes == {Outcome.UNCHANGED: 39, Outcome.ASSIGNED: 1}
    taken = read_results(tmp_path / "second.results.csv")[38]
    assert (taken["previous_acs_user_id"], taken["previous_owner_state"]) == (uuid(100), "known")


async def test_a_night_of_few_changes_costs_few_requests(tmp_path: Path) -> None:
    """2 000 rows in one system: four pages, one reading to find the system, and the changes."""
    rows = [(number, 100) for number in range(1, 2001)]
    async with service(**IN_ONE_SYSTEM) as server:
        await run_batch(write(tmp_path / "a.csv", rows), settings(server))
        before = requests(server)
        changed = [(number, 200 if number % 100 == 0 else 100) for number, _ in rows]
        report = await run_batch(write(tmp_path / "b.csv", changed), settings(server, sync=True, takeover="allow"))
        spent = requests(server) - before
    assert report.outcomes == {Outcome.UNCHANGED: 1980, Outcome.ASSIGNED: 20}
    assert spent["assign"] == 20
    assert spent["list"] <= 4 + 1  # and the one that asks whose workspace the key opens
    assert spent["get"] == 1


async def test_few_rows_in_a_large_system_are_read_one_by_one(tmp_path: Path) -> None:
    """Pages stop where they may cost more than the rows that are left."""
    async with service(**IN_ONE_SYSTEM) as server:
        await run_batch(write(tmp_path / "a.csv", [(number, 100) for number in range(1, 3001)]), settings(server))
        before = requests(server)
        few = [(number, 100) for number in (2996, 2997, 2998)]
        report = await run_batch(write(tmp_path / "b.csv", few), settings(server, sync=True))
        spent = requests(server) - before
    assert report.outcomes == {Outcome.UNCHANGED: 3}
    assert spent["get"] + spent["list"] <= 2 * 3 + 1


async def test_every_system_of_a_workspace_is_found(tmp_path: Path) -> None:
    """Four systems: each is told by the first of its rows."""
    rows = [(number, 100) for number in range(1, 1001)]
    async with service() as server:
        await run_batch(write(tmp_path / "a.csv", rows), settings(server))
        before = requests(server)
        report = await run_batch(write(tmp_path / "b.csv", rows), settings(server, sync=True))
        spent = requests(server) - before
    assert report.outcomes == {Outcome.UNCHANGED: 1000}
    assert spent["get"] + spent["list"] < 30
    assert report.exit_code == 0


async def test_identities_without_a_trace_on_the_credential_are_asked_for(tmp_path: Path) -> None:
    """Where a credential shows no identity, its owner's is asked once a row; nothing is sent to find out."""
    path = tmp_path / "people.csv"
    lines = ["acs_credential_id,user_identity_id", *(f"{uuid(number)},{uuid(500 + number)}" for number in range(1, 21))]
    path.write_text("\n".join(lines) + "\n")
    async with service(world={"systems_per_workspace": 1, "identity_on_credential": False}) as server:
        await run_batch(path, settings(server))
        sent = assigns(server)
        report = await run_batch(path, settings(server, sync=True))
        assert assigns(server) == sent
    assert report.outcomes == {Outcome.UNCHANGED: 20}


async def test_unknown_credentials_and_children_are_never_sent(tmp_path: Path) -> None:
    """What the reading rules out gets its sentence."""
    rows = [(number, 100) for number in range(1, 101)]
    world = {"systems_per_workspace": 1, "unknown_credentials": 0.2, "children": 0.2}
    async with service(world=world) as server:
        report = await run_batch(write(tmp_path / "a.csv", rows), settings(server, sync=True))
        sent = assigns(server)
    records = read_results(tmp_path / "a.results.csv")
    failed = [record for record in records if record["outcome"] == "failed"]
    assert report.outcomes[Outcome.FAILED] == len(failed) > 0
    assert {record["error_type"] for record in failed} == {"acs_credential_not_found"}
    assert report.outcomes[Outcome.INVALID] > 0
    assert not {record["acs_credential_id"] for record in records if record["outcome"] != "assigned"} & set(sent)


async def test_rows_in_doubt_of_another_run_are_takeovers_like_others(tmp_path: Path) -> None:
    """They are read, and held to `--max-takeovers`."""
    async with service(**IN_ONE_SYSTEM) as server:
        unknown: dict[str, Any] = {"shares": {"http_503": 1.0}, "times": 0, "applied_share": 1.0}
        unread: dict[str, Any] = {"shares": {"invalid_400": 1.0}, "times": 0}
        server.configure({"faults": unknown, "read_faults": unread})
        first = write(tmp_path / "a.csv", [(number, 100) for number in range(1, 6)])
        assert (await run_batch(first, settings(server, timeout=1))).outcomes == {Outcome.IN_DOUBT: 5}
        server.configure({"faults": {"shares": {"http_503": 0.0}}, "read_faults": {"shares": {"invalid_400": 0.0}}})
        second, sent = write(tmp_path / "b.csv", [(number, 200) for number in range(1, 6)]), assigns(server)
        taking: dict[str, Any] = {"sync": True, "takeover": "allow"}
        held = await run_batch(second, settings(server, **taking, max_takeovers="0"))
        assert [stop.cause for stop in held.stops] == [StopCause.MAX_TAKEOVERS]
        assert assigns(server) == sent
        report = await run_batch(second, settings(server, **taking))
    assert report.outcomes == {Outcome.ASSIGNED: 5}
    assert {record["previous_acs_user_id"] for record in read_results(tmp_path / "b.results.csv")} == {uuid(100)}


async def test_a_page_may_hold_a_credential_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list moved while its pages were read."""
    once = SeamClient.list_page

    async def twice(self: SeamClient, *arguments: Any, **more: Any) -> Attempt:
        page = await once(self, *arguments, **more)
        return page._replace(credentials=(*page.credentials, *page.credentials[-1:]))

    async with service(**IN_ONE_SYSTEM) as server:
        first = write(tmp_path / "first.csv", [(number, 150) for number in range(1, 21)])
        await run_batch(first, settings(server, ledger=tmp_path / "first.db"))
        monkeypatch.setattr(SeamClient, "list_page", twice)
        jobs = write(tmp_path / "jobs.csv", [(number, 200) for number in range(1, 21)])
        report = await run_batch(jobs, settings(server, sync=True, takeover="allow"))
    assert report.outcomes == {Outcome.ASSIGNED: 20}


async def test_a_sync_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    """Its own writes are not taken for the owners of before."""
    rows = [(number, 100) for number in range(1, 201)]
    async with service(**IN_ONE_SYSTEM) as server:
        await run_batch(write(tmp_path / "a.csv", rows), settings(server))
        jobs = write(tmp_path / "b.csv", [(number, 200) for number, _ in rows])
        server.configure({"limit": {"kind": "token_bucket", "rate": 60, "burst": 5}})
        control = Control()

        def watch(progress: Progress) -> None:
            if progress.phase == "sending" and progress.done > 20:
                control.stop(StopCause.SIGTERM)

        options = {"sync": True, "takeover": "allow"}
        first = await run_batch(jobs, settings(server, **options), control=control, watch=watch)
        server.configure({"limit": {"kind": "none"}})
        second = await run_batch(jobs, settings(server, **options))
        assert set(owners(server).values()) == {uuid(200)}
        assert max((assigns(server) - Counter(dict.fromkeys(assigns(server), 1))).values()) == 1
    assert first.exit_code == 143
    assert first.run_id == second.run_id
    assert second.outcomes == {Outcome.ASSIGNED: 200}
    previous = {record["previous_acs_user_id"] for record in read_results(tmp_path / "b.results.csv")}
    assert previous == {uuid(100)}


@pytest.mark.parametrize("takeover", ["refuse", "allow"])
async def test_a_sync_that_goes_on_reads_again_what_another_run_has_assigned_meanwhile(
    tmp_path: Path, takeover: str
) -> None:
    """Its readings are from before: by them nobody had the credentials, and it would take them unknowingly."""
    ours, jobs = {"sync": True, "takeover": takeover}, write(tmp_path / "jobs.csv", [(1, 100), (2, 100), (3, 100)])
    async with service(**IN_ONE_SYSTEM) as server:
        control = Control()

        async def no(_intent: object) -> bool:
            control.stop(StopCause.SIGTERM)
            return False

        stopped = await run_batch(jobs, settings(server, **ours), control=control, confirm=no)
        assert stopped.outcomes == {Outcome.PENDING: 3}
        await run_batch(write(tmp_path / "other.csv", [(1, 200), (2, 100)]), settings(server))
        report = await run_batch(jobs, settings(server, **ours))
        assert report.run_id == stopped.run_id
        taken = takeover == "allow"
        wanted = {uuid(1): uuid(100 if taken else 200), uuid(2): uuid(100), uuid(3): uuid(100)}
        assert {credential: owner for credential, owner in owners(server).items() if credential in wanted} == wanted
    first, second, third = read_results(tmp_path / "jobs.results.csv")
    assert (first["outcome"], second["outcome"], third["outcome"]) == (
        "assigned" if taken else "conflict",
        "unchanged",
        "assigned",
    )
    assert first["previous_acs_user_id"] == (uuid(200) if taken else "")


async def test_a_finished_sync_looks_again(tmp_path: Path) -> None:
    """The same file the next night is a new run, which finds what drifted."""
    jobs = write(tmp_path / "a.csv", [(1, 100), (2, 100)])
    async with service(**IN_ONE_SYSTEM) as server:
        first = await run_batch(jobs, settings(server, sync=True))
        await run_batch(write(tmp_path / "else.csv", [(2, 300)]), settings(server))
        second = await run_batch(jobs, settings(server, sync=True, takeover="allow"))
        assert owners(server)[uuid(2)] == uuid(100)
    assert first.run_id != second.run_id
    assert second.outcomes == {Outcome.UNCHANGED: 1, Outcome.ASSIGNED: 1}


async def test_one_refused_workspace_keeps_only_its_own_rows(tmp_path: Path) -> None:
    """The other one's rows are all in step; the exit code is 3 for the one."""
    other = "5eed0000-0000-4000-8000-0000000000ff"
    spaces = [WORKSPACE_ID, other] * 20
    jobs = write(tmp_path / "jobs.csv", [(number, 100) for number in range(1, 41)], workspaces=spaces)
    keys = {WORKSPACE_ID: API_KEY, other: OTHER_KEY}
    async with service(access={"refused_keys": [OTHER_KEY]}) as server:
        report = await run_batch(jobs, settings(server, sync=True, workspace_keys=keys))
        assert len(assigns(server)) == 20
    assert report.exit_code == 3
    assert report.outcomes == {Outcome.ASSIGNED: 20, Outcome.PENDING: 20}
    assert {stop.workspace_id for stop in report.stops} == {other}
