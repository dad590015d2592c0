"""One execution of a run from the command line: event loop, signals, progress, rehearsal."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Final

from worker.batch import run_batch
from worker.cli.loading import start_logs
from worker.cli.progress import Lines
from worker.cli.rehearsal import Rehearsal
from worker.cli.signals import Signals
from worker.config import hide_password
from worker.control import Control
from worker.logs import LogAttempts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from worker.cli.progress import Teller
    from worker.config import Logging, Settings
    from worker.control import Progress
    from worker.models import StopCause
    from worker.report import RunReport

__all__ = ["choose_teller", "execute"]

_ONCE: Final = frozenset({"--again", "--recover"})
"""Flags that begin something: the command that goes on leaves them out, or it would begin anew."""


def execute(source: Path | None, settings: Settings, *, again: bool, recover: bool, simulate: bool) -> RunReport:
    """Run a batch to its end, or to the first signal; the arguments are those of `run_batch`.

    Args:
        source: the input; None is stdin.
        settings: of this run; in a rehearsal, its target is replaced.
        again: send a finished input once more.
        recover: the ledger may be older than what was sent.
        simulate: rehearse against a look-alike that lives as long as the run.
    """
    with choose_teller(settings.logging) as teller, asyncio.Runner(loop_factory=_loop_factory()) as runner:
        start_logs(settings, stream=teller.stream)
        return runner.run(_run(source, settings, teller, again=again, recover=recover, simulate=simulate))


def choose_teller(logging: Logging) -> Teller:
    """The bar where stderr is a terminal and nobody turned it off, else lines in the log."""
    wants_bar = logging.progress and not logging.quiet
    if not wants_bar or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        return Lines()
    from worker.cli.bar import Bar  # noqa: PLC0415 - slow to import

    return Bar()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - absent on some platforms
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _run(  # noqa: PLR0913 - the command's switches
    source: Path | None, settings: Settings, teller: Teller, *, again: bool, recover: bool, simulate: bool
) -> RunReport:
    control, rehearsal = Control(), Rehearsal()
    latest: Progress | None = None

    def watch(progress: Progress) -> None:
        nonlocal latest
        latest = progress
        teller(progress)

    def drain(cause: StopCause) -> None:
        control.stop(cause, f"interrupted by {cause.value.upper()}; the same command goes on from here")
        teller.say(_farewell(latest))

    def leave() -> None:
        rehearsal.kill()
        teller.leave()

    with Signals(asyncio.get_running_loop(), drain, leave):
        try:
            if simulate:
                settings = await rehearsal.start(settings)
            return await run_batch(
                source,
                settings,
                again=again,
                recover=recover,
                rehearsal=simulate,
                control=control,
                watch=watch,
                observers=(LogAttempts(),),
                command=("assign-worker", *(hide_password(word) for word in sys.argv[1:] if word not in _ONCE)),
            )
        finally:
            await rehearsal.end()


def _farewell(progress: Progress | None) -> str:
    """What the first signal is answered with."""
    again = "press Ctrl-C again to leave at once"
    if progress is None or progress.phase != "sending":
        return f"stopping; {again}"
    requests = f"{progress.in_flight} request{'' if progress.in_flight == 1 else 's'}"
    return f"finishing {requests} in flight; {again}"
