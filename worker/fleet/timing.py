"""The times of a fleet, all in seconds, and how they hang together."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Timing"]


@dataclass(frozen=True)
class Timing:
    """When a worker is taken for dead, and how long things wait.

    A lease ends before its holder is taken for dead, so that whoever is given its work finds it free; a worker that
    stops has ended before it would be taken for dead, since it gives no sign of life meanwhile.
    """

    heartbeat: float = 10.0
    """Between two signs of life."""
    stale: float = 60.0
    """A worker without a sign of life for so long is dead: its work goes to others."""
    grace: float = 20.0
    """After SIGTERM, for requests in flight; what is then still open is read back by the next."""
    lease: float = 30.0
    """For which a shard is held without renewal."""
    look: float = 5.0
    """Between two looks for the work of the dead, for runs that lack jobs, and for runs that are done."""
    poll: float = 2.0
    """Between two looks for work, where nothing told of any."""
    patience: float = 60.0
    """A worker without any success in a workspace for so long hands it on: others may reach the service."""
    pause: float = 30.0
    """Before what cannot go on now is tried again, here or elsewhere: no key, no service, somebody else's hold."""

    def __post_init__(self) -> None:
        if not (self.heartbeat < self.stale and self.grace < self.stale and self.lease < self.stale):
            raise ValueError("heartbeat, grace and lease must be below stale")
