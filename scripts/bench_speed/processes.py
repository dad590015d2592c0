"""Processes pinned to a core: the service on the last one, one client at a time on the first."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Self

__all__ = [
    "KEY",
    "PEERS_PYTHON",
    "TOKEN",
    "WORKER",
    "WORKER_PYTHON",
    "Ended",
    "FailedError",
    "Running",
    "Service",
    "run",
    "serving",
]

HERE: Final = Path(__file__).parent
TOP: Final = HERE.parent.parent
WORKER_PYTHON: Final = TOP / ".venv/bin/python"
PEERS_PYTHON: Final = TOP / ".venv-bench/bin/python"
WORKER: Final = TOP / ".venv/bin/assign-worker"
KEY: Final = {"SEAM_API_KEY": "seam_bench0000_00000000000000000000"}
TOKEN: Final = {"SEAM_PERSONAL_ACCESS_TOKEN": "seam_at1bench_00000000000000000000"}
_OURS: Final = ("SEAM_", "ASSIGN_WORKER_")


class FailedError(RuntimeError):
    """A process that was measured ended badly."""


@dataclass(frozen=True)
class Ended:
    """What a process used, from start to exit."""

    stdout: str
    seconds: float
    cpu_seconds: float
    peak_mib: float
    started_at: float
    """By the monotonic clock, which all processes share."""

    def json(self) -> dict[str, Any]:
        """Its standard output, which is one JSON document."""
        document: dict[str, Any] = json.loads(self.stdout)
        return document


class Running:
    """A process that is measured; it is killed at the end of its block if it still runs.

    Args:
        command: its words.
        keys: what its environment holds of ours, besides which it holds nothing of ours.
        core: where it must run; None leaves that to the system.
    """

    def __init__(self, command: Sequence[object], *, keys: Mapping[str, str] = KEY, core: int | None = None) -> None:
        self._words = [str(word) for word in command]
        self._stdout, self._stderr = (tempfile.TemporaryFile() for _ in range(2))  # noqa: SIM115 - closed in `__exit__`
        self._began = time.monotonic()
        self._process = subprocess.Popen(  # noqa: S603 - our own commands
            self._words,
            stdout=self._stdout,
            stderr=self._stderr,
            env={name: value for name, value in os.environ.items() if not name.startswith(_OURS)} | dict(keys),
            cwd=TOP,
            preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),  # noqa: PLW1509 - no threads
        )
        self.pid: Final = self._process.pid

    def __enter__(self) -> Self:
        """It runs since it was made."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing behind."""
        self._process.kill()  # nothing, where `end` has waited for it
        self._process.wait()
        self._stdout.close()
        self._stderr.close()

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def end(self, codes: tuple[int, ...] = (0,)) -> Ended:
        """Wait for its end.

        Raises:
            FailedError: its exit code is none of `codes`.
        """
        _, status, used = os.wait4(self.pid, 0)
        seconds = time.monotonic() - self._began
        self._process.returncode = os.waitstatus_to_exitcode(status)
        said, complained = (_read(stream.fileno()) for stream in (self._stdout, self._stderr))
        if self._process.returncode not in codes:
            words = " ".join(self._words)
            raise FailedError(f"{words} ended with {self._process.returncode}:\n{complained[-2000:]}")
        return Ended(said, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, self._began)


def run(command: Sequence[object], *, keys: Mapping[str, str] = KEY, codes: tuple[int, ...] = (0,)) -> Ended:
    """Run a command on the first core, to its end, with these keys and no others in its environment.

    Raises:
        FailedError: its exit code is none of `codes`.
    """
    with Running(command, keys=keys, core=min(os.sched_getaffinity(0))) as running:
        return running.end(codes)


def _read(descriptor: int) -> str:
    os.lseek(descriptor, 0, os.SEEK_SET)
    with open(descriptor, encoding="utf-8", closefd=False) as stream:
        return stream.read()


class Service:
    """The quick server, in a process of its own on the last core."""

    def __init__(self, delay: float) -> None:
        core = max(os.sched_getaffinity(0))
        self._process = subprocess.Popen(  # noqa: S603 - our own script
            [str(WORKER_PYTHON), str(HERE / "server.py"), str(core), str(delay)], stdout=subprocess.PIPE, text=True
        )
        self.url = f"http://127.0.0.1:{self._line()}"

    def _line(self) -> str:
        if self._process.stdout is None or not (line := self._process.stdout.readline()):
            raise FailedError("the quick server did not start")
        return line.strip()

    def first_assign(self) -> float:
        """When the first assign call of its life came, by the monotonic clock; waits for it."""
        return float(self._line())

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


@contextlib.contextmanager
def serving(delay: float) -> Iterator[Service]:
    """The service, for as long as the block runs."""
    service = Service(delay)
    try:
        yield service
    finally:
        service.stop()
