"""`assign-worker runs prune`: old runs out of a ledger."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import click

from worker.cli.failures import Invocation
from worker.cli.loading import load, open_ledger, start_logs
from worker.cli.options import GroupedCommand, as_json, config, declare, ledger_here, option, setting, takes_no_key
from worker.cli.stdout import print_json
from worker.cli.words import amount, moment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.config import Settings
    from worker.ledger.pruning import Family, Pruning
    from worker.ledger.runs import Run
    from worker.ledger.space import Space

__all__ = ["command"]

_AGE: Final = re.compile(r"([0-9]{1,5})([dhw])")
_SECONDS: Final = {"h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


def _read_age(ctx: click.Context, param: click.Parameter, value: str | None) -> float:
    """Seconds; a bare number is refused, since it may mean days or seconds."""
    if value is None:
        raise click.MissingParameter(ctx=ctx, param=param)
    match = _AGE.fullmatch(value.strip())
    if match is None:
        raise click.BadParameter(f"{value!a} is no age; give days, weeks or hours, such as 90d, 12w or 36h")
    return float(match[1]) * _SECONDS[match[2]]


@click.command(
    "prune",
    cls=GroupedCommand,
    short_help="Remove old runs, with their retries and undos.",
    epilog="Exit codes: 0 they are gone, also where there was none; 2 there is no such ledger; 3 the disk failed, and "
    "the same command goes on; 4 another process holds the ledger.",
)
@declare(
    takes_no_key,
    option(
        "Options",
        "--older-than",
        "age",
        callback=_read_age,
        metavar="AGE",
        help="Runs that ended longer ago: 90d, 12w, 36h. Required.",
    ),
    option("Options", "--dry-run", is_flag=True, default=False, help="Say what would go; remove nothing."),
    as_json,
    ledger_here,
    config,
    setting("log_level"),
)
def command(
    *,
    age: float,
    dry_run: bool,
    as_json: bool,
    config_file: str | None,
    **flags: Any,  # noqa: ANN401 - settings, judged by worker.config
) -> None:
    """Remove old runs from a ledger, each with its retries and undos, and give their room back.

    Of each name the latest run stays, and the latest in which no row failed or is in doubt. Runs that are not finished
    stay, and so do those with rows in doubt, and those that say whose the credentials of earlier runs are by now.
    """
    context = click.get_current_context()
    context.ensure_object(Invocation).subject = "this pruning"
    given = context.parent.params if context.parent is not None else {}  # of `runs`, where they were put before `prune`
    flags["ledger"] = flags["ledger"] or given.get("ledger")
    settings = load(flags, config_file or given.get("config_file"), keys=False)
    start_logs(settings)
    pruning, space = _prune(settings, time.time() - age, dry_run=dry_run)
    if as_json:
        print_json(_as_dict(pruning, space, dry_run=dry_run))
    else:
        _print(pruning, space, dry_run=dry_run)


def _prune(settings: Settings, ended_before: float, *, dry_run: bool) -> tuple[Pruning, Space | None]:
    from worker.ledger import hold_existing  # noqa: PLC0415 - slow to import
    from worker.ledger.pruning import choose_prunable, remove  # noqa: PLC0415 - likewise
    from worker.ledger.space import give_back  # noqa: PLC0415 - likewise
    from worker.paths import Paths  # noqa: PLC0415 - likewise

    with open_ledger(settings) if dry_run else hold_existing(Paths.ledger_of(settings)) as ledger:
        pruning = choose_prunable(ledger.engine, ended_before=ended_before)
        if dry_run:
            return pruning, None
        gone = tuple(family for family in pruning.removable if remove(ledger.engine, family))
        pruning = replace(pruning, removable=gone)
        return pruning, give_back(ledger.engine) if pruning.removable else None


def _runs(families: Sequence[Family]) -> list[Run]:
    return [run for family in families for run in family.runs]


def _as_dict(pruning: Pruning, space: Space | None, *, dry_run: bool) -> dict[str, object]:
    removed = _runs(pruning.removable)
    return {
        "dry_run": dry_run,
        "removed": [
            {
                "run_id": run.id,
                "kind": run.kind,
                "name": run.name,
                "rows": run.rows,
                "state": run.state,
                "stopped_at": run.stopped_at,
            }
            for run in removed
        ],
        "rows": sum(run.rows for run in removed),
        "kept_in_doubt": [family.root.id for family in pruning.in_doubt],
        "kept_in_hand": [family.root.id for family in pruning.in_hand],
        "bytes_before": None if space is None else space.before,
        "bytes_after": None if space is None else space.after,
    }


def _print(pruning: Pruning, space: Space | None, *, dry_run: bool) -> None:
    from worker.cli.page import cell, line, open_page, plain_table  # noqa: PLC0415 - slow to import
    from worker.ledger.runs import RUN  # noqa: PLC0415 - likewise

    removed = _runs(pruning.removable)
    with open_page() as console:
        if removed:
            table = plain_table("run", "name", "state", "rows", "ended", numbers=("rows",), whole=("run",))
            for run in removed:
                name = run.name if run.kind == RUN else f"{run.name} ({run.kind})"
                table.add_row(run.id, cell(name), run.state, amount(run.rows), moment(run.stopped_at))
            console.print(table)
        what = "Would remove" if dry_run else "Removed"
        count = "1 run" if len(removed) == 1 else f"{amount(len(removed))} runs"
        line(console, f"{what} {count} with {amount(sum(run.rows for run in removed))} rows")
        for family in pruning.in_doubt:
            way = f": `assign-worker retry {family.root.id}` reads them back" if family.root.state == "finished" else ""
            line(console, f"Kept run {family.root.id}, since rows of it are in doubt{way}")
        for family in pruning.in_hand:
            line(console, f"Kept run {family.root.id}, since an earlier run could still send credentials that it has")
        if space is not None:
            line(console, _told(space))


def _told(space: Space) -> str:
    if space.after < space.before:
        return f"The ledger went from {_size(space.before)} to {_size(space.after)}"
    free = f"{_size(space.free_inside)} of the ledger's {_size(space.before)} are free for later runs"
    if space.needs:
        return f"{free}; to make the file smaller, the disk lacks {_size(space.needs)}"
    return free


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
