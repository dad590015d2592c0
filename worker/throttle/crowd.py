"""Tells a limit of what is in flight from a limit of the rate, and keeps below it."""

from __future__ import annotations

import math

__all__ = ["Crowd"]

MEMORY = 64
"""Accepted requests whose crowd is remembered."""
GAIN = 0.5
SUSPECT = 0.2
"""If rejected requests met a larger crowd than all but this share of the accepted ones did, the crowd is it."""
NEAR = 0.7
"""A 429 well below the cap has another reason."""
PROBE_SHARE = 0.03
"""By so much of it, but at least one, the cap is raised per round trip once its hold is over."""
PROBED = 1.1
"""A probe that fails within so many times what held before has shown that to be right. Where a 429 costs nothing but
itself, a little more is tried all the same."""
HEADROOM = 1.3
"""The rate stays so much above what the cap allows, so that the cap alone counts."""
MOST_RISE = 2.0
"""But no more than so many times the level, which had been accepted: where replies stall, the crowd is of their making,
and the round trip is no measure of what the cap allows."""


class Crowd:
    """How many were in flight when requests were accepted and rejected, and the cap that follows."""

    __slots__ = ("_accepted", "_at", "_cleared", "_held", "_share", "cap", "full")

    def __init__(self) -> None:
        self.cap = math.inf
        """At most so many in flight; infinite while the limit is held to be one of the rate."""
        self.full = False
        """Whether the cap has held anything back in this round."""
        self._accepted = [0] * MEMORY
        self._at = 0
        self._held = math.inf
        self._share = 0.5
        self._cleared = False
        """A cap has failed: the crowd is not suspected again before some level has held."""

    def accepted(self, crowd: int) -> None:
        """A request was accepted that met `crowd` in flight, itself included."""
        self._at = (self._at + 1) % MEMORY
        self._accepted[self._at] = crowd

    def rejected(self, crowd: float) -> None:
        """A request was rejected that met `crowd`, less what a rate above the accepted one brings with it."""
        if self.cap == math.inf:
            as_large = sum(other >= crowd for other in self._accepted) / MEMORY
            self._share += GAIN * (as_large - self._share)

    def blamed(self, crowd: int, *, probing: bool, gated: bool) -> bool:
        """Whether this 429 is the crowd's doing; if so, the cap is set below it. `gated`: it shuts the lane."""
        if probing:
            self._cleared = False
        suspect = self._share < SUSPECT and crowd > 1 and not self._cleared
        guilty = suspect if self.cap == math.inf else crowd >= NEAR * self.cap
        if guilty:
            # Where a probe went too far, back to what has held; where that itself is too much, below it.
            if probing and self._held < crowd:
                below = crowd - 2.0
                self.cap = self._held if gated and below <= PROBED * self._held else max(below, self._held)
            else:
                self.cap = max(crowd - 1.0, 1.0)
            self._held = self.cap
        elif self.cap != math.inf:
            self.acquit()
        return guilty

    def acquit(self) -> None:
        """Caps that keep failing are no caps."""
        if self.cap != math.inf:
            self.cap = self._held = math.inf
            self._share = 0.5
            self._cleared = True

    def rate(self, level: float, round_trip: float) -> float:
        """The level that leaves it to the cap."""
        return max(level, min(HEADROOM * self.cap / max(round_trip, 1e-3), MOST_RISE * level))

    def probe(self) -> None:
        """A round trip with a full cap went well after its hold: try one more."""
        self.cap += max(1.0, PROBE_SHARE * self.cap)
