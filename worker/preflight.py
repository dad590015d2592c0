"""One cheap reading before the first send: whether the key is good, and for which workspace (DESIGN 11.4)."""

from __future__ import annotations

import random
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from worker.lane import HALTED, LONGEST_RETRY_AFTER
from worker.models import Stop, StopCause, Verdict
from worker.retry import backoff

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from worker.models import Attempt
    from worker.ports import Sender

__all__ = ["Preflight", "ask_workspace"]

_LEAST_PAUSE: Final = 0.1
"""Seconds between two tries."""
_MOST_UNUSABLE: Final = 3
"""Replies of Seam's that cannot be made use of, before it is given up to know."""


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
    """List one credential, trying again while the service is down or says 429; each wait may be longer than the last.

    Where Seam itself answers with what cannot be made use of, time after time, that tells no more than a refusal does:
    the rows will. A page that is not Seam's is an outage, since every row would be left in doubt by it.

    Args:
        sender: the service.
        workspace_id: whose key to use; None for the default key.
        patience: seconds after which a service that does not answer is given up.
        sleep: waits; False when the run is being stopped.
        clock: monotonic seconds.
    """
    began, failures, unusable = clock(), 0, 0
    while True:
        attempt = await sender.list_page(workspace_id, limit=1)
        if (told := _told(attempt, workspace_id)) is not None:
            return told
        failures += 1
        is_unusable = attempt.status == HTTPStatus.OK and attempt.request_id is not None
        unusable += is_unusable
        if unusable >= _MOST_UNUSABLE:
            return Preflight()
        # A Retry-After of 0, or of a moment that is gone by, asks for no wait, and yet for no flood.
        least = max(attempt.retry_after or 0.0, _LEAST_PAUSE)
        pause = max(backoff(failures, chance=random.random()), least)  # noqa: S311 - jitter, no secret
        if pause > LONGEST_RETRY_AFTER:
            return Preflight(
                stop=Stop(StopCause.RETRY_AFTER, f"the service asks to wait {pause:.0f} s; run it again then")
            )
        if clock() - began + pause > patience:
            if is_unusable:
                return Preflight()
            return Preflight(
                stop=Stop(
                    StopCause.OUTAGE,
                    f"the service did not answer within a patience of {patience:g} s (last: {attempt.error_type}: "
                    f"{attempt.error_message}); run the same command again when it is back",
                )
            )
        if not await sleep(pause):
            return Preflight()


def _told(attempt: Attempt, workspace_id: str | None) -> Preflight | None:
    """What a reply tells; None where the same question may be answered better later."""
    match attempt.verdict:
        case Verdict.DONE:
            if not attempt.credentials:
                return Preflight(is_empty=True)
            return Preflight(workspace_id=attempt.credentials[0].workspace_id)
        case Verdict.HALT:
            cause = attempt.stop or StopCause.WRONG_URL
            message = f"{HALTED[cause]} ({attempt.error_type}: {attempt.error_message})"
            return Preflight(stop=Stop(cause, message, workspace_id))
        case Verdict.FORBIDDEN | Verdict.REFUSED:
            return Preflight()  # a key that may assign and not list: the first row will tell
        case _:
            return None
