"""A limit that was met: when the next request may go, and what each reply says of the limit."""

from __future__ import annotations

import math

from worker.throttle import pace
from worker.throttle.crowd import Crowd
from worker.throttle.level import Level
from worker.throttle.quota import CLOSED_LEAST, CLOSED_STILL, LEAST_ACCEPTED, Quota, probe_gap
from worker.throttle.tally import SHORTEST, Tally

__all__ = ["Limit"]

CATCH_UP = 0.003
"""Seconds of pace that may be made up for: timers are late, limiters see a burst of that as jitter."""
NOT_PACED = 0.5
"""A request that is late by this part of the time since the last one had not waited for its pace at all."""
ECHO_EXCESS = 3
"""So many rejected for each accepted request, and it is no echo."""
WINDOW_SLACK = 1.1
"""The window's rate by Little's law is known no better than that."""
ROOM = 2.0
ROOM_LEAST = 4.0
"""In flight, in times of what the level needs by Little's law: a pace holds the lane, not a window."""
SILENCE = 1.0
"""Seconds without a word after losses which are an outage, and no measure of the limit."""


class Limit:
    """The state from the first 429 on.

    It is in one of three modes. Paced: requests go at the level's rate, under the crowd's cap; a 429 to one that
    was sent after the last cut is an event and gives a new level, and 429s of a short time after it are its
    echo. Closed: nothing is accepted, and one probe at a time asks. Quota: the limit is one of long windows, so
    each one is spent at once.
    """

    __slots__ = (
        "_closed",
        "_closed_from",
        "_crowd_met",
        "_cut_at",
        "_echo_until",
        "_event_sent",
        "_flying",
        "_gate",
        "_heard_at",
        "_last_probe",
        "_losing",
        "_sent_at",
        "_slot",
        "_tally",
        "crowd",
        "level",
        "quota",
        "room",
        "round_trip",
    )

    def __init__(self, now: float, sent_at: float, delivered: float, accepted: int, started_at: float) -> None:
        self.level = Level(now, delivered, 1.0 / max(now - sent_at, SHORTEST))
        self.quota: Quota | None = None
        """Set while the limit is one of long windows."""
        self.crowd = Crowd()
        self.round_trip = 0.0
        self.room = 0.0
        """So many in flight are no more than the level needs, whatever the window says."""
        self._tally = Tally(now, accepted, started_at)
        self._slot = now + 1.0 / self.level.rate
        self._flying: dict[float, int] = {}
        """How many were in flight when each was sent."""
        self._crowd_met = 0
        self._event_sent = sent_at
        self._cut_at = now
        self._echo_until = -math.inf
        self._gate = 0.0
        """Seconds that the last Retry-After shut the lane for; 0.0 while there was none."""
        self._closed = False
        self._closed_from = now
        self._last_probe = -math.inf
        self._losing = False
        self._heard_at = now
        self._sent_at = now

    # -- asked --------------------------------------------------------------------------------------------

    def wait(self, in_flight: int) -> float:
        """0.0 or `math.inf`, where neither gate nor pace holds the lane."""
        if self._closed:
            return math.inf if in_flight > 0 and self._last_probe >= self._cut_at else 0.0
        if self.quota is not None:
            return 0.0 if self.quota.allows(in_flight) else math.inf
        if in_flight < self.crowd.cap:
            return 0.0
        self.crowd.full = True
        return math.inf

    def sent(self, now: float, in_flight: int) -> float:
        """A request is being sent, the `in_flight`th; returns when the next one may be."""
        self._flying[now] = in_flight
        if self._closed:
            self._last_probe = now
            return now
        if self.quota is not None:
            self.quota.spend()
            if self.quota.outgrown:
                self._leave_quota(now)
            return now
        late, gap = now - self._slot, now - self._sent_at
        self._sent_at = now
        if late > CATCH_UP and self.crowd.cap == math.inf and not self._losing:
            self.level.idled(now, late if late < NOT_PACED * gap else gap)
        self._slot = max(self._slot, now - CATCH_UP) + 1.0 / self._rate_at(now)
        return self._slot

    def _rate_at(self, now: float) -> float:
        if now < self._echo_until:
            return pace.SETTLE_FACTOR * self.level.rate
        return self.level.at(now, self.round_trip)

    def _rate_before(self, sent_at: float, crowd: int) -> float:
        """The rate at which the lane was sending, by its pace or, where the window held it, by Little's law."""
        rate = self._rate_at(sent_at)
        return rate if crowd <= pace.TELLING else min(rate, WINDOW_SLACK * crowd / max(self.round_trip, SHORTEST))

    def _crowd_met_by(self, sent_at: float) -> int:
        """How many were in flight then; of those sent at one instant the first alone knows, and the others go by it."""
        self._crowd_met = self._flying.pop(sent_at, self._crowd_met)
        return self._crowd_met

    # -- told ---------------------------------------------------------------------------------------------

    def lost(self, sent_at: float) -> None:
        """Timeout, reset or 5xx."""
        self._flying.pop(sent_at, None)
        self._losing = True

    def accepted(self, now: float, sent_at: float) -> None:
        """A request was served."""
        crowd = self._crowd_met_by(sent_at)
        if self._losing:
            self._skip_silence(now)
        self._heard_at = now
        self._tally.served()
        if sent_at <= self._cut_at:
            return
        self.crowd.accepted(crowd)
        self._tally.said_yes()
        if self._closed:
            self._open(now, sent_at)
        elif self.quota is not None:
            self.quota.proven()
        elif self._echo_until != -math.inf and now >= self._echo_until:
            self._judge_echo(now)

    def rejected(self, now: float, sent_at: float, gate_end: float, retry_after: float) -> float:
        """A 429; the lane is shut until `gate_end`. Returns when the next request may be sent."""
        crowd = self._crowd_met_by(sent_at)
        self._heard_at = now
        if retry_after > 0.0:
            self._gate = retry_after
        if sent_at <= self._cut_at:
            if sent_at > self._event_sent:
                self.level.echoed()
        elif self._closed:
            self._cut_at = now
            return max(self._next_probe(now), gate_end)
        else:
            if crowd and (self.level.trusted or now < self.level.hold_end):
                self.crowd.rejected(crowd * self.level.rate / self.level.at(sent_at, self.round_trip))
            self._tally.no += 1
            self._met(now, sent_at, crowd, gate_end, lasting=retry_after >= CLOSED_LEAST)
        if gate_end > now:
            self.level.hold_beyond(gate_end)
        return max(self._slot, gate_end)

    def _met(self, now: float, sent_at: float, crowd: int, gate_end: float, *, lasting: bool) -> None:
        """The limit was met by a request sent after the last cut: a closure, an echo, an event, or chance."""
        tally = self._tally
        if self.quota is not None or lasting:
            self._shut(now, sent_at)
        elif now < self._echo_until:
            if tally.no >= pace.TELLING and tally.no > ECHO_EXCESS * tally.ok:
                self._judge_echo(now)
        elif self._echo_until != -math.inf:
            self._judge_echo(now)
        elif tally.ok == 0 and not self.level.trusted:
            self._shut(now, self._event_sent)
        elif self._gate > 0.0 or not tally.chance(searching=not self.level.trusted):
            self._event(now, sent_at, crowd, gate_end)

    def _event(self, now: float, sent_at: float, crowd: int, gate_end: float) -> None:
        """The limit was met anew: find the new level, and how long to keep it."""
        rate, early = self._rate_before(sent_at, crowd), sent_at < self.level.hold_end
        gate = self._gate if gate_end > now else 0.0
        self.level.met(early=early)
        if self.level.unlucky:
            self.crowd.acquit()
        if self.crowd.blamed(crowd, probing=not early, gated=gate > 0.0):
            self.level.leave_to(self.crowd.rate(self.level.rate, self.round_trip), gate)
        else:
            accepted, span, open_span = self._tally.since_event(now)
            seen = pace.Seen(accepted, span, open_span, gated=self._gate > 0.0)
            self.level.too_fast(rate, seen, self._tally.no, gate)
        self._event_sent = sent_at
        self._tally.event(now)
        self._cut(now, gate_end)

    def _cut(self, now: float, gate_end: float) -> None:
        """Replies to what was sent until now say nothing about the new level."""
        resume = max(now, gate_end)
        self._tally.cut(now, gate_end)
        self._set_room()
        self._cut_at = now
        # A limiter forgets behind a gate too: its time counts.
        self._slot = max(resume, now + 1.0 / self.level.rate)
        self._echo_until = -math.inf
        if self.level.trusted:
            self._echo_until = max(resume, now + pace.settle_for(self.level.rate, self.round_trip))
        self.level.hold_from(max(resume, self._echo_until))

    def _judge_echo(self, now: float) -> None:
        """The time in which 429s were the last event's echo is over."""
        self._echo_until = -math.inf
        if self._tally.no <= self._tally.ok:
            return
        if self._gate == 0.0:
            self._shut(now, self._cut_at)
            return
        self.level.drowned()
        self._event_sent = now
        self._cut(now, self._tally.gate_end)

    # -- closed, and long windows -----------------------------------------------------------------------

    def _shut(self, now: float, since: float) -> None:
        """Nothing is accepted any more: only probes go, until one is accepted."""
        self._closed = True
        self._closed_from = since
        self._cut_at = now
        self._echo_until = -math.inf
        self._next_probe(now)

    def _next_probe(self, now: float) -> float:
        """When a closed limit is asked again."""
        closed_for, (accepted, _) = now - self._closed_from, self._tally.cycle(now)
        self._slot = now + probe_gap(closed_for, self.level.rate, accepted, trusted=self.level.trusted)
        if self.quota is not None and self._gate == 0.0:
            known = self.quota.next_probe(now, closed_for)
            self._slot = self._slot if math.isnan(known) else known
        return self._slot

    def _open(self, now: float, sent_at: float) -> None:
        """The first request after a closure was accepted."""
        self._closed = False
        accepted, span = self._tally.cycle(now)
        closed = min(sent_at - self._closed_from, span)
        least = CLOSED_LEAST if self.quota is None else CLOSED_STILL
        if self.quota is not None and self.quota.goes_on(now):
            self.quota.resumed()
            self._slot = now
            return
        if closed >= least and accepted >= LEAST_ACCEPTED:
            self.quota = self.quota or Quota()
            self.quota.opened(now, accepted, span, self.round_trip)
            self._slot = now
        else:
            if self.quota is None:
                self.level.reopened(accepted, span, closed, gated=self._gate > 0.0)
            else:
                self.quota = None
                self.level.guess(accepted, span)
            self._cut(now, now)
        self._tally.opened(now)

    def _leave_quota(self, now: float) -> None:
        """Far more than the quota went through."""
        self.quota = None
        self.level.guess(*self._tally.this_cycle(now))
        self._event_sent = now
        self._tally.opened(now)
        self._cut(now, now)

    # -- the rest -----------------------------------------------------------------------------------------

    def round_ended(self, now: float, round_trip: float) -> None:
        """A round trip is over."""
        self.round_trip = round_trip
        self._set_room()
        if self.crowd.full:
            self.crowd.full = False
            if now > self.level.hold_end:
                self.crowd.probe()

    def _set_room(self) -> None:
        self.room = ROOM * self.level.rate * self.round_trip + ROOM_LEAST

    def _skip_silence(self, now: float) -> None:
        """An outage is over: it says nothing about the limit, so leave it out of what is measured."""
        self._losing = False
        gap = now - self._heard_at
        if gap > SILENCE:
            self._tally.skip(gap)
            self.level.hold_end += gap
