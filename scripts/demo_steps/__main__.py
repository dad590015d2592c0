"""Check a sample file, rehearse it against a look-alike of Seam, show what came of it."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from demo_steps.residents import write_residents

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FOLDER: Final = Path(".demo")
WORKER: Final = str(Path(sys.executable).with_name("assign-worker"))
SERVICE: Final = (
    *("--latency", "0.08", "--latency-sigma", "0.4", "--rate", "180", "--burst", "60"),
    *("--errors", "0.02", "--applied-share", "0.5", "--fault", "reset_after=0.005"),
    *("--unknown-users", "0.01", "--warnings", "0.06"),
)
"""Slow enough to watch, with a limit to find, and with the faults of a bad day."""
SHOWN: Final = {"row": 4, "unit": 5, "name": 16, "outcome": 9, "assigned_acs_user_id": 37, "detail": 70}
"""Columns of the results that are printed, with their widths."""
SOME_ROWS_NEED_A_LOOK: Final = 1


def main() -> int:
    """Every step, in order; 0 if each ended as it should."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    jobs = FOLDER / "residents.csv"
    rows = write_residents(jobs)
    _head(f"A sample: {jobs}, {rows} rows, a few of them not right")
    _head("1. What is wrong with it?")
    if not _ends_with_1("check", jobs, environ=_environment()):
        return 1
    _head("2. Send it, to a look-alike of Seam on this machine that is slow, limited and faulty")
    with _look_alike() as environ:
        if not _ends_with_1("run", jobs, environ=environ):
            return 1
    _head("3. One result for each row, in the order of the file")
    _print_results(FOLDER / "residents.results.csv")
    _head(
        "All is as it should be. `check` and `run` both ended with exit code 1, since the sample has bad rows and\n"
        "the look-alike does not know some people; the demo expects exactly that, so it ends with 0."
    )
    print(
        f"Everything is in {FOLDER}. A file of your own, without a key: .venv/bin/assign-worker run --simulate jobs.csv"
    )
    return 0


def _head(text: str) -> None:
    print(f"\n{text}\n", flush=True)


def _environment() -> dict[str, str]:
    """Without what might lead elsewhere, or change what is shown."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("SEAM_", "ASSIGN_WORKER_"))}


def _ends_with_1(*arguments: str | Path, environ: Mapping[str, str]) -> bool:
    print("$ assign-worker", *arguments, flush=True)
    code = subprocess.run([WORKER, *arguments], env=environ, check=False).returncode  # noqa: S603 - our own command
    if code == SOME_ROWS_NEED_A_LOOK:
        return True
    print(f"The demo expected exit code {SOME_ROWS_NEED_A_LOOK}, and it was {code}.", file=sys.stderr)
    return False


@contextmanager
def _look_alike() -> Iterator[Mapping[str, str]]:
    """Serve a look-alike; the environment that leads to it."""
    print("$ assign-worker simulate", *SERVICE, "&", flush=True)
    with subprocess.Popen(  # noqa: S603 - our own command
        [WORKER, "simulate", "--port", "0", "--end-with-stdin", *SERVICE],
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # a Ctrl-C is for the run, which still has requests to end
    ) as process:
        assert process.stdout is not None  # noqa: S101 - a pipe, by the call above
        try:
            told = json.loads(process.stdout.readline())
            print(f"$ export SEAM_ENDPOINT={told['url']} SEAM_API_KEY={told['api_key']}")
            yield {**_environment(), "SEAM_ENDPOINT": told["url"], "SEAM_API_KEY": told["api_key"]}
        finally:
            process.terminate()


def _print_results(path: Path) -> None:
    print("  ".join(f"{name:{width}}" for name, width in SHOWN.items()).rstrip())
    with path.open(encoding="utf-8", newline="") as file:
        for record in islice(csv.DictReader(file), 6):
            cells = (f"{_cut(record[name], width):{width}}" for name, width in SHOWN.items())
            print("  ".join(cells).rstrip())
    print(f"... and so on, with more columns, in {path}")


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


if __name__ == "__main__":
    sys.exit(main())
