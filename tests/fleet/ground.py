"""A simulator with some workspaces, an empty database, a file for it, and workers as processes of their own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Self

import psycopg

from tests.cli.service import Ended, call
from tests.fleet.driver import SHORT
from tests.soak.oracle import Findings, Row, compare, fetch_events, read_results

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.soak.ground import Server

__all__ = ["SHORT", "TOKEN", "FleetGround", "WorkerProcess", "make_input", "wait_for"]

TOKEN = "seam_at1FleetCanary1"
PATIENCE = 60.0


@dataclass
class FleetGround:
    """Where one run of a fleet happens."""

    folder: Path
    server: Server
    database: str
    workspaces: list[str]
    rows: dict[int, Row] = field(default_factory=dict)

    @property
    def jobs(self) -> Path:
        """The input."""
        return self.folder / "jobs.jsonl"

    def environ(self, **more: str) -> dict[str, str]:
        """An environment that leads to this simulator and this ledger."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SEAM_", "ASSIGN_WORKER_"))}
        return {
            **kept,
            "SEAM_ENDPOINT": self.server.url,
            "ASSIGN_WORKER_LEDGER": self.database,
            "SEAM_PERSONAL_ACCESS_TOKEN": TOKEN,
            **more,
        }

    def call(self, *arguments: object) -> Ended:
        """A command, in this process."""
        return call(arguments, self.environ())

    def shrink(self, rows: int) -> None:
        """A smaller file, for what needs no long run."""
        self.rows = make_input(self.jobs, self.workspaces, rows, seed=12)

    def submit(self, *options: str) -> str:
        """Hand the input to the fleet; the run's id."""
        ended = self.call("fleet", "submit", self.jobs, "--json", *options)
        assert ended.code == 0, ended
        run_id: str = ended.document()["run_id"]
        return run_id

    def status(self) -> Any:
        """`fleet status`."""
        ended = self.call("fleet", "status", "--json")
        assert ended.code == 0, ended
        return ended.document()

    def worker(self, *options: str, without: str | None = None, **more: str) -> WorkerProcess:
        """Start a worker; `without` names a variable that it lacks."""
        environ = self.environ(**more)
        environ.pop(without or "", None)
        return WorkerProcess(["--shards", "2", "--timeout", "1", "--log-level", "info", *options], environ, self.folder)

    def sent(self) -> int:
        """Assign requests so far."""
        return sum(
            event["kind"] == "received" and event["route"] == "assign" for event in fetch_events(self.server.url)
        )

    def keys_of_all_but(self, missing: int) -> tuple[str, dict[str, str]]:
        """Settings that name a key for each workspace except the first ones, and the variables that hold them."""
        config = self.folder / "keys.toml"
        named = range(missing, len(self.workspaces))
        tables = [f'[workspaces."{self.workspaces[number]}"]\napi_key_env = "KEY_{number}"\n' for number in named]
        config.write_text("\n".join(tables))
        return str(config), {f"KEY_{number}": f"seam_key_of_{number}" for number in named}

    def wait_until_alive(self, count: int) -> None:
        """Until so many workers wait for work."""
        self.call("fleet", "init")
        with psycopg.connect(self.database, autocommit=True) as connection:
            query = "SELECT count(*) FROM assign_worker.procrastinate_workers"
            wait_for(lambda: connection.execute(query).fetchone() == (count,))

    def wait_until_sent(self, share: float) -> None:
        """Until about so much of the input was sent."""
        wait_for(lambda: self.sent() > share * len(self.rows))

    def wait_until_done(self) -> None:
        """Until the run is finished."""
        with psycopg.connect(self.database, autocommit=True) as connection:
            query = "SELECT state FROM assign_worker.runs"
            wait_for(lambda: connection.execute(query).fetchone() == ("finished",))

    def judge(self) -> Findings:
        """The exported results against what the service did."""
        target = self.folder / "exported.jsonl"
        ended = self.call("results", "-o", target)
        assert ended.code == 0, ended
        findings = compare(self.rows, read_results(target), fetch_events(self.server.url))
        assert findings.outcomes.total() == len(self.rows)
        return findings


class WorkerProcess:
    """`assign-worker fleet worker` with short times; ended with its block."""

    def __init__(self, options: list[str], environ: Mapping[str, str], folder: Path) -> None:
        self._said = folder / f"worker-{uuid.uuid4()}.txt"
        with self._said.open("w") as said:
            self.process = subprocess.Popen(  # noqa: S603 - this interpreter, our own command
                [sys.executable, "-m", "tests.fleet.driver", "fleet", "worker", *options],
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )

    def __enter__(self) -> Self:
        """It runs since it was made."""
        return self

    def __exit__(self, error: object, *_: object) -> None:
        """Leave nothing behind; where the test failed, show what was said."""
        if error is not None:
            print(f"worker {self.process.pid}, {self.process.poll()}:\n{self.said()}")  # noqa: T201 - pytest shows it
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait(PATIENCE)

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def end(self, number: signal.Signals | None = None) -> int:
        """Send a signal, if any, and wait; the exit code."""
        if number is not None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def said(self) -> str:
        """All that it has said so far."""
        return self._said.read_text()


def make_input(path: Path, workspaces: list[str], rows: int, *, seed: int) -> dict[int, Row]:
    """A JSONL file with so many valid rows in each workspace, mixed, and what each asks for."""
    random = Random(seed)  # noqa: S311 - test data
    wanted: dict[int, Row] = {}
    with path.open("w", encoding="utf-8") as lines:
        for number in range(1, rows * len(workspaces) + 1):
            key = "user_identity_id" if number % 7 == 0 else "acs_user_id"
            row = Row(str(uuid.UUID(int=random.getrandbits(128))), key, str(uuid.UUID(int=random.getrandbits(128))))
            wanted[number] = row
            workspace = workspaces[number % len(workspaces)]
            lines.write(
                json.dumps({"acs_credential_id": row.credential, key: row.user, "workspace_id": workspace}) + "\n"
            )
    return wanted


def wait_for(reached: Callable[[], bool]) -> None:
    """Until the fleet has got so far; each look costs the machine something."""
    deadline = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < deadline, "the fleet did not get so far"
        time.sleep(0.1)
