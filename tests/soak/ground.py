"""A simulator in a process of its own, an input file, and the command on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any
from uuid import UUID

from tests.soak.oracle import Row

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["Ground", "Server", "command", "environment", "make_input", "simulator"]


@dataclass(frozen=True)
class Server:
    """A running simulator."""

    url: str
    api_key: str


@dataclass(frozen=True)
class Ground:
    """Where one run happens."""

    folder: Path
    server: Server
    rows: Mapping[int, Row]
    database: str | None = None
    """The URL of a ledger on a server; None is a file."""

    @property
    def jobs(self) -> Path:
        """The input."""
        return self.folder / "jobs.jsonl"

    @property
    def ledger(self) -> Path:
        """The ledger."""
        return self.folder / "ledger.db"

    @property
    def ledger_url(self) -> str:
        """The ledger, as `--ledger` takes it."""
        return self.database or str(self.ledger)

    @property
    def results(self) -> Path:
        """The export."""
        return self.folder / "jobs.results.jsonl"

    @property
    def undone(self) -> Path:
        """The export of an undo."""
        return self.folder / "jobs.undone.jsonl"

    @property
    def verified(self) -> Path:
        """The export of a verification."""
        return self.folder / "jobs.verified.jsonl"


@contextmanager
def simulator(folder: Path, settings: Mapping[str, Any]) -> Iterator[Server]:
    """Run `assign-worker simulate` with these settings for as long as the block runs."""
    config = folder / "simulator.json"
    config.write_text(json.dumps(settings))
    process = subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-m", "worker", "simulate", "--port", "0", "--config", str(config)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        if process.stdout is None:
            raise RuntimeError("no pipe")
        ready = json.loads(process.stdout.readline())
        yield Server(ready["url"], ready["api_key"])
    finally:
        process.terminate()
        process.wait(timeout=30)
        if process.stdout is not None:
            process.stdout.close()


def make_input(path: Path, count: int, *, seed: int) -> dict[int, Row]:
    """A JSONL file of `count` valid rows for people and identities, and what each asks for."""
    random = Random(seed)  # noqa: S311 - test data
    rows: dict[int, Row] = {}
    with path.open("w", encoding="utf-8") as lines:
        for number in range(1, count + 1):
            key = "user_identity_id" if number % 5 == 0 else "acs_user_id"
            row = Row(str(UUID(int=random.getrandbits(128))), key, str(UUID(int=random.getrandbits(128))))
            rows[number] = row
            lines.write(json.dumps({"acs_credential_id": row.credential, key: row.user, "unit": number}) + "\n")
    return rows


def environment(server: Server) -> dict[str, str]:
    """The environment of a command against this simulator."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SEAM_", "ASSIGN_WORKER_"))}
    return {**kept, "SEAM_API_KEY": server.api_key, "SEAM_ENDPOINT": server.url}


def command(ground: Ground, *options: str) -> list[str]:
    """`assign-worker run` on this ground."""
    return [
        sys.executable,
        *("-m", "worker", "run", str(ground.jobs)),
        *("--ledger", ground.ledger_url, "--results", str(ground.results)),
        *("--json", "--no-progress", *options),
    ]
