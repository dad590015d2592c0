"""Decides when one lane may send its next request: as fast as helps, just under a limit nobody told us.

Nothing here waits or reads a clock: every method takes `now`, so that all of it runs on a virtual clock.

- `growth`: how many may be in flight while no limit is in sight;
- `pace`: the rate over time once a limit was met, and what an event teaches about it; pure functions;
- `tally`: what was accepted and rejected since when, and which 429s are chance;
- `level`: the rate that is held, how sure it is, and what each 429 makes of it;
- `quota`: windows so long that they are worth waiting for;
- `crowd`: limits of what is in flight, told from limits of the rate;
- `limit`: what follows from all that, once a first 429 came;
- `policy`: the gate that the lane asks.
"""

from worker.throttle.policy import Throttle

__all__ = ["Throttle"]
