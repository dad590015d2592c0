"""The worker's quick path in three steps, so that each part's cost shows: client, then pipeline, then ledger.

    python ladder.py STEP URL ROWS CONCURRENCY

`client` only calls `SeamClient.assign`; `pipeline` runs the pipeline over rows in memory; `ledger` runs it over a
staged SQLite ledger, as a run does. Prints one JSON line, as the peers do. It must run in the worker's own venv.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from worker.claim import Claim, OpenRow, ShardClaim
from worker.client import SeamClient
from worker.config import Settings
from worker.ledger import Ledger, holder
from worker.ledger.claimed import ClaimedRun
from worker.ledger.claims import claim_run
from worker.ledger.mode import PLAIN
from worker.ledger.opening import finish_staging
from worker.ledger.runs import RunSpec, create_run
from worker.ledger.staging import stage
from worker.models import InputRow, Job, UserKey
from worker.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from worker.claim import Batch

KEY = "seam_bench0000_00000000000000000000"


def job_of(row: int) -> Job:
    """A row's job; the peers send the same ids."""
    return Job(
        row, row + 1, f"c0000000-0000-4000-8000-{row:012d}", UserKey.ACS_USER, f"a0000000-0000-4000-8000-{row:012d}"
    )


class Memory:
    """A `ShardSource` that keeps nothing but counts."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self.recorded = 0

    def fetch(self, shard: int, *, after_row: int, limit: int) -> Sequence[OpenRow]:
        """Rows that are made up."""
        del shard
        last = min(after_row + limit, self._rows)
        return [OpenRow(job_of(row), maybe_applied=False, attempts=0) for row in range(after_row + 1, last + 1)]

    def fetch_details_due(self, shard: int, *, after_row: int, limit: int) -> Sequence[Job]:
        """None."""
        del shard, after_row, limit
        return ()

    def write(self, batch: Batch) -> None:
        """Count the results."""
        self.recorded += len(batch.results)


def settings_for(url: str, concurrency: int) -> Settings:
    """A run's settings, but for the upper bound on requests in flight all by default."""
    return Settings.from_options(api_key=KEY, endpoint=url, concurrency=concurrency)


async def _client(rows: int, concurrency: int, client: SeamClient, _settings: Settings) -> None:
    left = iter(range(1, rows + 1))

    async def work() -> None:
        for row in left:
            await client.assign(job_of(row))

    await asyncio.gather(*(work() for _ in range(concurrency)))


async def _pipeline(rows: int, _concurrency: int, client: SeamClient, settings: Settings) -> None:
    claim = Claim(
        1, "bench", (ShardClaim(shard=0, workspace_id=None, epoch=1, dispatched_through=0, rows=rows, carried=()),)
    )
    source = Memory(rows)
    await Pipeline(claim, source, client, settings.sending).run()
    if source.recorded != rows:
        raise RuntimeError(f"{source.recorded} of {rows} rows were recorded")


def _inputs(rows: int) -> Iterator[InputRow]:
    for row in range(1, rows + 1):
        job = job_of(row)
        yield InputRow(job, json.dumps([job.acs_credential_id, job.user_id]))


def stage_rows(ledger: Ledger, rows: int) -> Claim:
    """Stage so many rows and claim them."""
    spec = RunSpec(
        name="bench",
        input_name="bench.csv",
        input_format="csv",
        header=("acs_credential_id", "acs_user_id"),
        parse_options="{}",
        mode=PLAIN,
        endpoint="bench",
        workspace_id=None,
        settings="{}",
    )
    run = create_run(ledger.engine, spec, now=time.time())
    stage(ledger.engine, run, _inputs(rows), now=time.time())
    finish_staging(ledger.engine, run, sha256="bench", now=time.time())
    return claim_run(ledger.engine, run.run_no, holder=holder(), now=time.time())


async def _measure(step: str, url: str, rows: int, concurrency: int) -> dict[str, Any]:
    settings = settings_for(url, concurrency)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder, Ledger(f"{folder}/bench.db", exclusive=True) as ledger:
        go: Callable[[], Awaitable[object]]
        async with SeamClient(settings.target, concurrency=concurrency, timeout=30.0) as client:
            if step == "ledger":
                claim = stage_rows(ledger, rows)
                source = ClaimedRun(ledger.engine, claim)
                go = Pipeline(claim, source, client, settings.sending).run
            else:
                run = {"client": _client, "pipeline": _pipeline}[step]

                async def go() -> None:
                    await run(rows, concurrency, client, settings)

            await _client(min(rows // 10, 1000), concurrency, client, settings)
            wall, cpu = time.perf_counter(), time.process_time()
            await go()
            seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"requests": rows, "seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mib": peak}


def main() -> None:
    """Measure one step."""
    step, url, rows, concurrency = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    print(json.dumps(uvloop.run(_measure(step, url, rows, concurrency))))


if __name__ == "__main__":
    main()
