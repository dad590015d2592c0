"""`scripts/soak`: many runs that are killed and stopped; exits with 1 on anything lost, doubled or untrue."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.soak.kills import Tally, soak


def main() -> int:
    """Parse the command line, soak, print the figures."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--kills", type=int, default=1000, help="kill -9 so many times (default %(default)s)")
    parser.add_argument("--terms", type=int, default=200, help="stop by SIGTERM so many times (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of inputs, faults and moments (default %(default)s)")
    options = parser.parse_args()
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="assign-worker-soak-") as folder:
        soak(Path(folder), tally, kills=options.kills, terms=options.terms, seed=options.seed, tell=_tell)
    print(f"seed                {options.seed}")  # noqa: T201 - a command
    print("\n".join(tally.lines()))  # noqa: T201 - a command
    return 0 if tally.clean else 1


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - a command


if __name__ == "__main__":
    sys.exit(main())
