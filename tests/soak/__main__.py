"""`scripts/soak`: many runs that are killed and stopped; exits with 1 on anything lost, doubled or untrue."""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.servers import postgres_server
from tests.soak.disks import disk_faults, power_losses
from tests.soak.fleets import plan, play_all, table
from tests.soak.harms import KINDS
from tests.soak.kills import Tally, soak
from tests.soak.nights import count_requests, move_and_undo
from tests.soak.retries import retry_and_verify

_KILLS_A_NIGHT = 8
"""Of the sync, and as many of its undo."""
_CHANGES = 200


def main() -> int:
    """Parse the command line, soak, print the figures."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--kills", type=int, help="kill -9 so many times (1000 if nothing is asked for)")
    parser.add_argument("--terms", type=int, help="stop by SIGTERM so many times (200 likewise)")
    parser.add_argument("--seed", type=int, default=1, help="of inputs, faults and moments (default %(default)s)")
    parser.add_argument("--postgres", action="store_true", help="kill runs whose ledgers are on a PostgreSQL server")
    parser.add_argument("--power-loss", type=int, default=0, metavar="N", help="have the power go so many times")
    parser.add_argument("--disk-faults", action="store_true", help="have every write and sync of a small run fail")
    parser.add_argument("--nights", type=int, default=0, metavar="N", help="so many killed syncs, undone under kills")
    parser.add_argument("--retries", type=int, default=0, metavar="N", help="so many killed retries and verifications")
    parser.add_argument("--sync-rows", type=int, default=0, metavar="N", help="count the requests of a sync of N rows")
    parser.add_argument("--fleet", type=int, default=0, metavar="N", help="so many runs of a fleet under each harm")
    parser.add_argument(
        "--fleet-round", action="append", default=[], metavar="KIND:SEED", type=_round, help="one such run, once more"
    )
    options = parser.parse_args()
    fleet = [*options.fleet_round, *plan(options.fleet, options.seed)]
    others = (options.power_loss, options.disk_faults, options.nights, options.retries, options.sync_rows, fleet)
    else_asked = any((options.kills is not None, options.terms is not None, *others))
    tally = Tally()
    disks_are_well = True
    with tempfile.TemporaryDirectory(prefix="assign-worker-soak-") as folder, ExitStack() as stack:
        server = stack.enter_context(postgres_server()) if options.postgres else None
        soak(
            Path(folder),
            tally,
            kills=_or_default(options.kills, 0 if else_asked else 1000),
            terms=_or_default(options.terms, 0 if else_asked else 200),
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
        for number in range(options.retries):
            seed = options.seed * 1_000_003 + number
            retry_and_verify(Path(folder) / f"retry-{number}", tally, kills=_KILLS_A_NIGHT, seed=seed)
            _tell(f"{number + 1}/{options.retries} retries")
        if options.sync_rows:
            counted = count_requests(Path(folder) / "sync", rows=options.sync_rows, changes=_CHANGES, seed=options.seed)
            print("\n".join(counted))  # noqa: T201 - a command
        played = play_all(fleet) if fleet else []
    print(f"seed                {options.seed}")  # noqa: T201 - a command
    if tally.runs or not else_asked:
        print("\n".join(tally.lines()))  # noqa: T201 - a command
    if played:
        print("\n".join(table(played)))  # noqa: T201 - a command
    return 0 if tally.clean and disks_are_well and all(each.clean for each in played) else 1


def _or_default(given: int | None, default: int) -> int:
    return default if given is None else given


def _round(said: str) -> tuple[str, int]:
    kind, _, seed = said.partition(":")
    if kind not in KINDS:
        raise argparse.ArgumentTypeError(f"{kind} is none of {', '.join(KINDS)}")
    return kind, int(seed)


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a command


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - a command


if __name__ == "__main__":
    sys.exit(main())
