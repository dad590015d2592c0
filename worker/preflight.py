"""One cheap reading before the first send: whether the key is good, and for which workspace (DESIGN 11.4)."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.lane import HALTED, LONGEST_RETRY_AFTER, is_service_failure
from worker.models import Stop, StopCause, Verdict
from worker.retry import backoff

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from worker.ports import Sender

__all__ = ["Preflight", "ask_workspace"]


@dataclass(frozen=True)
class Preflight:
    """What the reading told."""

    workspace_id: str | None = None
    """None where the workspace holds no credential yet, or the key may not list."""
    is_empty: bool = False
    """The workspace holds no credential: nothing was ever assigned in it, or all of that is gone."""
    stop: Stop | None = None
    """Why nothing can be sent at present."""


async def ask_workspace(
    sender: Sender,
    workspace_id: str | None,
    *,
    patience: float,
    sleep: Callable[[float], Awaitable[bool]],
    clock: Callable[[], float],
) -> Preflight:
    """List one credential, trying again while the service is down or says 429.

    Args:
        sender: the service.
        workspace_id: whose key to use; None for the default key.
        patience: seconds after which a service that does not answer is given up.
        sleep: waits; False when the run is being stopped.
        clock: monotonic seconds.
    """
    began, failures = clock(), 0
    while True:
        attempt = await sender.list_page(workspace_id, limit=1)
        if attempt.verdict is Verdict.DONE:
            if not attempt.credentials:
                return Preflight(is_empty=True)
            return Preflight(workspace_id=attempt.credentials[0].workspace_id)
        if attempt.verdict is Verdict.HALT:
            cause = attempt.stop or StopCause.WRONG_URL
            message = f"{HALTED[cause]} ({attempt.error_type}: {attempt.error_message})"
            return Preflight(stop=Stop(cause, message, workspace_id))
        if attempt.verdict in {Verdict.FORBIDDEN, Verdict.REFUSED}:
            return Preflight()  # a key that may assign and not list: the first row will tell
        failures += is_service_failure(attempt)
        pause = attempt.retry_after
        if pause is None:
            pause = max(backoff(failures or 1, chance=random.random()), 0.1)  # noqa: S311 - jitter, no secret
        if pause > LONGEST_RETRY_AFTER:
            return Preflight(
                stop=Stop(StopCause.RETRY_AFTER, f"the service asks to wait {pause:.0f} s; run it again then")
            )
        if clock() - began + pause > patience:
            return Preflight(
                stop=Stop(
                    StopCause.OUTAGE,
                    f"the service did not answer within a patience of {patience:g} s (last: {attempt.error_type}: "
                    f"{attempt.error_message}); run the same command again when it is back",
                )
            )
        if not await sleep(pause):
            return Preflight()
