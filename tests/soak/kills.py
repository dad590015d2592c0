"""kill -9 at random moments, again and again, until the run ends; SIGTERM likewise; then the oracle."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Final

import psycopg

from tests.soak.children import fork_run, wait_for
from tests.soak.ground import Ground, make_input, simulator
from tests.soak.oracle import Findings, compare, fetch_events, read_results
from worker.models import Step
from worker.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = [
    "FAULTS",
    "Tally",
    "die_after",
    "die_at_steps",
    "in_doubt_now",
    "kill_until_done",
    "soak",
    "terminate_until_done",
]

CONCURRENCY: Final = 32
WINDOW: Final = Window(CONCURRENCY).size
"""The most rows that a crash may leave in doubt."""
TIMEOUT: Final = 1.0
LONGEST_DRAIN: Final = TIMEOUT + 2.0
STEP_TIMEOUT: Final = 0.3
_OCCURS: Final = {
    Step.AFTER_MARK: 2,
    Step.AFTER_SEND: 20,
    Step.AFTER_REPLY: 20,
    Step.BEFORE_COMMIT: 4,
    Step.AFTER_COMMIT: 3,
    Step.DURING_EXPORT: 1,
}
"""So often at least is a step reached in a small run."""
LONGEST_LIFE: Final = 1.8
"""Seconds after which a child has been killed at the latest."""

FAULTS: Final[Mapping[str, Any]] = {
    "latency": {"median": 0.01, "sigma": 0.5},
    "world": {"unknown_users": 0.01, "warnings": 0.1, "identity_on_credential": False},
    "void": {"ok_only": 0.1, "empty_body": 0.05},
    "limit": {"kind": "token_bucket", "rate": 1200, "burst": 200},
    "faults": {
        "shares": {
            "http_500": 0.03,
            "http_503": 0.02,
            "reset_before": 0.02,
            "reset_after": 0.02,
            "reset_mid_body": 0.01,
            "never": 0.01,
            "truncated_json": 0.01,
            "not_ok": 0.01,
            "other_user": 0.01,
            "stray_close": 0.02,
        },
        "applied_share": 0.5,
        "error_form": "mixed",
    },
    "read_faults": {"shares": {"http_500": 0.05, "reset": 0.03}},
}


@dataclass
class Tally:
    """Over all runs of a soak."""

    runs: int = 0
    kills: int = 0
    terms: int = 0
    rows: int = 0
    most_in_doubt: int = 0
    longest_drain: float = 0.0
    findings: list[Findings] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether every promise held."""
        return not self.problems and all(each.clean for each in self.findings)

    def lines(self) -> list[str]:
        """For people."""
        return [
            f"runs                {self.runs}",
            f"kills               {self.kills}",
            f"terms               {self.terms}, longest drain {self.longest_drain:.2f} s (allowed {LONGEST_DRAIN} s)",
            f"rows                {self.rows}",
            f"lost                {sum(len(each.lost) for each in self.findings)}",
            f"untrue              {sum(len(each.untrue) for each in self.findings)}",
            f"unverified resends  {sum(len(each.unverified_resends) for each in self.findings)}",
            f"resends             {sum(each.resends for each in self.findings)}",
            f"most in doubt       {self.most_in_doubt} (window {WINDOW})",
            *self.problems,
            *(line for each in self.findings for line in (*each.untrue[:5], *each.unverified_resends[:5])),
        ]

    def close_run(self, ground: Ground, seed: int) -> None:
        """Compare an ended run with the truth."""
        self.runs += 1
        self.rows += len(ground.rows)
        self.findings.append(compare(ground.rows, read_results(ground.results), fetch_events(ground.server.url)))
        if self.most_in_doubt > WINDOW:
            self.problems.append(f"seed {seed}: {self.most_in_doubt} rows in doubt, window {WINDOW}")

    def note_end(self, ground: Ground, code: int, seed: int) -> None:
        """A child that was not killed has to end with 0 or 1."""
        if code not in {0, 1}:
            errors = ground.folder / "errors.txt"
            said = errors.read_text()[-800:] if errors.exists() else ""
            self.problems.append(f"seed {seed}: exit {code}: {said}")


_IN_DOUBT: Final = (
    "SELECT count(*) FROM inputs JOIN shards USING (run_no, shard) JOIN runs USING (run_no) "
    "LEFT JOIN results ON results.run_no = inputs.run_no AND results.row = inputs.row "
    "WHERE runs.state = 'open' AND inputs.row <= dispatched_through AND results.row IS NULL"
)


def in_doubt_now(ground: Ground) -> int:
    """Rows within the mark and without a result, of a ledger whose process is dead."""
    if ground.database is not None:
        with psycopg.connect(ground.database, options="-c search_path=assign_worker") as server:
            made = server.execute("SELECT to_regclass('runs')").fetchone()
            found = server.execute(_IN_DOUBT).fetchone() if made != (None,) else None
            return 0 if found is None else int(found[0])
    ledger = ground.ledger
    if not ledger.exists() or ledger.stat().st_size == 0:
        return 0
    with closing(sqlite3.connect(ledger)) as connection:
        (count,) = connection.execute(_IN_DOUBT).fetchone()
    return int(count)


def die_after(seconds: float, pid: int, with_signal: int) -> bool:
    """Send the signal after so long, unless the child has ended before; whether it was sent."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return False
        time.sleep(0.005)
    os.kill(pid, with_signal)
    return True


def kill_until_done(  # noqa: PLR0913 - what a run of the soak varies
    folder: Path,
    tally: Tally,
    *,
    kills: int,
    seed: int,
    rows: int = 2000,
    faults: Mapping[str, Any] = FAULTS,
    database: str | None = None,
) -> None:
    """One run, killed up to `kills` times at random moments, then left to end; its findings go into `tally`."""
    random = Random(seed)  # noqa: S311 - moments, no secret
    folder.mkdir(parents=True, exist_ok=True)
    asked = make_input(folder / "jobs.jsonl", rows, seed=seed)
    with simulator(folder, {**faults, "seed": seed}) as server:
        ground = Ground(folder, server, asked, database)
        killed = 0
        while True:
            pid = fork_run(ground, concurrency=CONCURRENCY, timeout=TIMEOUT)
            if killed < kills:
                killed += die_after(random.uniform(0.0, LONGEST_LIFE), pid, signal.SIGKILL)
            code = wait_for(pid)
            if code != -signal.SIGKILL:
                break
            tally.most_in_doubt = max(tally.most_in_doubt, in_doubt_now(ground))
        tally.kills += killed
        tally.note_end(ground, code, seed)
        tally.close_run(ground, seed)


def terminate_until_done(folder: Path, tally: Tally, *, terms: int, seed: int, rows: int = 2000) -> None:
    """One run, stopped in order by SIGTERM up to `terms` times, each exit in time and with 143, or by its own end."""
    random = Random(seed)  # noqa: S311 - moments, no secret
    folder.mkdir(parents=True, exist_ok=True)
    asked = make_input(folder / "jobs.jsonl", rows, seed=seed)
    with simulator(folder, {**FAULTS, "seed": seed}) as server:
        ground = Ground(folder, server, asked)
        stopped = 0
        while True:
            pid = fork_run(ground, concurrency=CONCURRENCY, timeout=TIMEOUT)
            asked_at = None
            if stopped < terms and die_after(random.uniform(0.15, LONGEST_LIFE), pid, signal.SIGTERM):
                asked_at = time.monotonic()
                stopped += 1
            code = wait_for(pid)
            if asked_at is not None:
                took = time.monotonic() - asked_at
                tally.longest_drain = max(tally.longest_drain, took)
                if took > LONGEST_DRAIN:
                    tally.problems.append(f"seed {seed}: a drain took {took:.2f} s")
            if code not in {143, -signal.SIGTERM}:
                break
        tally.terms += stopped
        tally.note_end(ground, code, seed)
        tally.close_run(ground, seed)


def die_at_steps(  # noqa: PLR0913 - likewise
    folder: Path,
    tally: Tally,
    step: Step,
    *,
    times: int,
    seed: int,
    rows: int = 80,
    new_database: Callable[[], str] | None = None,
) -> None:
    """`times` runs, each killed at the first, second, … time that it reaches a step, then resumed to its end."""
    folder.mkdir(parents=True, exist_ok=True)
    with simulator(folder, {**FAULTS, "seed": seed}) as server:
        for number in range(1, times + 1):
            place = folder / str(number)
            place.mkdir()
            asked = make_input(place / "jobs.jsonl", rows, seed=seed * 1000 + number)
            database = None if new_database is None else new_database()
            ground = Ground(place, server, asked, database)
            nth = 1 + (number - 1) % _OCCURS[step]
            code = wait_for(fork_run(ground, concurrency=8, timeout=STEP_TIMEOUT, die_at=(step, nth)))
            if code == -signal.SIGKILL:
                tally.kills += 1
                tally.most_in_doubt = max(tally.most_in_doubt, in_doubt_now(ground))
                code = wait_for(fork_run(ground, concurrency=8, timeout=STEP_TIMEOUT))
            tally.note_end(ground, code, seed)
            tally.close_run(ground, seed)


def soak(  # noqa: PLR0913 - likewise
    folder: Path,
    tally: Tally,
    *,
    kills: int,
    terms: int,
    seed: int,
    tell: Callable[[str], None],
    new_database: Callable[[], str] | None = None,
) -> None:
    """Runs until so many kills and terminations were made, or something is wrong."""
    began, number, per_run = time.monotonic(), 0, 8
    while tally.clean and (tally.kills < kills or tally.terms < terms):
        place, run_seed = folder / str(number), seed * 1_000_003 + number
        if tally.kills < kills:
            database = None if new_database is None else new_database()
            kill_until_done(place, tally, kills=min(per_run, kills - tally.kills), seed=run_seed, database=database)
        else:
            terminate_until_done(place, tally, terms=min(per_run, terms - tally.terms), seed=run_seed)
        number += 1
        tell(f"{tally.kills}/{kills} kills, {tally.terms}/{terms} terms, {time.monotonic() - began:.0f} s")
