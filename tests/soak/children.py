"""Runs in forked children: each starts in milliseconds, since the parent has imported everything, and dies for real.

The parent must have no threads and no open database when it forks.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import traceback
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import uvloop

from worker.batch import run_batch
from worker.config import Settings
from worker.control import Control
from worker.errors import AssignWorkerError
from worker.models import Step, StopCause
from worker.retrying import retry_run
from worker.undoing import undo_run
from worker.verifying import verify_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.soak.ground import Ground

__all__ = ["Does", "fork_run", "wait_for"]

Does = Literal["run", "retry", "verify", "undo"]


def fork_run(  # noqa: PLR0913 - what a child is told
    ground: Ground,
    *,
    concurrency: int,
    timeout: float,
    die_at: tuple[Step, int] | None = None,
    before: Callable[[], None] | None = None,
    does: Does = "run",
    **options: Any,
) -> int:
    """Start a command on this ground in a child; its process id.

    Args:
        ground: the input, the ledger, the service.
        concurrency: as the option.
        timeout: as the option, seconds.
        die_at: kill -9 itself at the n-th time that this step is reached.
        before: called in the child first.
        does: send the input; or retry, verify or undo the latest run of the ledger.
        **options: further settings.
    """
    pid = os.fork()
    if pid:
        return pid
    code = 70
    with suppress(BaseException):
        if before is not None:
            before()
        code = _child(ground, concurrency=concurrency, timeout=timeout, die_at=die_at, does=does, **options)
    os._exit(code)


def _child(
    ground: Ground, *, concurrency: int, timeout: float, die_at: tuple[Step, int] | None, does: Does, **options: Any
) -> int:
    left = {die_at[0]: die_at[1]} if die_at else {}

    def on_step(step: Step) -> None:
        if step in left:
            left[step] -= 1
            if left[step] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    async def main() -> int:
        control = Control()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, control.stop, StopCause.SIGTERM)
        settings = Settings.from_options(
            api_key=ground.server.api_key,
            endpoint=ground.server.url,
            ledger=ground.ledger_url,
            results={"undo": ground.undone, "verify": ground.verified}.get(does, ground.results),
            concurrency=concurrency,
            timeout=timeout,
            **options,
        )
        if does == "verify":
            return (await verify_run(None, settings, control=control)).exit_code
        call = {"run": partial(run_batch, ground.jobs), "retry": partial(retry_run, None)}.get(
            does, partial(undo_run, None)
        )
        report = await call(settings, control=control, on_step=on_step if die_at else None)
        return report.exit_code

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(main())
    except AssignWorkerError as error:
        with (ground.folder / "errors.txt").open("a") as told:
            told.write(f"{error}\n")
        return error.exit_code
    except BaseException:  # noqa: BLE001 - told, and judged by the parent
        with (ground.folder / "errors.txt").open("a") as told:
            traceback.print_exc(file=told)
        return 70


def wait_for(pid: int) -> int:
    """The child's exit code; minus the signal that ended it."""
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


if sys.platform == "win32":
    raise RuntimeError("needs fork")
