"""For how long a process may go on without a word from the ledger's server.

A lease stands in the ledger with its end by the server's clock; its holder knows it by a clock of its own that
counts a suspended machine's time too. The holder's end comes first: it counts from before it asked (DESIGN 11.7).
"""

from __future__ import annotations

import time
from typing import Final

from worker.errors import LedgerWriteError

__all__ = ["LEASE", "RENEWALS", "Lease"]

LEASE: Final = 30.0
"""Seconds for which a claim holds without renewal."""
RENEWALS: Final = 3
"""Tries to renew within one lease."""
_MARGIN: Final = 0.05
"""Of a lease, kept for the way from the last look at it to the network."""

_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Lease:
    """One process's leave to send. Any thread may ask it.

    Args:
        seconds: that each renewal gives.
    """

    __slots__ = ("_until", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._until = 0.0

    @staticmethod
    def now() -> float:
        """Seconds of a clock that nobody sets and that does not stop while the machine sleeps."""
        return time.clock_gettime(_CLOCK)

    def renewed(self, asked_at: float) -> None:
        """The server has given it anew; it was asked at `asked_at`, by `now`."""
        self._until = asked_at + self.seconds * (1 - _MARGIN)

    def lost(self) -> None:
        """It is gone for good."""
        self._until = 0.0

    def holds(self) -> bool:
        """Whether nobody else can have it yet."""
        return time.clock_gettime(_CLOCK) < self._until

    def require(self) -> None:
        """See that it holds.

        Raises:
            LedgerWriteError: it may be gone.
        """
        if time.clock_gettime(_CLOCK) >= self._until:
            raise LedgerWriteError(
                "this process had no word from the ledger's server for as long as it may hold the run, so another one "
                "may have taken it over; nothing more was sent. The same command goes on from here."
            )
