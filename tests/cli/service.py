"""The simulator in a process of its own, and the command line in another."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
import urllib.request
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from unittest import mock

from click.testing import CliRunner

from worker.cli.group import cli

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

_PATIENCE = 30.0


class Service:
    """A running `assign-worker simulate`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "worker", "simulate", "--port", "0"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        told = json.loads(self._process.stdout.readline())
        self.url: str = told["url"]
        self.api_key: str = told["api_key"]

    def __enter__(self) -> Self:
        """It has been listening since it was made."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(_PATIENCE)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _ask(self, path: str, body: object = None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_simulator/{path}", data)  # noqa: S310 - to loopback
        with urllib.request.urlopen(request, timeout=_PATIENCE) as reply:  # noqa: S310 - to loopback
            content: bytes = reply.read()
        return content

    def configure(self, **settings: object) -> None:
        """Lay settings over the present ones."""
        self._ask("settings", settings)

    def applied(self) -> dict[str, str]:
        """Credential -> the ACS user that owns it now, where it was assigned here."""
        owners = [json.loads(line) for line in self._ask("owners").splitlines()]
        return {owner["acs_credential_id"]: owner["acs_user_id"] for owner in owners if owner["assigned_here"]}

    def assigns(self) -> int:
        """How many assign requests were answered."""
        stats = json.loads(self._ask("stats"))
        return sum(stats["requests"].get("assign", {}).values())

    def in_flight(self) -> int:
        """How many requests are being answered."""
        return int(json.loads(self._ask("stats"))["in_flight"])

    def environ(self, **more: str) -> dict[str, str]:
        """An environment that leads here."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SEAM_", "ASSIGN_"))}
        return {**kept, "SEAM_API_KEY": self.api_key, "SEAM_ENDPOINT": self.url, **more}


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    def document(self) -> Any:
        """Stdout as the one JSON document that it must be."""
        return json.loads(self.out)


class Started:
    """A command as a process of its own, with pipes and not with terminals; ended with its block."""

    def __init__(self, arguments: Iterable[object], environ: Mapping[str, str], folder: Path, **options: Any) -> None:
        interpreter = options.pop("interpreter", ("-m", "worker"))
        settings: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **options}
        self.process = subprocess.Popen(  # noqa: S603 - this interpreter, our own command
            [sys.executable, *interpreter, *map(str, arguments)],
            cwd=folder,
            env=dict(environ),
            stderr=subprocess.PIPE,
            text=True,
            **settings,
        )

    def __enter__(self) -> Self:
        """It runs since it was made."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing behind."""
        if self.process.returncode is None:
            self.process.kill()
            self.process.communicate(timeout=_PATIENCE)

    def end(self, number: signal.Signals | None = None, given: str | None = None) -> Ended:
        """Send a signal, if any, and wait."""
        if number is not None:
            self.process.send_signal(number)
        out, err = self.process.communicate(given, timeout=_PATIENCE)
        return Ended(self.process.returncode, out, err)


def call(arguments: Iterable[object], environ: Mapping[str, str]) -> Ended:
    """Run a command to its end in this process, which is quicker; relative paths are as the test has them."""
    words = [str(argument) for argument in arguments]
    # No core of the tests' own process is forbidden: that could not be undone.
    with mock.patch("worker.cli.loading.forbid_cores"):
        result = CliRunner().invoke(cli, words, env=dict(environ))
    return Ended(result.exit_code, result.stdout, result.stderr)


def make_jobs(count: int) -> list[dict[str, str]]:
    """So many valid jobs, alike in no two runs."""
    return [
        {"acs_credential_id": str(uuid.uuid4()), "acs_user_id": str(uuid.uuid4()), "flat": f"{number}"}
        for number in range(1, count + 1)
    ]


def write_jobs(path: Path, jobs: list[dict[str, str]]) -> Path:
    """A CSV of jobs."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, jobs[0].keys())
        writer.writeheader()
        writer.writerows(jobs)
    return path


def read_results(path: Path) -> list[dict[str, str]]:
    """A results file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def wait_for(reached: Callable[[], bool]) -> None:
    """Until the run has got so far."""
    deadline = time.monotonic() + _PATIENCE
    while not reached():
        assert time.monotonic() < deadline, "the run did not get going"
        time.sleep(0.02)
