"""Read-backs that go wrong themselves (DESIGN 11.11): every row here was sent, and nobody said what became of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.faults.ground import ROWS, meanwhile
from worker.simulator import Fault, ReadFault

if TYPE_CHECKING:
    from tests.faults.ground import Place


_ROW_BY_ROW = frozenset({ReadFault.INVALID_400, ReadFault.NOT_FOUND_404, ReadFault.HTML_200})
"""Replies of a service that works: the others open the breaker, and cost a probe each."""


@pytest.mark.parametrize("fault", list(ReadFault))
async def test_a_reading_that_goes_wrong_once(fault: ReadFault, place: Place) -> None:
    """Read again, found, and never sent a second time."""
    place.fault(Fault.RESET_AFTER)
    place.configure(limit={"retry_after": "none"})
    place.read_fault(fault, share=1.0 if fault in _ROW_BY_ROW else 0.1, error_form="mixed")
    ran = await place.run()
    assert ran.findings.clean, ran.findings
    assert (ran.report.exit_code, ran.outcomes, ran.sends()) == (0, {"assigned": ROWS}, ROWS)
    assert {result["read_back"] for result in ran.results} == {True}
    assert any(event.get("fault") == fault.value or event["kind"] == "limited" for event in ran.events)


@pytest.mark.parametrize("fault", [ReadFault.HTTP_500, ReadFault.HTML_200, ReadFault.RESET])
async def test_an_owner_that_is_asked_for_apart(fault: ReadFault, place: Place) -> None:
    """Where the credential does not tell the identity, `users/get` has to, and may go wrong too."""
    place.configure(world={"identity_on_credential": False})
    place.fault(Fault.RESET_AFTER)
    place.read_fault(fault, share=0.1)
    ran = await place.run()
    assert ran.findings.clean, ran.findings
    assert (ran.report.exit_code, ran.outcomes, ran.sends()) == (0, {"assigned": ROWS}, ROWS)
    assert any(event["route"] == "users/get" for event in ran.events)


async def test_what_cannot_be_read_stays_in_doubt(place: Place) -> None:
    """A service that refuses to read leaves `in_doubt`, sent once; `--again` reads first and finds it done."""
    place.fault(Fault.RESET_AFTER)
    place.read_fault(ReadFault.INVALID_400, times=0)
    ran = await place.run()
    assert ran.findings.clean, ran.findings
    assert (ran.report.exit_code, ran.outcomes, ran.sends()) == (1, {"in_doubt": ROWS}, ROWS)


@pytest.mark.parametrize("fault", [ReadFault.HTTP_500, ReadFault.RESET, ReadFault.NEVER])
async def test_reads_that_are_down_leave_rows_marked(fault: ReadFault, place: Place) -> None:
    """Patience ends the run with exit 3 and rows in doubt; the next run reads them first and sends none again."""
    place.configure(latency={"median": 0.2})
    place.fault(Fault.RESET_AFTER)
    breaking = meanwhile(place, 1, "settings", {"read_faults": {"shares": {fault: 1.0}, "times": 0}})
    ran, _ = await asyncio.gather(place.run(timeout=0.6, outage_patience=0.8), breaking)
    assert ran.findings.clean, ran.findings
    assert (ran.report.exit_code, ran.causes) == (3, ["outage"])
    assert set(ran.outcomes) <= {"in_doubt", "pending", "assigned"}
    assert ran.outcomes["in_doubt"] > 0

    place.configure(latency={"median": 0.0})
    place.read_fault()
    ran = await place.run()
    assert ran.findings.clean, ran.findings
    assert (ran.report.exit_code, ran.outcomes, ran.sends()) == (0, {"assigned": ROWS}, ROWS)
