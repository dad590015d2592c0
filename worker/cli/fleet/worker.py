"""`assign-worker fleet worker`: one process of a fleet."""

from __future__ import annotations

import asyncio
import gc
import signal
from typing import TYPE_CHECKING, Any, Final

import click

from worker.cli.fleet.ledger import ledger_of
from worker.cli.loading import begin, start_logs
from worker.cli.options import GroupedCommand, config, declare, ledger_on_server, option, setting, takes_no_key

if TYPE_CHECKING:
    from worker.config import Settings
    from worker.models import StopCause

__all__ = ["command"]

SHARDS: Final = 8


@click.command(
    "worker",
    cls=GroupedCommand,
    epilog="""Ctrl-C or SIGTERM: no new shard is taken, what is in flight ends within 20 seconds, others go on with the
    rest. Run it under a service that starts it again (see configs/fleet).

    Exit codes: 130 and 143 stopped by SIGINT or SIGTERM; 2 it cannot work so; 3 the ledger's server is gone; 4 it was
    taken for dead while it was frozen or cut off, and others have its work.""",
)
@declare(
    takes_no_key,
    config,
    option(
        "Options",
        "--shards",
        metavar="N",
        type=click.IntRange(1, 64),
        default=SHARDS,
        help=f"Shards, or groups of small workspaces, at a time; they share --concurrency. Default: {SHARDS}.",
    ),
    ledger_on_server,
    setting("endpoint", "proxy", "ca_file"),
    setting("concurrency", "rate", "timeout", "max_attempts"),
    option(
        "Sending",
        "--outage-patience",
        metavar="SPAN",
        help="Wait so long while the service is down, at most 60s; then others try. Default: 60s.",
    ),
    setting("details"),
    setting("log_format"),
    option("What is said", "--log-level", metavar="LEVEL", help="debug, info, warning or error. Default: info."),
)
def command(
    *,
    config_file: str | None,
    shards: int,
    **flags: Any,  # noqa: ANN401 - settings, judged by worker.config
) -> None:
    """Take the shards of submitted runs and send them, until it is stopped.

    Keys are this machine's own, as for `run`. A workspace without a key here waits, or goes to other workers.
    """
    settings = begin(flags, config_file, "this worker")
    if "log_level" not in settings.logging.model_fields_set:
        settings = settings.replace(log_level="info")
    start_logs(settings)
    url = ledger_of(settings)
    settings.target.credentials.require_any()

    from worker.cli.execution import loop_factory  # noqa: PLC0415 - slow to import

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        cause = runner.run(_serve(url, settings, shards))
    raise click.exceptions.Exit(128 + signal.Signals[cause.name])


async def _serve(url: str, settings: Settings, shards: int) -> StopCause:
    from worker.cli.signals import Signals  # noqa: PLC0415 - slow to import
    from worker.control import Control  # noqa: PLC0415 - likewise
    from worker.fleet.serving import FleetWorker  # noqa: PLC0415 - likewise
    from worker.logs import LogAttempts  # noqa: PLC0415 - likewise

    gc.freeze()  # as in `execution.execute`
    control = Control()

    def drain(cause: StopCause) -> None:
        control.stop(cause, f"this worker was stopped by {cause.value.upper()}")

    with Signals(asyncio.get_running_loop(), drain, lambda: None):
        await FleetWorker(url, settings, slots=shards, observers=(LogAttempts(),)).run(control)
    assert control.cause is not None  # noqa: S101 - it ends by a signal, or raises
    return control.cause.cause
