"""`assign-worker fleet status`: how far a run is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import click

from worker.cli.fleet.ledger import ledger_of
from worker.cli.loading import load, start_logs
from worker.cli.options import GroupedCommand, as_json, config, declare, ledger_on_server, option, setting, takes_no_key
from worker.cli.stdout import print_json
from worker.cli.words import amount, per_second, span
from worker.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, RenderableType

    from worker.fleet.status import FleetStatus, Place
    from worker.ledger import Ledger

__all__ = ["command", "watch_status"]

_INTERVAL: Final = 2.0
_MOST_LINES: Final = 15
"""Workspaces on the page; `--json` tells them all."""


@click.command(
    "status",
    cls=GroupedCommand,
    epilog="""Ctrl-C ends --watch; it changes nothing.

    Exit codes: 0 it is shown, whatever has become of the run; 2 there is no such run or ledger.""",
)
@click.argument("run", required=False)
@declare(
    takes_no_key,
    option("Options", "--watch", is_flag=True, default=False, help="Show it anew every 2 seconds, until it is done."),
    as_json,
    ledger_on_server,
    config,
    setting("log_level"),
)
def command(
    run: str | None,
    *,
    watch: bool,
    as_json: bool,
    config_file: str | None,
    **flags: Any,  # noqa: ANN401 - settings, judged by worker.config
) -> None:
    """Show how far RUN is: an id that `runs` lists; without it, the latest.

    Rates are of the last minute. A shard is put off where a worker had no key for it, or no way to the service; the
    worker's log says which.
    """
    settings = load(flags, config_file, keys=False)
    start_logs(settings)
    url = ledger_of(settings)

    from worker.cli.page import open_page  # noqa: PLC0415 - slow to import
    from worker.ledger import Ledger  # noqa: PLC0415 - likewise

    with Ledger(url, exclusive=False) as ledger:
        if as_json:
            print_json(_look(ledger, run).as_dict())
            return
        with open_page() as console:
            if watch:
                watch_status(console, ledger, run)
                return
            _print(console, _look(ledger, run))


def _look(ledger: Ledger, reference: str | None) -> FleetStatus:
    from worker.fleet import is_fleets, is_installed  # noqa: PLC0415 - slow to import
    from worker.fleet.status import look  # noqa: PLC0415 - likewise
    from worker.ledger.runs import get_run  # noqa: PLC0415 - likewise

    run = get_run(ledger.engine, reference)
    if not is_fleets(run) or not is_installed(ledger.engine):
        raise UsageError(f"run {run.id} is not of a fleet; `assign-worker show {run.id}` tells of it")
    return look(ledger.engine, run)


def watch_status(console: Console, ledger: Ledger, reference: str | None) -> None:
    """Show a run until it is done or cancelled; where stdout is no terminal, only how it is then."""
    from rich.console import Group  # noqa: PLC0415 - slow to import
    from rich.live import Live  # noqa: PLC0415 - likewise

    status = _look(ledger, reference)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while status.run.state == "open" and status.run.stop_cause is None:
            live.update(Group(*_page(status)), refresh=console.is_terminal)
            time.sleep(_INTERVAL)
            status = _look(ledger, status.run.id)
    _print(console, status)


def _print(console: Console, status: FleetStatus) -> None:
    for part in _page(status):
        console.print(part)


def _page(status: FleetStatus) -> Iterator[RenderableType]:
    from worker.cli.page import cell, plain_table  # noqa: PLC0415 - slow to import

    run = status.run
    state = run.state if run.state != "open" else run.stop_cause or "under way"
    yield cell(f"Run {run.id} of {run.name}: {state}", "bold")
    places = sorted(status.places, key=_is_done)
    table = plain_table("workspace", "rows", "settled", "rows/s", "shards", numbers=("rows", "settled", "rows/s"))
    for place in places[:_MOST_LINES]:
        standing = ", ".join(f"{count} {word}" for word, count in place.shards.items())
        rows, left = place.outcomes.total(), _left(place)
        table.add_row(
            cell(place.workspace_id or "the key's own"),
            amount(rows),
            amount(rows - left),
            _rate(place.recent),
            standing,
        )
    if (more := len(places) - _MOST_LINES) > 0:
        table.add_row(cell(f"{more} more: --json tells them"))
    yield table
    if status.workers:
        table = plain_table("worker", "shards", "rows/s", numbers=("shards", "rows/s"))
        for worker in status.workers:
            table.add_row(cell(worker.name), amount(worker.shards), _rate(worker.recent))
        yield table
    outcomes = ", ".join(f"{amount(count)} {word.value}" for word, count in status.outcomes.items() if count)
    yield cell(f"Rows      {amount(run.rows)}: {outcomes}")
    ahead = "" if status.seconds_left is None else f", some {span(status.seconds_left)} to go"
    if run.state == "open":
        yield cell(f"Rate      {per_second(status.rate) if status.rate else 0} rows/s over the last minute{ahead}")
    yield cell(f"Workers   {status.workers_alive} alive")


def _left(place: Place) -> int:
    from worker.models import Outcome  # noqa: PLC0415 - after the page's imports

    return place.outcomes[Outcome.PENDING]


def _is_done(place: Place) -> bool:
    return not _left(place)


def _rate(recent: int) -> str:
    from worker.fleet.status import SPAN  # noqa: PLC0415 - after the page's imports

    return per_second(recent / SPAN) if recent else "0"
