"""429: the lane waits as it is told to, and no row pays for it (DESIGN 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.ground import ROWS

if TYPE_CHECKING:
    from tests.faults.ground import Place, Ran

CONCURRENCY = 8


def knocks(ran: Ran) -> list[tuple[float, float]]:
    """Of every 429 with a Retry-After: seconds to wait, and how many requests came all the same."""
    came = [event["t"] for event in ran.events if event["kind"] in {"received", "limited", "read"}]
    told = [(event["t"], event["retry_after"]) for event in ran.events if event["kind"] == "limited"]
    return [(wait, sum(t < moment < t + wait for moment in came)) for t, wait in told if wait]


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("fixed_window", "seconds"),
        ("fixed_window", "date"),
        ("sliding_window", "seconds"),
        ("token_bucket", "seconds"),
        ("token_bucket", "garbage"),
        ("token_bucket", "none"),
    ],
)
async def test_a_storm_of_429(kind: str, form: str, place: Place) -> None:
    """One attempt a row is enough; within a Retry-After come none but those in flight when it was said."""
    place.configure(limit={"kind": kind, "rate": 20, "burst": 5, "retry_after": form, "counts_rejects": True})
    ran = await place.run(max_attempts=1, concurrency=CONCURRENCY)
    assert ran.findings.clean, ran.findings
    assert (ran.report.exit_code, ran.outcomes, ran.sends()) == (0, {"assigned": ROWS}, ROWS)
    assert any(event["kind"] == "limited" for event in ran.events)
    found = knocks(ran)
    assert bool(found) == (form in {"seconds", "date"})
    assert all(count < CONCURRENCY for _, count in found), found


async def test_a_proxy_that_says_429_in_html(place: Place) -> None:
    """It counts as one all the same."""
    place.configure(limit={"kind": "fixed_window", "rate": 25, "html": True})
    ran = await place.run(max_attempts=1, concurrency=CONCURRENCY)
    assert ran.findings.clean, ran.findings
    assert (ran.report.exit_code, ran.outcomes, ran.sends()) == (0, {"assigned": ROWS}, ROWS)
    assert all(count < CONCURRENCY for _, count in knocks(ran))


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_a_wait_beyond_patience_ends_the_run(form: str, place: Place) -> None:
    """An hour's Retry-After: exit 3, no row failed, and the next run sends only what is left."""
    limit: dict[str, Any] = {"kind": "fixed_window", "rate": 20 / 180, "window": 180.0, "retry_after": form}
    place.configure(limit={**limit, "retry_after_seconds": 3600})
    ran = await place.run(concurrency=CONCURRENCY)
    assert ran.findings.clean, ran.findings
    assert (ran.report.exit_code, ran.causes) == (3, ["retry_after"])
    assert set(ran.outcomes) == {"assigned", "pending"}
    assert ran.sends() < ROWS

    place.configure(limit={"kind": "none"})
    ran = await place.run()
    assert ran.findings.clean, ran.findings
    assert (ran.report.exit_code, ran.outcomes, ran.sends()) == (0, {"assigned": ROWS}, ROWS)
