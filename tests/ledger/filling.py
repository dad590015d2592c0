"""Short ways to put runs into a ledger."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

from worker.claim import Batch, Claim
from worker.ledger import holder
from worker.ledger.chains import chain_of
from worker.ledger.claims import claim_run
from worker.ledger.mode import PLAIN
from worker.ledger.opening import finish_staging
from worker.ledger.retries import Choice, create_retry
from worker.ledger.runs import Run, RunSpec, create_run, note_stop
from worker.ledger.staging import stage
from worker.ledger.writing import ShardWriter
from worker.models import InputRow, Job, Outcome, RejectedRow, Result, UserKey

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Engine

NOW = 1_800_000_000.0


def uuid(number: int) -> str:
    """A UUID that shows its number."""
    return str(UUID(int=number))


def row(  # noqa: PLR0913 - one row's columns
    number: int,
    *,
    credential: int | None = None,
    person: int = 500,
    identity: bool = False,
    workspace: int | None = None,
    reason: str | None = None,
) -> InputRow:
    """One input row; `reason` makes it a rejected one."""
    cells = json.dumps([uuid(credential or number), uuid(person)])
    if reason is not None:
        return InputRow(RejectedRow(number, number + 1, reason), cells)
    return InputRow(
        Job(
            number,
            number + 1,
            uuid(credential or number),
            UserKey.USER_IDENTITY if identity else UserKey.ACS_USER,
            uuid(person),
            None if workspace is None else uuid(workspace),
        ),
        cells,
    )


def spec(name: str = "jobs.csv", **changed: Any) -> RunSpec:
    """What a run is made from."""
    fields: dict[str, Any] = {
        "parse_options": "{}",
        "mode": PLAIN,
        "endpoint": "http://127.0.0.1:1",
        "workspace_id": None,
        "settings": "{}",
        "kind": "run",
        **changed,
    }
    return RunSpec(name, name, "csv", ("acs_credential_id", "acs_user_id"), **fields)


def staged(
    engine: Engine, rows: Iterable[InputRow], *, now: float = NOW, sha256: str = "a" * 64, **changed: Any
) -> Run:
    """A run with these rows, open for sending."""
    run = create_run(engine, spec(**changed), now=now)
    assert stage(engine, run, rows, now=now)
    return finish_staging(engine, run, sha256=sha256, now=now)


def claimed(engine: Engine, run: Run, *, now: float = NOW) -> tuple[Claim, ShardWriter]:
    """The run taken by this process, and its writer."""
    claim = claim_run(engine, run.run_no, holder=holder(), now=now)
    return claim, ShardWriter(engine, claim)


def result(number: int, outcome: Outcome = Outcome.ASSIGNED, **changed: Any) -> Result:
    """A row's final word."""
    return Result(number, outcome, attempts=1, finished_at=NOW, started_at=NOW - 1, duration_ms=1000)._replace(
        **changed
    )


def settle(engine: Engine, run: Run, *results: Result, through: int, now: float = NOW) -> None:
    """One execution that marks up to `through`, writes these results and dies."""
    claim, writer = claimed(engine, run, now=now)
    writer.write(Batch(results=results, marks={claim.shards[0].shard: through}))
    writer.close()


def finished(engine: Engine, run: Run, *results: Result, now: float = NOW) -> Run:
    """The run executed to its end, with these results."""
    settle(engine, run, *results, through=max(each.row for each in results), now=now)
    return note_stop(engine, run.run_no, finished=True, cause=None, message=None, seconds=1.0, now=now)


def retried(engine: Engine, run: Run, choice: Choice | None = None, *, now: float = NOW) -> Run:
    """A retry of a run's chain, open for sending."""
    chain = chain_of(engine, run.run_no)
    made = spec(run.name, kind="retry", parent_no=chain.root.run_no)
    return create_retry(engine, chain, choice or Choice(), made, now=now)
