"""The one reading before the first send: how often it asks, and what it makes of answers that tell nothing."""

from __future__ import annotations

import pytest

from worker.models import Attempt, Call, StopCause, Verdict
from worker.preflight import Preflight, ask_workspace
from worker.testing import MemorySeam

PATIENCE = 600.0


class Answering(MemorySeam):
    """A service whose `list` answers as it was told, the last one for ever."""

    def __init__(self, *attempts: Attempt) -> None:
        super().__init__()
        self.attempts = list(attempts)
        self.asked = 0

    async def list_page(self, *_: object, **__: object) -> Attempt:
        """`Sender.list_page`."""
        self.asked += 1
        return self.attempts.pop(0) if len(self.attempts) > 1 else self.attempts[0]


def replied(verdict: Verdict, status: int, request_id: str | None = None) -> Attempt:
    """A reading's end."""
    return Attempt(Call.LIST, verdict, 1.0, 0.1, status, request_id, error_type="as_told")


LIMITED = replied(Verdict.LIMITED, 429)
UNUSABLE = replied(Verdict.AMBIGUOUS, 200, "req-1")
DOWN = replied(Verdict.AMBIGUOUS, 503, "req-1")


async def ask(seam: Answering, *, patience: float = PATIENCE) -> tuple[Preflight, list[float]]:
    """What it found, and how long it waited each time; no real time goes by."""
    waits: list[float] = []

    async def sleep(seconds: float) -> bool:
        waits.append(seconds)
        return True

    return await ask_workspace(seam, None, patience=patience, sleep=sleep, clock=lambda: sum(waits)), waits


@pytest.fixture(autouse=True)
def _no_luck(monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest wait that the backoff may give."""
    monkeypatch.setattr("worker.preflight.random.random", lambda: 1.0)


@pytest.mark.parametrize("retry_after", [0.0, None, 0.01])
async def test_a_limit_that_asks_for_no_wait_is_not_hammered(retry_after: float | None) -> None:
    """`Retry-After: 0`, or a date that is gone by: each wait is longer than the last all the same."""
    seam = Answering(LIMITED._replace(retry_after=retry_after))
    found, waits = await ask(seam)
    assert found.stop is not None
    assert found.stop.cause is StopCause.OUTAGE
    assert waits[:4] == [0.5, 1.0, 2.0, 4.0]
    assert seam.asked < 30


async def test_a_limit_that_asks_for_a_wait_gets_it() -> None:
    """It is no less than what was asked for."""
    _, waits = await ask(Answering(LIMITED._replace(retry_after=7.0), replied(Verdict.DONE, 200)))
    assert waits == [7.0]


@pytest.mark.parametrize("patience", [PATIENCE, 0.0])
async def test_replies_of_seams_that_tell_nothing_hold_up_no_run(patience: float) -> None:
    """One odd credential in the workspace would else keep every row from being sent."""
    seam = Answering(UNUSABLE)
    found, waits = await ask(seam, patience=patience)
    assert found == Preflight()
    assert seam.asked == len(waits) + 1 <= 3


@pytest.mark.parametrize("attempt", [UNUSABLE._replace(request_id=None), DOWN])
async def test_a_page_that_is_not_seams_is_an_outage(attempt: Attempt) -> None:
    """Rows that are sent to a proxy's page would all be in doubt."""
    found, _ = await ask(Answering(attempt))
    assert found.stop is not None
    assert found.stop.cause is StopCause.OUTAGE
