"""Runs in a process with the shim in it: forks runs whose disk fails or loses its power, and resumes them.

    python -m tests.disk.preloaded failing FOLDER HOW STEP          every STEP-th write or sync fails, each in a run
    python -m tests.disk.preloaded dying FOLDER TIMES SEED          the power goes at TIMES random moments
    python -m tests.disk.preloaded recorded FOLDER SYNCHRONOUS      one whole run, its record in FOLDER/record

Prints a line of JSON with the figures; each problem is a line of its own before it.
"""

from __future__ import annotations

import json
import os
import sys
from itertools import count
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

from sqlalchemy import event
from sqlalchemy.pool import Pool

from tests.disk.durable import Durable, missing, report_durable
from tests.disk.lost import after_power_loss, notes_before, read_record
from tests.disk.shim import How, Shim
from tests.soak.children import fork_run, wait_for
from tests.soak.ground import Ground, Server, make_input, simulator
from tests.soak.oracle import compare, fetch_events, read_results
from worker.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS: Final = 12
NAME: Final = "ledger.db"
_FAULTS: Final = {"faults": {"shares": {"reset_after": 0.15, "truncated_json": 0.15, "http_500": 0.1}}}
_CHECKPOINT: Final = 12
"""Pages in the WAL that make SQLite carry them over into the database, so that small runs do it too."""


class Trial:
    """One run on a ground of its own, against a simulator that others use too."""

    def __init__(self, folder: Path, server: Server, shim: Shim, *, seed: int, rows: int = ROWS) -> None:
        folder.mkdir()
        self.ground = Ground(folder.resolve(), server, make_input(folder / "jobs.jsonl", rows, seed=seed))
        self.record = folder / "record"
        self._shim = shim
        self._seen = 0

    def see(self) -> None:
        """Count the service's events from here."""
        events = fetch_events(self.ground.server.url)
        self._seen = events[-1]["seq"] if events else 0

    def events(self) -> list[dict[str, Any]]:
        """The service's, since `see`."""
        return fetch_events(self.ground.server.url, after=self._seen)

    def run(self, before: Callable[[], None] | None = None) -> int:
        """A run in a forked child; its exit code."""
        return wait_for(fork_run(self.ground, concurrency=4, timeout=0.5, before=before))

    def run_on(self, how: How, at: int = 0, *, synchronous: str | None = None) -> int:
        """A run on a disk that is watched, its reports and writes recorded; `synchronous` in place of its own."""
        descriptor = os.open(self.record, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)

        def before() -> None:
            report_durable(self._shim.note)
            pragmas = [f"wal_autocheckpoint={_CHECKPOINT}"]
            pragmas += [] if synchronous is None else [f"synchronous={synchronous}"]
            event.listen(Pool, "checkout", lambda connection, *_: _configure(connection, pragmas))
            self._shim.watch(self.ground.folder, NAME, at=at, how=how, record_to=descriptor)

        try:
            return self.run(before)
        finally:
            os.close(descriptor)

    def durable(self) -> Durable:
        """What the recorded run reported."""
        return Durable.of(notes_before(read_record(self.record)))

    def said(self) -> str:
        """The messages of runs that ended by an exception."""
        path = self.ground.folder / "errors.txt"
        return path.read_text() if path.exists() else ""

    def problems_after_resuming(self) -> list[str]:
        """Run once more on a sound disk, and compare with the truth."""
        code = self.run()
        if code != 0:
            return [f"the run after it ended with {code}: {self.said()[-600:]}"]
        findings = compare(self.ground.rows, read_results(self.ground.results), self.events())
        return [] if findings.clean else [repr(findings)]


def _configure(connection: Any, pragmas: list[str]) -> None:
    for pragma in pragmas:
        connection.execute(f"PRAGMA {pragma}")


def failing(folder: Path, shim: Shim, how: How, step: int) -> dict[str, int]:
    """Every `step`-th write or sync of a run fails, each in a run of its own."""
    codes: dict[str, int] = {}
    problems = tried = 0
    with simulator(folder, _FAULTS) as server:
        for at in count(1, step):
            trial = Trial(folder / str(at), server, shim, seed=at * 10 + how)
            trial.see()
            code = trial.run_on(how, at)
            if shim.count() < at:
                break
            tried += 1
            codes[str(code)] = codes.get(str(code), 0) + 1
            sent = any(seen["kind"] == "received" for seen in trial.events())
            found = [] if code in {0, 3} or (code == 2 and not sent) else [f"exit {code}: {trial.said()[-1500:]}"]
            if code in {2, 3} and len(trial.said().splitlines()) != 1:
                found.append(f"exit {code} without a clear message: {trial.said()!r}")
            if trial.ground.ledger.exists() and trial.durable().outcomes:
                found += missing(trial.ground.ledger, trial.durable())
            found += trial.problems_after_resuming()
            problems += len(found)
            for problem in found:
                _tell(f"{how.name} at {at}: {problem}")
    return {"tried": tried, "problems": problems, **{f"exit {code}": number for code, number in codes.items()}}


def dying(folder: Path, shim: Shim, times: int, seed: int) -> dict[str, int]:
    """The power goes at random moments: some writes are lost, and the run is resumed on what is left."""
    random = Random(seed)  # noqa: S311 - moments, no secret
    problems = died = reported = 0
    with simulator(folder, _FAULTS) as server:
        operations = 0
        for number in range(times + 1):
            trial = Trial(folder / str(number), server, shim, seed=seed * 100_003 + number)
            Ledger(str(trial.ground.ledger), exclusive=True).close()
            base = trial.ground.ledger.read_bytes()
            trial.see()
            at = random.randint(1, operations) if operations else 0
            died += trial.run_on(How.DIE, at) < 0
            operations = operations or shim.count()  # the first one lives, and tells how many there are
            record = read_record(trial.record)
            durable = Durable.of(notes_before(record))
            reported += len(durable.outcomes)
            after_power_loss(record, base, trial.ground.ledger, random)
            found = missing(trial.ground.ledger, durable)
            found += trial.problems_after_resuming()
            problems += len(found)
            for problem in found:
                _tell(f"power loss {number} (seed {seed}, at {at}): {problem}")
    return {"cases": times + 1, "died": died, "rows reported": reported, "problems": problems}


def recorded(folder: Path, shim: Shim, synchronous: str) -> dict[str, int]:
    """One whole run, for `tests.disk.lost`; the database as it began is beside the record."""
    with simulator(folder, _FAULTS) as server:
        trial = Trial(folder / "run", server, shim, seed=1, rows=300)
        Ledger(str(trial.ground.ledger), exclusive=True).close()
        (folder / "base").write_bytes(trial.ground.ledger.read_bytes())
        code = trial.run_on(How.COUNT, synchronous=synchronous)
    trial.record.rename(folder / "record")
    return {"code": code, "operations": shim.count()}


def _tell(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a command


def main(arguments: list[str]) -> None:
    """Do what the module's docstring says."""
    what, folder, shim = arguments[0], Path(arguments[1]), Shim()
    # Only what a run does is watched, and no child of this process is to be preloaded.
    os.environ.pop("LD_PRELOAD", None)
    folder.mkdir(parents=True, exist_ok=True)
    # Shorter waits, since these runs are about disks.
    with patch("worker.retry.BACKOFF_BASE", 0.02), patch("worker.breaker.PROBE_FIRST", 0.05):
        match what:
            case "failing":
                figures = failing(folder, shim, How[arguments[2]], int(arguments[3]))
            case "dying":
                figures = dying(folder, shim, int(arguments[2]), int(arguments[3]))
            case _:
                figures = recorded(folder, shim, arguments[2])
    _tell(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1:])
