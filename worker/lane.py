"""One workspace's way to the service: its throttle, its retry budget, and the endpoint's breaker, asked together.

Nothing here waits: `Lane.wait` says whether one more request may go, `begin` and `end` tell it what went.
All times are monotonic seconds.
"""

from __future__ import annotations

import math
from collections import Counter
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from worker.breaker import Breaker, RetryBudget
from worker.models import Attempt, Outcome, Stop, StopCause, Verdict
from worker.throttle import Throttle

if TYPE_CHECKING:
    from worker.config import Sending

__all__ = ["HALTED", "LONGEST_RETRY_AFTER", "Endpoint", "Lane", "is_service_failure"]

LONGEST_RETRY_AFTER: Final = 600.0
"""A service that asks for a longer pause ends the run, resumable (DESIGN 7)."""


def is_service_failure(attempt: Attempt) -> bool:
    """Whether the service did not work: a connect error, a timeout, a broken connection or a 5xx."""
    if attempt.verdict is Verdict.NEVER_SENT:
        return True
    return attempt.verdict is Verdict.AMBIGUOUS and (
        attempt.status is None or attempt.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    )


class Endpoint:
    """What all lanes of a process share: the service's breaker and the bound on requests in flight."""

    __slots__ = ("breaker", "concurrency", "in_flight", "sharers")

    def __init__(self, concurrency: int) -> None:
        self.breaker = Breaker()
        self.concurrency = concurrency
        self.in_flight = 0
        self.sharers = 1
        """Executions in this process, each with an endpoint of its own, of which this one has an equal share."""


class Lane:
    """The gates and the state of one workspace."""

    __slots__ = (
        "_patience",
        "_trouble_since",
        "budget",
        "endpoint",
        "in_flight",
        "outcomes",
        "stop",
        "successes",
        "throttle",
        "workspace_id",
    )

    def __init__(
        self, workspace_id: str | None, endpoint: Endpoint, sending: Sending, *, rows: int | None = None
    ) -> None:
        self.workspace_id = workspace_id
        self.endpoint = endpoint
        self.throttle = Throttle(max_in_flight=sending.concurrency, max_rate=sending.rate, rows=rows)
        self.budget = RetryBudget()
        self.in_flight = 0
        self.successes = 0
        """Replies that show the service at work; a row's attempt counts only if there was one since."""
        self.outcomes: Counter[Outcome] = Counter()
        """Rows of this workspace that have their result."""
        self.stop: Stop | None = None
        self._patience = sending.outage_patience
        self._trouble_since: float | None = None

    @property
    def probing(self) -> bool:
        """Whether a turn would be a probe, which `wait` grants once and no more."""
        return self.budget.empty or self.endpoint.breaker.open_since is not None

    def wait(self, now: float, *, retry: bool = False) -> float:
        """Whether one more request may go.

        0.0: now, so send it. Positive: ask again in so many seconds. Infinite: not before a request of this
        endpoint has ended.
        """
        endpoint = self.endpoint
        if endpoint.in_flight >= endpoint.concurrency:
            return math.inf
        delay = self.throttle.wait(now, self.in_flight)
        if delay:
            return delay
        is_down = endpoint.breaker.open_since is not None
        delay = endpoint.breaker.wait(now, endpoint.in_flight)
        if delay or is_down:
            return delay
        if retry or self.budget.empty:
            return self.budget.spend(now)
        return 0.0

    def begin(self, now: float) -> None:
        """A request is being sent."""
        self.in_flight += 1
        self.endpoint.in_flight += 1
        self.throttle.sent(now)

    def abandon(self, now: float, sent_at: float) -> None:
        """A request was given up without a reply to judge."""
        self.in_flight -= 1
        self.endpoint.in_flight -= 1
        self.throttle.lost(now, sent_at)

    def end(self, attempt: Attempt, now: float, sent_at: float) -> None:
        """A request has ended; may set `stop`."""
        self.in_flight -= 1
        endpoint = self.endpoint
        endpoint.in_flight -= 1
        verdict = attempt.verdict
        if verdict is Verdict.DONE or verdict is Verdict.REFUSED:
            self.successes += 1
            self._trouble_since = None
            self.throttle.completed(now, sent_at)
            endpoint.breaker.succeeded(now)
            self.budget.earn()
            return
        if verdict is Verdict.LIMITED:
            self.throttle.limited(now, sent_at, attempt.retry_after)
            endpoint.breaker.succeeded(now)
            if attempt.retry_after is not None and attempt.retry_after > LONGEST_RETRY_AFTER:
                self.halt(
                    StopCause.RETRY_AFTER,
                    f"the service asks to wait {attempt.retry_after:.0f} s, longer than a run waits; "
                    "run the same command again then",
                )
        elif verdict is Verdict.HALT:
            self.throttle.lost(now, sent_at)
            cause = attempt.stop or StopCause.WRONG_URL
            self.halt(cause, f"{HALTED[cause]} ({attempt.error_type}: {attempt.error_message})")
        elif is_service_failure(attempt):
            self.throttle.lost(now, sent_at)
            endpoint.breaker.failed(now)
        else:
            self.throttle.completed(now, sent_at)
            endpoint.breaker.succeeded(now)
            if verdict is not Verdict.FORBIDDEN:  # which tells nothing of the lane until the key has been tried
                self.successes += 1
                self._trouble_since = None
            return
        if self._trouble_since is None:
            self._trouble_since = now
        elif now - self._trouble_since >= self._patience:
            self.halt(
                StopCause.OUTAGE,
                f"no request succeeded for {now - self._trouble_since:.0f} s (last: {attempt.error_type}); "
                "no row was failed for it. Run the same command again when the service is back",
            )

    def halt(self, cause: StopCause, message: str) -> None:
        """Send no more in this workspace; the first reason stays."""
        if self.stop is None:
            self.stop = Stop(cause, message, self.workspace_id)


HALTED: Final = {
    StopCause.KEY_REFUSED: "the service refuses the key; check it, then run the same command again",
    StopCause.WRONG_URL: "this URL does not answer as Seam does; check --endpoint",
    StopCause.TLS: "no connection could be made that is secure and can be trusted, so nothing was sent over it; check "
    "--endpoint, and --ca-file where its certificates are your own",
    StopCause.MISSING_KEY: "there is no key for this workspace",
    StopCause.PROXY: "the proxy refuses to connect; check --proxy",
}
