"""What `run_batch` promises: resume, finished inputs, workspaces, takeovers, deadlines, paths."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from sqlalchemy import select

from worker import Control, Outcome, Settings, run_batch
from worker.errors import ConfigError, LedgerHeldError, UsageError
from worker.ledger import Ledger
from worker.ledger.tables import inputs, runs
from worker.models import Call, StopCause
from worker.simulator import API_KEY, WORKSPACE_ID, RunningSimulator, Simulator, SimulatorSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from worker import Progress, RunReport
    from worker.models import Attempt

OTHER_WORKSPACE = "5eed0000-0000-4000-8000-0000000000ff"
OTHER_KEY = "seam_other_key"
TOKEN = "seam_at_token_of_many"


def uuid(number: int) -> str:
    """A UUID that shows its number."""
    return str(UUID(int=number))


def write(path: Path, rows: Sequence[tuple[int, int]], *, workspaces: Sequence[str] = ()) -> Path:
    """A CSV of (credential, person) rows."""
    lines = ["acs_credential_id,acs_user_id" + (",workspace_id" if workspaces else "")]
    for index, (credential, person) in enumerate(rows):
        lines.append(",".join([uuid(credential), uuid(person), *workspaces[index : index + 1]]))
    path.write_text("\n".join(lines) + "\n")
    return path


@asynccontextmanager
async def service(**values: Any) -> AsyncIterator[RunningSimulator]:
    """A simulator that knows two keys and a token for every workspace."""
    access = {
        "api_keys": {API_KEY: WORKSPACE_ID, OTHER_KEY: OTHER_WORKSPACE},
        "personal_access_tokens": {TOKEN: []},
    }
    async with Simulator(SimulatorSettings().patched({"access": access, **values})).serve() as server:
        yield server


class Where:
    """The ledger of the test under way."""

    ledger: str | None = None
    """None is the file beside the input."""


@pytest.fixture(autouse=True, params=["sqlite", "postgresql"])
def on_each_store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every test here runs on both stores."""
    monkeypatch.chdir(tmp_path)  # what stands beside a ledger stands here where that is on a server
    if request.param == "postgresql":
        monkeypatch.setattr(Where, "ledger", request.getfixturevalue("database"))


def settings(server: RunningSimulator, **options: Any) -> Settings:
    """Settings for that service, quick to give up."""
    options = {"ledger": Where.ledger, **options}
    key = {} if "personal_access_token" in options else {"api_key": options.pop("api_key", API_KEY)}
    return Settings.from_options(**{"endpoint": server.url, "timeout": 2, "concurrency": 16, **key, **options})


def settings_of(option: str, value: Any) -> Settings:
    """Settings with one option."""
    options: dict[str, Any] = {"api_key": API_KEY, option: value}
    return Settings.from_options(**options)


def assigns(server: RunningSimulator) -> Counter[str]:
    """Credential -> how often it was sent."""
    return Counter(event["credential"] for event in server.events() if event["kind"] == "received")


async def seed(server: RunningSimulator, path: Path, **options: Any) -> RunReport:
    """One run in which each credential becomes known to the workspace."""
    return await run_batch(path, settings(server, **options))


def stopped_at(row: int) -> dict[str, Any]:
    """Arguments of `run_batch` by which SIGTERM comes as soon as this row was answered."""
    control = Control()

    def observe(_run: str, answered: int | None, _number: int, _attempt: object) -> None:
        if answered == row:
            control.stop(StopCause.SIGTERM)

    return {"control": control, "observers": (observe,)}


async def test_a_workspace_without_credentials_is_its_own(tmp_path: Path) -> None:
    """A token names it, nothing was assigned in it yet, and the run that was stopped goes on."""
    token = {"personal_access_token": TOKEN, "workspace_id": WORKSPACE_ID}
    async with service() as server:
        jobs, control = write(tmp_path / "jobs.csv", [(1, 100), (2, 100)]), Control()

        async def no(_intent: object) -> bool:
            control.stop(StopCause.SIGTERM)
            return False

        stopped = await run_batch(jobs, settings(server, **token), control=control, confirm=no)
        report = await run_batch(jobs, settings(server, **token))
    assert stopped.outcomes == {Outcome.PENDING: 2}
    assert (report.run_id, report.exit_code) == (stopped.run_id, 0)


async def test_a_finished_input_is_not_sent_again(tmp_path: Path) -> None:
    """The second call says so; `again` sends it anew."""
    jobs = write(tmp_path / "jobs.csv", [(1, 100), (2, 100)])
    async with service() as server:
        first = await run_batch(jobs, settings(server))
        second = await run_batch(jobs, settings(server))
        assert assigns(server) == {uuid(1): 1, uuid(2): 1}
        third = await run_batch(jobs, settings(server), again=True)
        assert assigns(server) == {uuid(1): 2, uuid(2): 2}
    assert first.run_id == second.run_id != third.run_id
    assert (first.exit_code, second.exit_code, third.exit_code) == (0, 0, 0)
    assert any("--again" in note for note in second.notes)


async def test_a_deadline_stops_the_run_resumable(tmp_path: Path) -> None:
    """Exit 3, the rest pending, and the same call goes on."""
    jobs = write(tmp_path / "jobs.csv", [(number, 100) for number in range(1, 301)])
    async with service(limit={"kind": "token_bucket", "rate": 100, "burst": 1}) as server:
        first = await run_batch(jobs, settings(server, deadline="1s"))
        await_all = await run_batch(jobs, settings(server))
        assert set(assigns(server).values()) == {1}
    assert first.exit_code == 3
    assert [stop.cause for stop in first.stops] == [StopCause.DEADLINE]
    assert first.outcomes[Outcome.PENDING] > 100
    assert (await_all.exit_code, await_all.outcomes[Outcome.ASSIGNED]) == (0, 300)
    assert first.run_id == await_all.run_id


async def test_a_row_of_another_workspace_is_invalid_and_never_sent(tmp_path: Path) -> None:
    """An API key opens one workspace, which the service tells before the first send."""
    jobs = write(tmp_path / "jobs.csv", [(1, 100), (2, 100)], workspaces=[WORKSPACE_ID, OTHER_WORKSPACE])
    async with service() as server:
        await run_batch(write(tmp_path / "seed.csv", [(9, 100)]), settings(server))
        report = await run_batch(jobs, settings(server))
        assert uuid(2) not in assigns(server)
    assert (report.outcomes[Outcome.ASSIGNED], report.outcomes[Outcome.INVALID]) == (1, 1)


async def test_a_key_of_another_workspace_does_not_go_on_with_the_run(tmp_path: Path) -> None:
    """Exit 2: the unfinished run belongs to the first key's workspace."""
    jobs = write(tmp_path / "jobs.csv", [(number, 100) for number in range(1, 101)])
    async with service(limit={"kind": "token_bucket", "rate": 50, "burst": 1}) as server:
        for key in (API_KEY, OTHER_KEY):
            await run_batch(write(tmp_path / f"{key}.csv", [(900 + len(key), 100)]), settings(server, api_key=key))
        await run_batch(jobs, settings(server), **stopped_at(10))
        before = assigns(server).total()
        with pytest.raises(ConfigError, match=f"workspace {WORKSPACE_ID}, and the key is for {OTHER_WORKSPACE}"):
            await run_batch(jobs, settings(server, api_key=OTHER_KEY))
        assert assigns(server).total() == before


async def test_what_another_key_may_have_sent_is_not_told_to_be_invalid(tmp_path: Path) -> None:
    """A token's run left rows of a second workspace in doubt: the first one's key does not go on with it."""
    async with service() as server:
        for key in (API_KEY, OTHER_KEY):
            known = write(tmp_path / f"{key}.csv", [(9 if key == API_KEY else 10, 100)])
            await seed(server, known, api_key=key, ledger=tmp_path / "seed.db")
        places = [WORKSPACE_ID, OTHER_WORKSPACE, OTHER_WORKSPACE]
        jobs = write(tmp_path / "jobs.csv", [(1, 100), (2, 100), (3, 100)], workspaces=places)
        server.configure({"faults": {"shares": {"http_503": 1.0}, "times": 0, "applied_share": 1.0}})
        control, sent = Control(), [0]

        def observe(_run: str, _row: int | None, _number: int, attempt: Attempt) -> None:
            sent[0] += attempt.call is Call.ASSIGN
            if sent[0] == 1:  # before the first of them can be read back
                server.configure({"read_faults": {"shares": {"http_503": 1.0}, "times": 0}})
            if sent[0] == 3:
                control.stop(StopCause.SIGTERM)

        token = settings(server, personal_access_token=TOKEN, workspace_id=WORKSPACE_ID)
        stopped = await run_batch(jobs, token, control=control, observers=(observe,))
        assert stopped.outcomes == {Outcome.IN_DOUBT: 3}
        server.configure({section: {"shares": {"http_503": 0.0}} for section in ("faults", "read_faults")})
        with pytest.raises(ConfigError, match=f"row 2 of run .* is of workspace {OTHER_WORKSPACE} and may have been"):
            await run_batch(jobs, settings(server))
        report = await run_batch(jobs, token)
    assert report.outcomes == {Outcome.ASSIGNED: 3}


async def test_one_token_serves_every_workspace_of_a_file(tmp_path: Path) -> None:
    """Each workspace is a lane of its own; the report counts by workspace."""
    spaces = [WORKSPACE_ID, OTHER_WORKSPACE] * 20
    jobs = write(tmp_path / "jobs.csv", [(number, 100) for number in range(1, 41)], workspaces=spaces)
    async with service() as server:
        report = await run_batch(jobs, settings(server, personal_access_token=TOKEN, workspace_id=WORKSPACE_ID))
        sent = Counter(event["workspace"] for event in server.events() if event["kind"] == "received")
    assert report.exit_code == 0
    assert sent == {WORKSPACE_ID: 20, OTHER_WORKSPACE: 20}
    assert len(report.workspaces) == 2


async def test_a_default_key_that_opens_no_row_does_not_hold_up_the_run(tmp_path: Path) -> None:
    """Its workspace holds no credential, every row is of another one, which has a key: the stopped run goes on."""
    rows = [(number, 100) for number in range(1, 61)]
    jobs = write(tmp_path / "jobs.csv", rows, workspaces=[OTHER_WORKSPACE] * 60)
    async with service(limit={"kind": "token_bucket", "rate": 100, "burst": 1}) as server:
        keys = settings(server, workspace_keys={OTHER_WORKSPACE: OTHER_KEY})
        stopped = await run_batch(jobs, keys, **stopped_at(10))
        report = await run_batch(jobs, keys)
        assert set(assigns(server).values()) == {1}
    assert stopped.outcomes[Outcome.PENDING] > 0
    assert (report.run_id, report.outcomes) == (stopped.run_id, {Outcome.ASSIGNED: 60})


@pytest.mark.parametrize("where", ["worker.intake.finish_staging", "worker.session.ask_workspace"])
async def test_an_input_that_could_not_be_opened_does_not_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Its rows are people's; whatever came up when they had been read, the next call begins anew."""

    def held(*_: object, **__: object) -> None:
        raise LedgerHeldError("run 5 works on the same workspace")

    jobs = write(tmp_path / "jobs.csv", [(1, 100), (2, 100)])
    async with service() as server:
        with monkeypatch.context() as patched:
            patched.setattr(where, held)
            with pytest.raises(LedgerHeldError, match="run 5"):
                await run_batch(jobs, settings(server))
        place = Where.ledger or str(tmp_path / "assign-ledger.db")
        with Ledger(place, exclusive=False) as ledger, ledger.engine.connect() as connection:
            for table in (runs, inputs):
                assert connection.execute(select(table)).all() == []
        report = await run_batch(jobs, settings(server))
    assert report.exit_code == 0


async def test_a_refused_takeover_is_a_conflict(tmp_path: Path) -> None:
    """With `takeover=refuse` somebody else's credential is left alone, and one's own is unchanged."""
    first = write(tmp_path / "first.csv", [(1, 100), (2, 100)])
    second = write(tmp_path / "second.csv", [(1, 200), (2, 100), (3, 200)])
    async with service() as server:
        await run_batch(first, settings(server))
        report = await run_batch(second, settings(server, takeover="refuse"))
        owners = {each["acs_credential_id"]: each["acs_user_id"] for each in server.owners()}
    assert report.outcomes[Outcome.CONFLICT] == 1
    assert report.outcomes[Outcome.UNCHANGED] == 1
    assert report.outcomes[Outcome.ASSIGNED] == 1
    assert owners == {uuid(1): uuid(100), uuid(2): uuid(100), uuid(3): uuid(200)}
    assert report.exit_code == 1


async def test_a_changed_file_goes_on_by_content(tmp_path: Path) -> None:
    """A line is added while the run is unfinished: what was assigned is not sent again."""
    rows = [(number, 100) for number in range(1, 201)]
    jobs = write(tmp_path / "jobs.csv", rows)
    async with service(limit={"kind": "token_bucket", "rate": 100, "burst": 1}) as server:
        first = await run_batch(jobs, settings(server), **stopped_at(20))
        settled = first.outcomes[Outcome.ASSIGNED]
        server.configure({"limit": {"kind": "none"}})
        write(jobs, [(777, 100), *rows])
        second = await run_batch(jobs, settings(server))
        assert set(assigns(server).values()) == {1}
    assert first.run_id != second.run_id
    assert second.outcomes[Outcome.UNCHANGED] == settled > 0
    assert second.outcomes[Outcome.ASSIGNED] == 201 - settled
    assert second.exit_code == 0


async def test_recover_reads_every_open_row_back(tmp_path: Path) -> None:
    """A ledger from a backup: what was sent since is found by reading, and not sent again."""
    if Where.ledger is not None:
        pytest.skip("a backup of a server is another matter: tests/ledger/test_postgres.py")
    jobs = write(tmp_path / "jobs.csv", [(number, 100) for number in range(1, 61)])
    ledger = tmp_path / "assign-ledger.db"
    async with service(limit={"kind": "token_bucket", "rate": 60, "burst": 1}) as server:
        await run_batch(jobs, settings(server, deadline="0.3s"))
        backup = ledger.read_bytes()
        server.configure({"limit": {"kind": "none"}})
        await run_batch(jobs, settings(server))
        sent = assigns(server).total()
        ledger.write_bytes(backup)
        for ending in ("-wal", "-shm"):
            (tmp_path / f"{ledger.name}{ending}").unlink(missing_ok=True)
        report = await run_batch(jobs, settings(server), recover=True)
        assert assigns(server).total() == sent == 60
    assert report.exit_code == 0
    assert report.outcomes[Outcome.UNCHANGED] + report.outcomes[Outcome.ASSIGNED] == 60


async def test_what_another_run_left_in_doubt_meanwhile_is_read_before_it_is_sent(tmp_path: Path) -> None:
    """A stopped run goes on after another one had its last credential in hand, and had it applied."""
    async with service() as server:
        jobs = write(tmp_path / "a.csv", [(number, 100) for number in range(1, 21)])
        await run_batch(jobs, settings(server, concurrency=1), **stopped_at(2))
        unknown: dict[str, Any] = {"shares": {"http_503": 1.0}, "times": 0, "applied_share": 1.0}
        unread: dict[str, Any] = {"shares": {"invalid_400": 1.0}, "times": 0}
        server.configure({"faults": unknown, "read_faults": unread})
        other = await run_batch(write(tmp_path / "b.csv", [(20, 100)]), settings(server, timeout=1))
        assert other.outcomes == {Outcome.IN_DOUBT: 1}
        server.configure({"faults": {"shares": {"http_503": 0.0}}, "read_faults": {"shares": {"invalid_400": 0.0}}})
        before = assigns(server)[uuid(20)]
        report = await run_batch(jobs, settings(server))
        assert assigns(server)[uuid(20)] == before
    assert report.outcomes == {Outcome.ASSIGNED: 19, Outcome.UNCHANGED: 1}


async def test_details_follow_void_replies(tmp_path: Path) -> None:
    """`{}` and an empty body count as success; what they left out is read afterwards."""
    jobs = write(tmp_path / "jobs.csv", [(number, 100) for number in range(1, 21)])
    async with service(void={"empty_object": 0.5, "empty_body": 0.5}) as server:
        report = await run_batch(jobs, settings(server, results=tmp_path / "r.jsonl"))
    records = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert report.exit_code == 0
    assert {record["assigned_acs_user_id"] for record in records} == {uuid(100)}
    assert all(record["access_method"] for record in records)


@pytest.mark.parametrize("option", ["results", "ledger"])
async def test_no_file_of_a_run_overwrites_another(tmp_path: Path, option: str) -> None:
    """`--results` or `--ledger` equal to the input is refused before anything is opened."""
    jobs = write(tmp_path / "jobs.csv", [(1, 100)])
    content = jobs.read_bytes()
    with pytest.raises(UsageError, match="input itself"):
        await run_batch(jobs, settings_of(option, tmp_path / "." / "jobs.csv"))
    assert jobs.read_bytes() == content


async def test_progress_is_told_and_a_stop_is_obeyed(tmp_path: Path) -> None:
    """`watch` sees the phases; `control` drains from outside."""
    jobs = write(tmp_path / "jobs.csv", [(number, 100) for number in range(1, 401)])
    control, phases = Control(), []

    def watch(progress: Progress) -> None:
        phases.append(progress.phase)
        if progress.done > 20 and progress.phase == "sending":
            control.stop(StopCause.SIGTERM)

    async with service(limit={"kind": "token_bucket", "rate": 100, "burst": 1}) as server:
        report = await run_batch(jobs, settings(server), control=control, watch=watch)
    assert report.exit_code == 143
    assert report.outcomes[Outcome.PENDING] > 0
    assert report.outcomes[Outcome.IN_DOUBT] == 0
    assert list(dict.fromkeys(phases)) == ["staging", "connecting", "sending", "exporting"]
