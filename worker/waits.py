"""Waiting: of rows under way, which a drain, or the stop of their lane, ends at once; and what nothing ends early."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from worker.errors import RowStopped

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future
    from collections.abc import Awaitable

    from worker.lane import Lane

__all__ = ["Waits", "to_its_end"]

T = TypeVar("T")


async def to_its_end(work: Awaitable[T]) -> T:
    """Await it; who is cancelled meanwhile hears of that when it has ended, and not before."""
    working = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(working)
    finally:
        while not working.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait((working,))


class Waits:
    """Who waits for what, by lane. Used from one event loop."""

    __slots__ = ("_loop", "_parked", "_until_over")

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._parked: dict[Future[None], Lane] = {}
        self._until_over: set[Future[None]] = set()

    @property
    def for_the_end(self) -> int:
        """How many rows wait for the end of sending."""
        return len(self._until_over)

    async def sleep(self, lane: Lane, seconds: float) -> None:
        """Wait so long.

        Raises:
            RowStopped: the wait was ended.
        """
        if seconds > 0:
            waiting: Future[None] = self._loop.create_future()
            timer = self._loop.call_later(seconds, _wake, waiting)
            try:
                await self._park(waiting, lane)
            finally:
                timer.cancel()

    async def until_over(self, lane: Lane) -> None:
        """Wait for `tell_over`.

        Raises:
            RowStopped: the wait was ended.
        """
        waiting: Future[None] = self._loop.create_future()
        self._until_over.add(waiting)
        try:
            await self._park(waiting, lane)
        finally:
            self._until_over.discard(waiting)

    def tell_over(self) -> None:
        """Let everybody go on who waits for the end of sending."""
        for waiting in self._until_over:
            _wake(waiting)

    def end(self, lane: Lane | None) -> None:
        """End the waits of one lane, or all, with `RowStopped`."""
        for waiting, waits_for in list(self._parked.items()):
            if lane in {None, waits_for} and not waiting.done():
                waiting.set_exception(RowStopped())

    async def _park(self, waiting: Future[None], lane: Lane) -> None:
        self._parked[waiting] = lane
        try:
            await waiting
        finally:
            del self._parked[waiting]


def _wake(waiting: Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
