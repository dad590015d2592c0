"""What a run and whoever started it tell each other while it goes on: stop, and how far it is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeVar

from worker.models import Outcome, Stop, StopCause

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

__all__ = ["Control", "Phase", "Progress"]

Phase = Literal["staging", "connecting", "reading", "confirming", "sending", "exporting"]

_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

    phase: Phase
    total: int | None
    """Rows of the input; None while they are being counted."""
    done: int
    """Rows with a result, those of earlier executions included; while staging, rows read; while reading,
    credentials whose present owner is known."""
    outcomes: Mapping[Outcome, int] = field(default_factory=dict)
    in_flight: int = 0
    rate: float = 0.0
    """Rows/s over the last seconds."""
    throttled: bool = False
    """The service has said 429, and its limit is being kept."""
    limit_rate: float | None = None
    """Requests/s that the service was found to take."""
    note: str | None = None
    """Why nothing moves, where nothing does."""
    workspaces: Mapping[str | None, Mapping[Outcome, int]] = field(default_factory=dict)
    """`outcomes` by workspace, where the run has several; goes on counting."""


class Control:
    """Ends a run from outside, in order: what is in flight ends, the rest stays resumable."""

    def __init__(self) -> None:
        self.cause: Stop | None = None
        self._asked = asyncio.Event()
        self._forward: Callable[[Stop], None] | None = None

    def stop(self, cause: StopCause, message: str = "stopped by a signal; the same command goes on from here") -> None:
        """Ask the run to drain. The first cause stays. Call it in the run's event loop."""
        if self.cause is None:
            self.cause = Stop(cause, message)
            self._asked.set()
            if self._forward is not None:
                self._forward(self.cause)

    def forward_to(self, stop: Callable[[Stop], None] | None) -> None:
        """Have `stop` called when asked; at once if it was already."""
        self._forward = stop
        if stop is not None and self.cause is not None:
            stop(self.cause)

    async def sleep(self, seconds: float) -> bool:
        """Wait so long; False as soon as a stop is asked for."""
        try:
            # Not `wait_for`: before Python 3.12 it forgets that it was cancelled, where a stop is asked for just then.
            async with asyncio.timeout(seconds):
                await self._asked.wait()
        except TimeoutError:
            return True
        return False

    async def unless_stopped(self, asking: Awaitable[_Answer]) -> _Answer | None:
        """What it gives; None, and it is cancelled, as soon as a stop is asked for."""
        answer, stopped = asyncio.ensure_future(asking), asyncio.ensure_future(self._asked.wait())
        try:
            await asyncio.wait((answer, stopped), return_when=asyncio.FIRST_COMPLETED)
            return None if stopped.done() else await answer
        finally:
            for task in (answer, stopped):
                task.cancel()
            await asyncio.wait((answer, stopped))
