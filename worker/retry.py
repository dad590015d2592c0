"""How long to wait before trying again, and how to read Retry-After. Pure, but for tenacity's call."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final, TypeVar

from tenacity import AsyncRetrying, retry_if_result, stop_never

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tenacity import RetryCallState

__all__ = ["BACKOFF_BASE", "BACKOFF_CAP", "backoff", "parse_retry_after", "until_settled"]

BACKOFF_BASE: Final = 0.5
"""Seconds: the longest first wait; each further one may be twice as long."""
BACKOFF_CAP: Final = 30.0
"""Seconds: no wait is longer."""

_LATEST_RETRY_AFTER: Final = 10 * 365 * 86400.0

_DIGITS: Final = re.compile(r"[0-9]{1,10}")

T = TypeVar("T")


def backoff(failures: int, *, chance: float) -> float:
    """Seconds to wait after so many failures (from 1): exponential with full jitter, capped.

    Args:
        failures: how often the call has failed by now.
        chance: uniform in [0, 1).

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: full jitter ends contention soonest.
    """
    return chance * min(BACKOFF_CAP, BACKOFF_BASE * 2.0 ** min(failures - 1, 32))


def parse_retry_after(value: str | None, *, now: datetime) -> float | None:
    """Seconds from `now` (aware) that a Retry-After header asks for; None for none or garbage (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    text = value.strip()
    if _DIGITS.fullmatch(text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = (moment - now).total_seconds()
    except (ValueError, OverflowError):  # the latter of a year, an hour or an offset that is too large
        return None
    return max(seconds, 0.0) if seconds < _LATEST_RETRY_AFTER else None


async def until_settled(
    attempt: Callable[[], Awaitable[T | None]],
    *,
    failures: Callable[[], int],
    sleep: Callable[[float], Awaitable[None]],
) -> T:
    """Call `attempt` until it gives something, waiting between by `backoff`; exceptions pass through at once.

    Args:
        attempt: gives None where it is worth another try. It decides itself when attempts are used up.
        failures: how many failures so far call for a wait; 0 waits for nothing but the lane's own gate.
        sleep: waits so many seconds, or raises to end the whole.
    """

    def wait(_: RetryCallState) -> float:
        count = failures()
        return backoff(count, chance=random.random()) if count else 0.0  # noqa: S311 - jitter, no secret

    # One per call: an AsyncRetrying shared between tasks loses its state.
    retrying = AsyncRetrying(sleep=sleep, stop=stop_never, wait=wait, retry=retry_if_result(_is_none))
    settled: T | None = await retrying(attempt)
    if settled is None:
        raise RuntimeError("retrying ended without a result")  # stop_never: cannot be
    return settled


def _is_none(value: object) -> bool:
    return value is None
