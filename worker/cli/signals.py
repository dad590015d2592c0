"""The first signal drains, the second one leaves at once."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Final, Self

from worker.models import StopCause

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from types import FrameType

__all__ = ["Signals"]

_CAUSES: Final = {signal.SIGINT: StopCause.SIGINT, signal.SIGTERM: StopCause.SIGTERM}


class Signals:
    """Handles SIGINT and SIGTERM within a `with` block.

    Handlers of the interpreter's, not of the event loop's: the second signal must work in a loop that hangs.

    Args:
        loop: the loop in which `drain` is called.
        drain: called once, with the first signal's cause.
        leave: called before the second signal ends the process; may only do what a signal handler may.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        drain: Callable[[StopCause], None],
        leave: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._drain = drain
        self._leave = leave
        self._asked = False
        self._former: dict[signal.Signals, signal._HANDLER] = {}

    def __enter__(self) -> Self:
        """Take the signals over."""
        self._former = {number: signal.signal(number, self._handle) for number in _CAUSES}
        return self

    def __exit__(self, *_: object) -> None:
        """Give them back."""
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._asked:
            try:
                self._leave()
            finally:
                os._exit(128 + number)
        self._asked = True
        self._loop.call_soon_threadsafe(self._drain, _CAUSES[signal.Signals(number)])
