"""`assign-worker fleet`: the same run over many machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import click

from worker.cli.group import LazyGroup

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["command"]


class _FleetGroup(LazyGroup):
    """Its commands, imported when they are called."""

    table: ClassVar[Mapping[str, tuple[str, str]]] = {
        "init": ("worker.cli.fleet.init", "Make the ledger and the fleet's tables."),
        "submit": ("worker.cli.fleet.submit", "Hand a file to the workers; nothing is sent from here."),
        "worker": ("worker.cli.fleet.worker", "Take shards and send them, until it is stopped."),
        "status": ("worker.cli.fleet.status", "Show how far a run is, by workspace and by worker."),
        "cancel": ("worker.cli.fleet.cancel", "Have no more of a run sent."),
        "demo": ("worker.cli.fleet.demo", "See it work: a server, three workers and a simulator, all local."),
    }


@click.group(
    "fleet",
    cls=_FleetGroup,
    epilog="Every command takes the same PostgreSQL ledger: --ledger postgresql://USER@HOST/DATABASE, or "
    "ASSIGN_WORKER_LEDGER. `results`, `show`, `runs` and `retry` work on a fleet's run as on any other.",
)
def command() -> None:
    """Send one file from many machines.

    `submit` stages the file in the ledger; workers on any number of hosts take it by workspace.
    """
