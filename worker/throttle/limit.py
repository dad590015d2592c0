"""A limit that was met: where it is held to be, and when the next request may go."""

from __future__ import annotations

import math

from worker.throttle import pace
from worker.throttle.crowd import Crowd
from worker.throttle.quota import CLOSED_LEAST, CLOSED_STILL, LEAST_ACCEPTED, Quota, probe_gap

__all__ = ["Limit"]

FIRST_CUT = 0.6
"""Of the rate delivered until the first 429."""
LEAST_LEVEL = 0.01
"""Requests/s: even a limit of some a minute is left room to be found again."""
MOVED_DOWN = 0.75
MOVED_UP = 1.5
"""A new level beyond these parts of the old one means that the limit itself moved."""
CATCH_UP = 0.003
"""Seconds of pace that may be made up for: timers are late, limiters see a burst of that as jitter."""
SEARCH_HOLD_GATED = 1.0
SEARCH_HOLD_ROWS = 20.0
SEARCH_HOLD_MOST = 3.0
"""Seconds (where a 429 brings a gate) and rows on a level that is only a guess; no longer than the last, lest a
lane that was crowded out never asks for more."""
CEILING_PASSED = 1.5
"""A level that failed bounds the next ones, until so many times of it has been reached."""
TRUST_LOST_AFTER = 3
ECHO_EXCESS = 3
"""So many rejected for each accepted request, and it is no echo."""
ECHO_CUT = 0.5
"""Of the level, where the echo of a 429 drowns what is accepted."""
KEPT_AT_OPENING = (0.95, 0.85, 0.7)
"""Of a trusted level, at least, when the limit opens again: for the first time running, the second, the third."""
KEPT_IN_DOUBT = 0.7
SATURATED = 0.5
"""Closed for more than this part of a cycle: the cycle shows the limit, and not our own pace."""
WINDOW_SLACK = 1.1
"""The window's rate by Little's law is known no better than that."""
ROOM = 2.0
ROOM_LEAST = 4.0
"""In flight, in times of what the level needs by Little's law: a pace holds the lane, not a window."""
SHORTEST = 1e-3
SILENCE = 1.0
"""Seconds without a word after losses which are an outage, and no measure of the limit."""


class Limit:
    """The state from the first 429 on."""

    def __init__(self, now: float, sent_at: float, delivered: float, accepted: int, started_at: float) -> None:
        self.level = max(FIRST_CUT * delivered, 1.0 / max(now - sent_at, SHORTEST))
        """The rate that is held (requests/s)."""
        self.quota: Quota | None = None
        """Set while the limit is one of long windows."""
        self.crowd = Crowd()
        self.round_trip = 0.0
        self.room = 0.0
        """So many in flight are no more than the level needs, whatever the window says."""
        self._slot = now + 1.0 / self.level
        self._flying: dict[float, int] = {}
        # The pace.
        self._searching = True
        self._trusted = False
        self._early = 0
        self._opened_rate = 0.0
        self._openings = 0
        self._hold = 0.0
        self._hold_end = now
        self._ceiling = math.inf
        # The present event: its cut, and what came of requests sent after it.
        self._event_sent = sent_at
        self._event_rate = delivered
        self._bounds = (0.0, math.inf)
        self._drained = 0
        self._dropped = 0
        self._cut_at = now
        self._echo_until = -math.inf
        self._ok = 0
        self._no = 0
        # What was accepted since the last event.
        self._measured_from = now
        self._gate_end = now
        self._gate = 0.0
        self._accepted = 0
        # From one opening of the limit to the next; an event begins a new cycle, but is kept until an opening.
        self._cycle_start = now
        self._cycle_accepted = 0
        self._before_start = started_at
        self._before_accepted = accepted
        # Closed: nothing is accepted.
        self._closed = False
        self._closed_from = now
        self._last_probe = -math.inf
        self._losing = False
        self._heard_at = now

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
        self._slot = max(self._slot, now - CATCH_UP) + 1.0 / self._rate_at(now)
        return self._slot

    def _rate_at(self, now: float) -> float:
        level = self.level
        if now < self._echo_until:
            return pace.SETTLE_FACTOR * level
        return pace.rate_at(level, now - self._hold_end, searching=self._searching, round_trip=self.round_trip)

    def _rate_before(self, sent_at: float, crowd: int) -> float:
        """The rate at which the lane was sending, by its pace or, where the window held it, by Little's law."""
        rate = self._rate_at(sent_at)
        return rate if crowd <= pace.TELLING else min(rate, WINDOW_SLACK * crowd / max(self.round_trip, SHORTEST))

    # -- told ---------------------------------------------------------------------------------------------

    def lost(self, sent_at: float) -> None:
        """Timeout, reset or 5xx."""
        self._flying.pop(sent_at, None)
        self._losing = True

    def accepted(self, now: float, sent_at: float) -> None:
        """A request was served."""
        crowd = self._flying.pop(sent_at, 0)
        if self._losing:
            self._skip_silence(now)
        self._heard_at = now
        self._accepted += 1
        self._cycle_accepted += 1
        if sent_at <= self._cut_at:
            if sent_at > self._event_sent:
                self._drained += 1
            return
        self._judge_drain()
        self.crowd.accepted(crowd)
        self._ok += 1
        if self._closed:
            self._open(now, sent_at)
        elif self._echo_until != -math.inf and now >= self._echo_until:
            self._judge_echo(now)

    def rejected(self, now: float, sent_at: float, gate_end: float, retry_after: float) -> float:
        """A 429; the lane is shut until `gate_end`. Returns when the next request may be sent."""
        crowd = self._flying.pop(sent_at, 0)
        self._heard_at = now
        if retry_after > 0.0:
            self._gate = retry_after
        if sent_at <= self._cut_at:
            if sent_at >= self._event_sent:
                self._dropped += 1
        elif self._closed:
            self._cut_at = now
            return max(self._next_probe(now), gate_end)
        else:
            self._judge_drain()
            if crowd and now < self._hold_end:
                self.crowd.rejected(crowd)
            self._no += 1
            self._met(now, sent_at, crowd, gate_end, lasting=retry_after >= CLOSED_LEAST)
        if gate_end > now:
            self._hold_end = max(self._hold_end, gate_end + self._hold)
        return max(self._slot, gate_end)

    def _met(self, now: float, sent_at: float, crowd: int, gate_end: float, *, lasting: bool) -> None:
        """The limit was met by a request sent after the last cut: an echo, an event, or a closure."""
        if self.quota is not None or lasting:
            self._shut(now, sent_at)
        elif now < self._echo_until:
            if self._no >= pace.TELLING and self._no > ECHO_EXCESS * self._ok:
                self._judge_echo(now)
        elif self._echo_until != -math.inf:
            self._judge_echo(now)
        elif self._ok == 0 and not self._trusted:
            self._shut(now, self._event_sent)
        else:
            self._event(now, sent_at, crowd, gate_end)

    def _event(self, now: float, sent_at: float, crowd: int, gate_end: float) -> None:
        """The limit was met anew: find the new level, and how long to keep it."""
        level = self.level
        self._event_rate = rate = self._rate_before(sent_at, crowd)
        early = sent_at < self._hold_end
        self._early = self._early + 1 if early else 0
        if not early:
            self._openings = 0
        if self._early > TRUST_LOST_AFTER:
            self.crowd.acquit()
        if self.crowd.blamed(crowd, probing=not early):
            self._trusted = True
            self.level = self.crowd.rate(level, self.round_trip)
            moved = not MOVED_DOWN * level < self.level < MOVED_UP * level
        else:
            moved = self._relevel(now, rate, early=early)
        gated = gate_end > now
        if self._trusted:
            self._hold = pace.hold_for(self._hold, self.level, self._gate if gated else 0.0, moved=moved)
        else:
            self._hold = max(SEARCH_HOLD_GATED if gated else 0.0, min(SEARCH_HOLD_ROWS / self.level, SEARCH_HOLD_MOST))
        self._searching = not self._trusted
        self._event_sent = sent_at
        self._before_start, self._before_accepted = self._cycle_start, self._cycle_accepted
        self._cycle_start, self._cycle_accepted = now, 0
        self._cut(now, gate_end)

    def _relevel(self, now: float, rate: float, *, early: bool) -> bool:
        """Set the level after a 429 at `rate`, and whether to trust it. Tells whether the limit moved."""
        level = self.level
        if early:
            self._ceiling = level
        elif rate > CEILING_PASSED * self._ceiling:
            self._ceiling = math.inf
        high = min(rate, self._ceiling)
        span = max(now - self._measured_from, SHORTEST)
        open_span = max(now - max(self._measured_from, self._gate_end), SHORTEST)
        self._bounds = (self._accepted / span, high)
        seen = pace.Seen(
            accepted=self._accepted,
            span=span,
            open_span=open_span,
            early=self._early,
            trusted=self._trusted,
            gated=self._gate > 0.0,
        )
        self.level = max(LEAST_LEVEL, pace.estimate(level, high, seen))
        moved = not MOVED_DOWN * level < self.level < MOVED_UP * level
        if early:
            # One 429 at a level that has held is bad luck; after some more it is no level to hold.
            self._trusted = self._trusted and self._early <= TRUST_LOST_AFTER
        else:
            consistent = high < pace.DOUBTFUL * self._accepted / open_span
            self._trusted = self._accepted >= pace.TELLING and (consistent or not moved)
        return moved

    def _cut(self, now: float, gate_end: float) -> None:
        resume = max(now, gate_end)
        self.room = ROOM * self.level * self.round_trip + ROOM_LEAST
        self._cut_at = now
        self._ok = self._no = 0
        self._drained = 0
        self._dropped = 1
        self._accepted = 0
        self._measured_from = now
        self._gate_end = gate_end
        self._slot = resume + 1.0 / self.level
        self._echo_until = -math.inf
        if self._trusted:
            self._echo_until = resume + pace.settle_for(self.level, self.round_trip)
        self._hold_end = max(resume, self._echo_until) + self._hold

    def _judge_drain(self) -> None:
        """What was in flight at the event is back: the share that was accepted tells the limit."""
        replies = self._drained + self._dropped
        if self._drained and replies >= pace.TELLING and self._bounds[0] == 0.0:
            low, high = self._bounds
            self.level = min(max(self._event_rate * self._drained / replies, low), high)
        self._drained = self._dropped = 0

    def _judge_echo(self, now: float) -> None:
        """The time in which 429s were the last event's echo is over."""
        self._echo_until = -math.inf
        if self._no <= self._ok:
            return
        if self._gate == 0.0:
            self._shut(now, self._cut_at)
            return
        # Each further 429 costs a gate: better too low than one by one.
        self._trusted = False
        self._searching = True
        self.level *= ECHO_CUT
        self._hold = SEARCH_HOLD_GATED
        self._event_sent = now
        self._cut(now, self._gate_end)

    # -- closed, and long windows -----------------------------------------------------------------------

    def _shut(self, now: float, since: float) -> float:
        """Nothing is accepted any more: only probes go, until one is accepted. Returns when the first may."""
        self._closed = True
        self._closed_from = since
        self._cut_at = now
        self._echo_until = -math.inf
        self._slot = self._next_probe(now)
        return self._slot

    def _next_probe(self, now: float) -> float:
        gap = probe_gap(now - self._closed_from)
        if self._trusted:
            gap = max(gap, 2.0 / self.level)
        self._slot = now + gap
        if self.quota is not None and self._gate == 0.0:
            self._slot = max(self._slot, self.quota.next_probe(now))
        return self._slot

    def _open(self, now: float, sent_at: float) -> None:
        """The first request after a closure was accepted."""
        self._closed = False
        closed = sent_at - self._closed_from
        accepted = self._cycle_accepted + self._before_accepted
        span = now - self._before_start
        least = CLOSED_LEAST if self.quota is None else CLOSED_STILL
        if closed >= least and accepted >= LEAST_ACCEPTED:
            if self.quota is None:
                self.quota = Quota()
            self.quota.opened(now, accepted, span, self.round_trip)
            self._slot = now
        else:
            self._resume(closed, accepted, span)
            self._cut(now, now)
        self._cycle_start, self._cycle_accepted = now, 1
        self._before_start, self._before_accepted = now, 0

    def _resume(self, closed: float, accepted: int, span: float) -> None:
        """The limit was closed for a moment: the level to go on with."""
        rate = accepted / span
        self._openings += 1
        if self.quota is not None:
            self.quota = None
            self._trusted = False
            self.level = rate
        elif self._trusted:
            kept = KEPT_AT_OPENING[min(self._openings, len(KEPT_AT_OPENING)) - 1]
            self.level = max(rate, kept * self.level)
            self._trusted = self._openings < len(KEPT_AT_OPENING)
        elif closed > SATURATED * span:
            # Closed for the most part: what was accepted is all that the limiter lets through.
            level = math.sqrt(self.level * rate) if self._gate > 0.0 else rate
            self.level = min(self.level, level)
        else:
            self.level = min(self.level, max(rate, KEPT_IN_DOUBT * self.level))
        if not self._trusted:
            again = accepted < pace.DOUBTFUL * span * self._opened_rate < pace.DOUBTFUL**2 * accepted
            sure = accepted >= pace.TELLING and (closed <= SATURATED * span or again)
            self._searching = self._gate > 0.0 or not sure
            self._hold = 0.0 if self._searching else pace.HOLD_MOVED
            self._opened_rate = rate

    def _leave_quota(self, now: float) -> None:
        self.quota = None
        self.level = self._cycle_accepted / max(now - self._cycle_start, SHORTEST)
        self._searching = True
        self._trusted = False
        self._hold = 0.0
        self._cycle_start = self._before_start = now
        self._cycle_accepted = self._before_accepted = 0
        self._cut(now, now)

    # -- the rest -----------------------------------------------------------------------------------------

    def round_ended(self, now: float, round_trip: float) -> None:
        """A round trip is over."""
        self.round_trip = round_trip
        self.room = ROOM * self.level * round_trip + ROOM_LEAST
        if self.crowd.full:
            self.crowd.full = False
            if now > self._hold_end:
                self.crowd.probe()

    def _skip_silence(self, now: float) -> None:
        """An outage is over: it says nothing about the limit, so leave it out of what is measured."""
        self._losing = False
        gap = now - self._heard_at
        if gap > SILENCE:
            self._measured_from += gap
            self._cycle_start += gap
            self._before_start += gap
            self._hold_end += gap
