"""What `plan` promises: it says what a sync would do, sends nothing and keeps nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.batch.test_batch import Where, assigns, service, settings, uuid, write
from tests.cli.service import Service, call, make_jobs, read_results, write_jobs
from tests.sync.test_sync import IN_ONE_SYSTEM
from worker import Outcome, run_batch
from worker.ledger import Ledger
from worker.ledger.runs import list_runs
from worker.planning import make_plan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


async def test_each_row_has_its_intention(tmp_path: Path) -> None:
    """New, taken by somebody else, unchanged, repeated: as the sync that follows then does it."""
    async with service(**IN_ONE_SYSTEM) as server:
        await run_batch(write(tmp_path / "a.csv", [(number, 100) for number in range(1, 11)]), settings(server))
        sent = assigns(server)
        rows = [*((number, 100) for number in range(1, 9)), (9, 200), (11, 100), (8, 100), (12, 1), (12, 2)]
        jobs = write(tmp_path / "b.csv", rows)
        plan = await make_plan(jobs, settings(server, results=tmp_path / "plan.csv", takeover="allow"))
        assert assigns(server) == sent
        run = await run_batch(jobs, settings(server, sync=True, takeover="allow"))
    assert plan.intentions == {"unchanged": 8, "takeover": 1, "new": 1, "duplicate": 1, "conflict": 2}
    assert (plan.rows, plan.to_send, plan.exit_code) == (13, 2, 1)
    assert run.outcomes[Outcome.ASSIGNED] == plan.to_send
    assert run.outcomes[Outcome.UNCHANGED] == plan.intentions["unchanged"]
    records = read_results(tmp_path / "plan.csv")
    assert [record["outcome"] for record in records[7:11]] == ["unchanged", "takeover", "new", "duplicate"]
    assert records[8]["previous_acs_user_id"] == uuid(100)
    assert "would be taken over" in records[8]["detail"]
    with Ledger(Where.ledger or str(tmp_path / "assign-ledger.db"), exclusive=False) as ledger:
        assert [each.kind for each in list_runs(ledger.engine)] == ["run", "run"]


async def test_identities_that_may_make_seam_create_a_user(tmp_path: Path) -> None:
    """An identity that nothing is known of is counted; one that has a credential already is not."""
    lines = ["acs_credential_id,user_identity_id", *(f"{uuid(number)},{uuid(500 + number)}" for number in (1, 2, 3))]
    people = tmp_path / "people.csv"
    people.write_text("\n".join(lines) + "\n")
    async with service(**IN_ONE_SYSTEM) as server:
        await run_batch(people, settings(server))
        people.write_text("\n".join([*lines, f"{uuid(4)},{uuid(501)}", f"{uuid(5)},{uuid(505)}"]) + "\n")
        plan = await make_plan(people, settings(server))
    assert plan.intentions == {"unchanged": 3, "new": 2}
    assert plan.may_create_users == 1


async def test_drift_is_told(tmp_path: Path) -> None:
    """Rows that the last run of this name made right, and somebody changed since."""
    jobs = write(tmp_path / "a.csv", [(number, 100) for number in range(1, 6)])
    async with service(**IN_ONE_SYSTEM) as server:
        await run_batch(jobs, settings(server))
        await run_batch(write(tmp_path / "else.csv", [(2, 300), (4, 300)]), settings(server))
        plan = await make_plan(jobs, settings(server))
        run = await run_batch(jobs, settings(server, sync=True, takeover="allow"))
    assert (plan.drifted, run.drifted) == (2, 2)
    assert plan.intentions == {"unchanged": 3, "takeover": 2}
    assert (plan.takeover, plan.to_send, plan.exit_code) == ("refuse", 0, 1)


@pytest.fixture(scope="module")
def simulator() -> Iterator[Service]:
    """A service in a process of its own."""
    with Service() as running:
        yield running


def test_the_command(tmp_path: Path, simulator: Service) -> None:
    """A page, one JSON document, exit codes; the run itself then does what was said."""
    path = write_jobs(tmp_path / "jobs.csv", make_jobs(30))
    page = call(["plan", path], simulator.environ())
    assert page.code == 0
    assert "Plan for jobs.csv: nothing was sent" in page.out
    assert "30" in page.out
    told = call(["plan", path, "--json"], simulator.environ())
    assert json.loads(told.out)["intentions"] == {"new": 30}
    run = call(["run", path, "--sync", "--json"], simulator.environ())
    assert (run.code, run.document()["outcomes"]["assigned"]) == (0, 30)
    again = call(["plan", path, "--json"], simulator.environ())
    assert json.loads(again.out)["intentions"] == {"unchanged": 30}


def test_a_plan_without_a_key_is_refused_in_one_line(tmp_path: Path, simulator: Service) -> None:
    """Exit 2, and no ledger is made."""
    path = write_jobs(tmp_path / "jobs.csv", make_jobs(1))
    environ = {name: value for name, value in simulator.environ().items() if name != "SEAM_API_KEY"}
    ended = call(["plan", path], {**environ, "SEAM_API_KEY": ""})
    assert ended.code == 2
    assert "No Seam key" in ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert not (tmp_path / "assign-ledger.db").exists()
