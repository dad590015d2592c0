"""A file that is handed to a fleet, and cannot be taken."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from tests.ledger.filling import NOW, row, spec, uuid
from worker.config import Settings
from worker.errors import LedgerHeldError
from worker.fleet import submit
from worker.ledger import Ledger
from worker.ledger.claims import claim_run
from worker.ledger.mode import How, Mode
from worker.ledger.opening import finish_staging
from worker.ledger.runs import create_run, list_runs
from worker.ledger.staging import stage
from worker.ledger.tables import inputs

if TYPE_CHECKING:
    from pathlib import Path

ELSEWHERE = json.dumps({"host": "elsewhere", "pid": 7, "started_at": 1.0, "machine": "another"})


def test_nothing_stays_of_a_file_whose_run_is_being_sent(tmp_path: Path, database: str) -> None:
    """The old run of its name is in another process's hands: its rows are people's, and the submit says 4."""
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text(json.dumps({"acs_credential_id": uuid(1), "acs_user_id": uuid(500), "workspace_id": uuid(1)}))
    settings = Settings.from_options(ledger=database, endpoint="http://127.0.0.1:1")
    with Ledger(database, exclusive=True) as ledger:
        run = create_run(ledger.engine, spec("jobs.jsonl", mode=Mode(How.FLEET, "allow")), now=NOW)
        assert stage(ledger.engine, run, [row(1, workspace=1), row(2, workspace=1)], now=NOW)
        finish_staging(ledger.engine, run, sha256="a" * 64, now=NOW)
        claim_run(ledger.engine, run.run_no, holder=ELSEWHERE, now=NOW)
        with pytest.raises(LedgerHeldError, match="another run works on this"):
            asyncio.run(submit(jobs, settings))
        assert [each.run_no for each in list_runs(ledger.engine)] == [run.run_no]
        with ledger.engine.connect() as connection:
            assert set(connection.execute(select(inputs.c.run_no)).scalars()) == {run.run_no}
