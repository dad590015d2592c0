"""`scripts/soak`: many runs that are killed and stopped; exits with 1 on anything lost, doubled or untrue."""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.servers import postgres_server
from tests.soak.disks import disk_faults, power_losses
from tests.soak.kills import Tally, soak
from tests.soak.nights import count_requests, move_and_undo

_KILLS_A_NIGHT = 8
"""Of the sync, and as many of its undo."""
_CHANGES = 200


def main() -> int:
    """Parse the command line, soak, print the figures."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--kills", type=int, default=1000, help="kill -9 so many times (default %(default)s)")
    parser.add_argument("--terms", type=int, default=200, help="stop by SIGTERM so many times (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of inputs, faults and moments (default %(default)s)")
    parser.add_argument("--postgres", action="store_true", help="kill runs whose ledgers are on a PostgreSQL server")
    parser.add_argument("--power-loss", type=int, default=0, metavar="N", help="have the power go so many times")
    parser.add_argument("--disk-faults", action="store_true", help="have every write and sync of a small run fail")
    parser.add_argument("--nights", type=int, default=0, metavar="N", help="so many killed syncs, undone under kills")
    parser.add_argument("--sync-rows", type=int, default=0, metavar="N", help="count the requests of a sync of N rows")
    options = parser.parse_args()
    tally = Tally()
    disks_are_well = True
    with tempfile.TemporaryDirectory(prefix="assign-worker-soak-") as folder, ExitStack() as stack:
        server = stack.enter_context(postgres_server()) if options.postgres else None
        soak(
            Path(folder),
            tally,
            kills=options.kills,
            terms=options.terms,
            seed=options.seed,
            tell=_tell,
            new_database=None if server is None else lambda: server.url(server.new_database()),
        )
        if options.power_loss:
            disks_are_well &= power_losses(Path(folder), times=options.power_loss, seed=options.seed, tell=_say)
        if options.disk_faults:
            disks_are_well &= disk_faults(Path(folder), tell=_say)
        for number in range(options.nights):
            seed = options.seed * 1_000_003 + number
            move_and_undo(Path(folder) / f"night-{number}", tally, kills=_KILLS_A_NIGHT, seed=seed)
            _tell(f"{number + 1}/{options.nights} nights")
        if options.sync_rows:
            counted = count_requests(Path(folder) / "sync", rows=options.sync_rows, changes=_CHANGES, seed=options.seed)
            print("\n".join(counted))  # noqa: T201 - a command
    print(f"seed                {options.seed}")  # noqa: T201 - a command
    print("\n".join(tally.lines()))  # noqa: T201 - a command
    return 0 if tally.clean and disks_are_well else 1


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a command


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - a command


if __name__ == "__main__":
    sys.exit(main())
