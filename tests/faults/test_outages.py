"""The service goes away in the middle of a run: no row is failed for it (DESIGN 7)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.faults.ground import ROWS, meanwhile

if TYPE_CHECKING:
    from tests.faults.ground import Place

CONCURRENCY = 5
MODES = ["http_503", "reset", "refused"]


@pytest.mark.parametrize("mode", MODES)
async def test_a_run_outlasts_an_outage(mode: str, place: Place) -> None:
    """Down for a second: the run waits, asks seldom, and ends as if nothing had been."""
    place.configure(latency={"median": 0.05})
    outage = meanwhile(place, 10, "outage", {"mode": mode, "seconds": 1.0})
    ran, _ = await asyncio.gather(place.run(concurrency=CONCURRENCY), outage)
    assert ran.findings.clean, ran.findings
    assert (ran.report.exit_code, ran.outcomes) == (0, {"assigned": ROWS})
    asked = sum(event.get("fault") == "outage" for event in ran.events)
    assert asked > 0 or mode == "refused"
    assert asked < ROWS, "an outage must not be met with more load"


@pytest.mark.parametrize("mode", MODES)
async def test_an_outage_beyond_patience_is_resumed(mode: str, place: Place) -> None:
    """Exit 3, nothing failed; when the service is back the same run ends with 0."""
    place.configure(latency={"median": 0.05})
    outage = meanwhile(place, 10, "outage", {"mode": mode, "seconds": 2.5})
    ran, _ = await asyncio.gather(place.run(concurrency=CONCURRENCY, outage_patience=0.5), outage)
    assert ran.findings.clean, ran.findings
    assert (ran.report.exit_code, ran.causes) == (3, ["outage"])
    assert set(ran.outcomes) <= {"assigned", "pending", "in_doubt"}
    assert ran.outcomes["pending"] > 0
    ran = await place.run(concurrency=CONCURRENCY)
    assert ran.findings.clean, ran.findings
    assert (ran.report.exit_code, ran.outcomes) == (0, {"assigned": ROWS})
