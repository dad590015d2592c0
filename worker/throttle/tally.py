"""What was accepted and rejected: since the last cut, since the last event, and from opening to opening."""

from __future__ import annotations

__all__ = ["SHORTEST", "Tally"]

SHORTEST = 1e-3
"""Seconds: no span is taken for shorter."""
CHANCE = 0.04
CHANCE_LEAST = 1
"""429s that are no more than this part of the last replies, and this number, are held for chance."""
CHANCE_SEARCHING = 0.06
"""The same part while no level is known: a lane that is crowded out must not take every 429 for its own doing."""
CHANCE_FROM = 8
"""Accepted requests since the last cut from which on they are judged so."""
CHANCE_REPLIES = 64
"""The most replies that are looked back on."""


class Tally:
    """Counts of one lane behind a limit. Times are monotonic seconds."""

    __slots__ = (
        "_accepted",
        "_before",
        "_before_from",
        "_cycle",
        "_cycle_from",
        "_from",
        "gate_end",
        "no",
        "ok",
    )

    def __init__(self, now: float, accepted: int, started_at: float) -> None:
        self.ok = 0
        self.no = 0
        """Replies to what was sent after the last cut; of late ones only, once they are many."""
        self.gate_end = now
        self._accepted = 0
        self._from = now
        # From one opening of the limit to the next; an event begins a new cycle, but is kept until an opening.
        self._cycle = 0
        self._cycle_from = now
        self._before = accepted
        self._before_from = started_at

    def served(self) -> None:
        """A request was accepted."""
        self._accepted += 1
        self._cycle += 1

    def said_yes(self) -> None:
        """The same, and it was sent after the last cut."""
        self.ok += 1
        if self.ok >= CHANCE_REPLIES:
            self.ok //= 2
            self.no //= 2

    def chance(self, *, searching: bool) -> bool:
        """Whether so few 429s may have another reason than the rate."""
        return self.ok >= CHANCE_FROM and self.no <= CHANCE_LEAST + (CHANCE_SEARCHING if searching else CHANCE) * (
            self.ok + self.no
        )

    def since_event(self, now: float) -> tuple[int, float, float]:
        """Accepted, seconds, and seconds that no gate held the lane."""
        return (
            self._accepted,
            max(now - self._from, SHORTEST),
            max(now - max(self._from, self.gate_end), SHORTEST),
        )

    def cycle(self, now: float) -> tuple[int, float]:
        """Accepted, and seconds, since the limit last opened."""
        return self._cycle + self._before, max(now - self._before_from, SHORTEST)

    def this_cycle(self, now: float) -> tuple[int, float]:
        """The same, since the last event or opening."""
        return self._cycle, max(now - self._cycle_from, SHORTEST)

    def event(self, now: float) -> None:
        """The limit was met: a new cycle, while the one before is kept until an opening."""
        self._before, self._before_from = self._cycle, self._cycle_from
        self._cycle, self._cycle_from = 0, now

    def opened(self, now: float) -> None:
        """The limit opened after a closure."""
        self._cycle = self._before = 0
        self._cycle_from = self._before_from = now

    def cut(self, now: float, gate_end: float) -> None:
        """The level was changed: what follows is measured anew."""
        self.ok = self.no = 0
        self._accepted = 0
        self._from = now
        self.gate_end = gate_end

    def skip(self, gap: float) -> None:
        """An outage of `gap` seconds says nothing about the limit."""
        self._from += gap
        self._cycle_from += gap
        self._before_from += gap
