"""Everything that one running simulator knows, and how a change of settings reaches it."""

from __future__ import annotations

import random
from itertools import count
from typing import TYPE_CHECKING

from worker.simulator.faults import Picker
from worker.simulator.ids import Seeded
from worker.simulator.limits import Limits
from worker.simulator.render import CredentialWriter
from worker.simulator.stats import Stats
from worker.simulator.truth import TruthLog
from worker.simulator.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.simulator.fault_settings import Fault, ReadFault
    from worker.simulator.settings import SimulatorSettings, VoidForm

__all__ = ["State"]


class State:
    """The parts that the routes work with.

    Args:
        settings: how to begin.
        clock: Unix seconds.
    """

    def __init__(self, settings: SimulatorSettings, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.started = clock()
        self.settings = settings
        self.seeded = Seeded(settings.seed)
        self.world = World(self.seeded, settings.world)
        self.writer = CredentialWriter(self.world, self.seeded)
        self.truth = TruthLog(settings.log)
        self.stats = Stats()
        self.limits = Limits(settings.limit_scope, settings.limit, settings.workspace_limits)
        self.faults: Picker[Fault] = Picker(settings.faults.shares, settings.faults.times)
        self.read_faults: Picker[ReadFault] = Picker(settings.read_faults.shares, settings.read_faults.times)
        self.void: Picker[VoidForm] = Picker(settings.void, 0)
        self._random = random.Random(settings.seed)  # noqa: S311 - latencies, no secrets
        self._request_prefix = f"{settings.seed & 0xFFFFFFFF:08x}-5eed-4000-8000-"
        self._requests = count(1)

    @property
    def age(self) -> float:
        """Seconds since the start."""
        return self.clock() - self.started

    def next_request_id(self) -> str:
        """A fresh `seam-request-id`."""
        return f"{self._request_prefix}{next(self._requests):012x}"

    def latency(self) -> float:
        """How long the next reply takes, in seconds."""
        latency = self.settings.latency
        seconds = latency.median
        if latency.sigma and seconds:
            seconds *= self._random.lognormvariate(0.0, latency.sigma)
        if latency.per_in_flight:
            crowd = self.stats.in_flight - latency.free_in_flight
            seconds += max(0, crowd) * latency.per_in_flight
        return seconds

    def configure(self, settings: SimulatorSettings) -> None:
        """Take other settings from now on. The seed stays; counts start anew only where their rule changed."""
        old, self.settings = self.settings, settings
        self.world.settings = settings.world
        self.truth.detail = settings.log
        if (old.limit_scope, old.limit, old.workspace_limits) != (
            settings.limit_scope,
            settings.limit,
            settings.workspace_limits,
        ):
            self.limits = Limits(settings.limit_scope, settings.limit, settings.workspace_limits)
        if old.faults != settings.faults:
            self.faults = Picker(settings.faults.shares, settings.faults.times)
        if old.read_faults != settings.read_faults:
            self.read_faults = Picker(settings.read_faults.shares, settings.read_faults.times)
        if old.void != settings.void:
            self.void = Picker(settings.void, 0)
