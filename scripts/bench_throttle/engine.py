"""The virtual clock: clients, one service, and a heap of what happens next."""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from worker.breaker import Breaker

if TYPE_CHECKING:
    from bench_throttle.scenarios import Scenario

Reply = tuple[int, float | None]
"""What became of a request, and its Retry-After."""

ARRIVE, REPLY, WAKE, LEAVE = range(4)
ACCEPTED, LIMITED, LOST = range(3)

NETWORK_SPREAD = 0.02
"""Mean of the exponential delay on the way out, in parts of the network's time."""
TIMER_LATENESS = 0.001
"""Seconds by which a timer of an event loop is late at most."""
ATTEMPT_TIMEOUT = 30.0
PATIENCE = 20.0
"""A run is given up at so many times the ideal: a scheme may fail, the simulation may not hang."""


class Scheme(Protocol):
    """What every scheme is asked and told; `worker.throttle.Throttle` is one."""

    def wait(self, now: float, in_flight: int) -> float:
        """0.0: send. Else seconds until it is worth asking again; `math.inf`: not before a reply."""

    def sent(self, now: float) -> None:
        """A request is being sent."""

    def completed(self, now: float, sent_at: float) -> None:
        """It was served."""

    def limited(self, now: float, sent_at: float, retry_after: float | None) -> None:
        """It was answered by 429."""

    def lost(self, now: float, sent_at: float) -> None:
        """It timed out, or was answered by 5xx."""


@dataclass
class Client:
    """One worker: its scheme, its share of the rows, and what came of it."""

    scheme: Scheme
    todo: int
    starts: float = 0.0
    breaker: Breaker = field(default_factory=Breaker)
    in_flight: int = 0
    sends: int = 0
    done: int = 0
    limited: int = 0
    finished: float = math.inf
    wake_at: float = math.inf
    paused_until: float = -math.inf
    violations: int = 0
    most_in_flight: int = 0
    done_at: list[float] = field(default_factory=list)
    sent_at: list[float] = field(default_factory=list)


class Simulation:
    """Runs clients against one scenario's service until all rows are done, or patience ends."""

    def __init__(self, scenario: Scenario, clients: list[Client], *, record: bool = False) -> None:
        self.scenario = scenario
        self.clients = clients
        self.record = record
        self.trace: list[tuple[float, int]] = []
        self._limiter = scenario.limiter()
        self._rng = random.Random(scenario.seed ^ 0x5EED)  # noqa: S311 - a simulation, and to be repeated
        self._heap: list[tuple[float, int, int, Client, float, Reply | None]] = []
        self._order = 0
        self._served = 0

    def run(self, until: float) -> None:
        """Advance to the end of the work, or to `until`."""
        for client in self.clients:
            self._push(client.starts, WAKE, client, 0.0, None)
        left = len(self.clients)
        heap = self._heap
        while heap:
            now, _, kind, client, sent_at, extra = heapq.heappop(heap)
            if now > until:
                return
            if kind == ARRIVE:
                self._arrive(now, client, sent_at)
                continue
            if kind == LEAVE:
                self._served -= 1
                self._limiter.leave(now)
                continue
            if kind == REPLY and extra is not None:
                self._reply(now, client, sent_at, extra)
                if not client.todo and not client.in_flight:
                    client.finished = now
                    left -= 1
                    if not left:
                        return
                    continue
            elif now >= client.wake_at:
                client.wake_at = math.inf
            self._send(now, client)

    def _push(self, at: float, kind: int, client: Client, sent_at: float, extra: Reply | None) -> None:
        self._order += 1
        heapq.heappush(self._heap, (at, self._order, kind, client, sent_at, extra))

    def _send(self, now: float, client: Client) -> None:
        scheme = client.scheme
        guarded = self.scenario.outage is not None
        half = self.scenario.network / 2
        while client.todo:
            delay = scheme.wait(now, client.in_flight)
            if delay == 0.0 and guarded:
                delay = client.breaker.wait(now, client.in_flight)
            if delay > 0.0:
                if delay == math.inf:
                    return
                at = now + delay + self._rng.random() * TIMER_LATENESS
                if at < client.wake_at:
                    client.wake_at = at
                    self._push(at, WAKE, client, 0.0, None)
                return
            scheme.sent(now)
            client.todo -= 1
            client.sends += 1
            if self.record:
                client.sent_at.append(now)
            client.in_flight += 1
            client.most_in_flight = max(client.most_in_flight, client.in_flight)
            if now < client.paused_until - 1e-9:
                client.violations += 1
            jitter = self._rng.expovariate(1.0) * NETWORK_SPREAD if self.scenario.spread else 0.0
            self._push(now + half * (1.0 + jitter), ARRIVE, client, now, None)

    def _arrive(self, now: float, client: Client, sent_at: float) -> None:
        scenario = self.scenario
        back = scenario.network / 2
        outage = scenario.outage
        if outage is not None and outage.start <= now < outage.end:
            end = now + back
            if outage.mood == "timeout":
                # It hangs until the attempt times out, or until the service comes back and resets it.
                end = min(sent_at + ATTEMPT_TIMEOUT, outage.end + back)
            self._push(end, REPLY, client, sent_at, (LOST, None))
            return
        need = self._limiter.decide(now)
        if need is not None:
            self._push(now + back, REPLY, client, sent_at, (LIMITED, self._retry_after(now, back, need)))
            return
        self._served += 1
        service = scenario.service * max(1.0, self._served / scenario.knee)
        if scenario.spread:
            sigma = scenario.spread
            service *= self._rng.lognormvariate(-sigma * sigma / 2, sigma)
        self._push(now + service, LEAVE, client, sent_at, None)
        self._push(now + service + back, REPLY, client, sent_at, (ACCEPTED, None))

    def _retry_after(self, now: float, back: float, need: float) -> float | None:
        """Seconds as the lane is told them: whole ones, or the distance to a date's whole second."""
        kind = self.scenario.retry_after
        if kind == "seconds":
            return max(1.0, math.ceil(need))
        if kind == "date":
            wall = self.scenario.phase
            return max(0.0, math.ceil(now + need + wall) - wall - (now + back))
        return None

    def _reply(self, now: float, client: Client, sent_at: float, extra: Reply) -> None:
        client.in_flight -= 1
        verdict, retry_after = extra
        if verdict == ACCEPTED:
            client.done += 1
            client.breaker.succeeded(now)
            client.scheme.completed(now, sent_at)
            if self.record:
                client.done_at.append(now)
            return
        client.todo += 1
        if verdict == LIMITED:
            client.limited += 1
            client.breaker.succeeded(now)
            client.scheme.limited(now, sent_at, retry_after)
            if retry_after is not None:
                client.paused_until = max(client.paused_until, now + retry_after)
        else:
            client.breaker.failed(now)
            client.scheme.lost(now, sent_at)
