"""Each fault of assign alone: the outcomes that it leads to, and the truth (DESIGN 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.faults.ground import ROWS, TIMEOUT
from worker.simulator import Fault, VoidForm

if TYPE_CHECKING:
    from tests.faults.ground import Place


class Expected(NamedTuple):
    """What a fault leads to, over all rows."""

    outcome: str
    exit_code: int
    read_back: bool | None
    """Whether each row was read back; None: it may be."""
    settings: dict[str, Any] = {}  # noqa: RUF012 - never changed


_READ_BACK = Expected("assigned", 0, read_back=True, settings={"applied_share": 0.5, "error_form": "mixed"})
_NO_MATTER = Expected("assigned", 0, read_back=None)
"""A success in an unusual form; a closed connection may still cost a read-back."""
_STOPS = Expected("pending", 3, read_back=None)

TABLE = {
    Fault.HTTP_500: _READ_BACK,
    Fault.HTTP_502: _READ_BACK,
    Fault.HTTP_503: _READ_BACK,
    Fault.HTTP_504: _READ_BACK,
    Fault.FORBIDDEN_403: Expected("failed", 1, read_back=False),
    Fault.CONFLICT_409: _READ_BACK,
    Fault.TIMEOUT_408: _READ_BACK,
    Fault.NOT_OK: _READ_BACK,
    Fault.HTML_200: _READ_BACK,
    Fault.RESET_BEFORE: _READ_BACK,
    Fault.RESET_AFTER: _READ_BACK,
    Fault.RESET_MID_BODY: _READ_BACK,
    Fault.NEVER: _READ_BACK,
    Fault.DRIP: _READ_BACK._replace(settings={"drip_interval": 0.05}),
    Fault.TRUNCATED_JSON: _READ_BACK,
    Fault.WRONG_TYPE: _NO_MATTER,
    Fault.HUGE_BODY: _READ_BACK,
    Fault.GZIP_BOMB: _READ_BACK._replace(settings={"huge_bytes": 24 << 20}),
    Fault.LENGTH_TOO_LONG: _READ_BACK,
    Fault.LENGTH_TOO_SHORT: _READ_BACK,
    Fault.HTTP10_CLOSE: _NO_MATTER,
    Fault.REDIRECT_301: _STOPS,
    Fault.REDIRECT_302: _STOPS,
    Fault.REDIRECT_303: _STOPS,
    Fault.REDIRECT_307: _STOPS,
    Fault.REDIRECT_308: _STOPS,
    Fault.STRAY_CLOSE: _NO_MATTER,
    Fault.UNASKED_CONTINUE: _NO_MATTER,
    Fault.LATE: _READ_BACK._replace(settings={"late_after": TIMEOUT * 1.5}),
    Fault.OTHER_CREDENTIAL: _READ_BACK,
    Fault.OTHER_USER: _READ_BACK,
}


def test_the_table_names_every_fault() -> None:
    """A fault that the simulator learns has to be judged here."""
    assert TABLE.keys() == set(Fault)


@pytest.mark.parametrize("fault", list(Fault))
async def test_a_fault_of_every_row(fault: Fault, place: Place) -> None:
    """Fifty rows, each hit once: none lost, none untrue, none sent again unread, and the outcome of the table."""
    expected = TABLE[fault]
    place.fault(fault, **expected.settings)
    ran = await place.run()
    assert ran.findings.clean, ran.findings
    assert (ran.report.exit_code, ran.outcomes) == (expected.exit_code, {expected.outcome: ROWS})
    hits = [event for event in ran.events if event.get("fault") == fault.value]
    assert len(hits) >= (1 if expected is _STOPS else ROWS), "the fault did not come"
    if expected.read_back is not None:
        assert {result["read_back"] for result in ran.results} == {expected.read_back}


async def test_every_fault_at_once(place: Place) -> None:
    """Mixed, on rows that still all succeed in the end; half of them a second time."""
    harmless = [fault for fault, expected in TABLE.items() if expected.exit_code == 0 and fault is not Fault.GZIP_BOMB]
    place.fault(*harmless, times=2, applied_share=0.5, error_form="mixed", late_after=0.5, drip_interval=0.05)
    ran = await place.run(max_attempts=8)
    assert ran.findings.clean, ran.findings
    assert (ran.report.exit_code, ran.outcomes) == (0, {"assigned": ROWS})


async def test_a_call_executed_while_it_is_waited_for(place: Place) -> None:
    """Late, and without a reply ever: the reading finds it done, and nothing is sent twice."""
    place.fault(Fault.LATE, times=0, late_after=TIMEOUT / 2)
    ran = await place.run()
    assert ran.findings.clean, ran.findings
    assert (ran.report.exit_code, ran.outcomes, ran.sends()) == (0, {"assigned": ROWS}, ROWS)


@pytest.mark.parametrize("form", list(VoidForm))
async def test_a_success_without_a_credential(form: VoidForm, place: Place) -> None:
    """Each form of it is a success; the details are read afterwards."""
    place.configure(void={form: 1.0})
    ran = await place.run()
    assert ran.findings.clean, ran.findings
    assert (ran.report.exit_code, ran.outcomes, ran.sends()) == (0, {"assigned": ROWS}, ROWS)
    assert all(result["acs_system_id"] for result in ran.results)


@pytest.mark.parametrize(
    "world",
    [{"unknown_users": 1.0}, {"unknown_credentials": 1.0}, {"unknown_users": 1.0, "unknown_identity_status": 400}],
)
async def test_a_refused_row_fails_at_once(world: dict[str, Any], place: Place) -> None:
    """404 and 400 of Seam's: one call a row, told with their type, and the run goes on to its end."""
    place.configure(world=world)
    ran = await place.run()
    assert ran.findings.clean, ran.findings
    assert (ran.report.exit_code, ran.outcomes, ran.sends()) == (1, {"failed": ROWS}, ROWS)
    assert {result["http_status"] for result in ran.results} <= {400, 404}
    assert {result["retryable"] for result in ran.results} == {False}
    assert None not in ran.error_types


async def test_attempts_are_used_up(place: Place) -> None:
    """Rows that go wrong each time fail as retryable once the attempts are spent, read back to the last."""
    place.fault(Fault.CONFLICT_409, times=0, applied_share=0.5)
    ran = await place.run(max_attempts=2)
    assert ran.findings.clean, ran.findings
    assert ran.report.exit_code == 1
    assert ran.outcomes["failed"] + ran.outcomes["assigned"] == ROWS
    assert ran.outcomes["failed"] > 0
    assert {result["retryable"] for result in ran.results if result["outcome"] == "failed"} == {True}
    assert {result["attempts"] for result in ran.results if result["outcome"] == "failed"} == {2}


async def test_takeover_refused_holds_on_the_way_back(place: Place) -> None:
    """A credential of somebody else's stays his, however the calls go wrong."""
    place.configure(world={"foreign_credentials": 0.5})
    place.fault(Fault.HTTP_500, Fault.RESET_BEFORE, Fault.RESET_AFTER, Fault.NEVER, applied_share=0.5)
    ran = await place.run(takeover="refuse")
    assert ran.findings.clean, ran.findings
    assert ran.report.exit_code == 1
    assert set(ran.outcomes) == {"assigned", "conflict"}
    touched = {event["credential"] for event in ran.events if event["kind"] == "applied"}
    refused = {place.ground.rows[result["row"]].credential for result in ran.results if result["outcome"] == "conflict"}
    assert not touched & refused


@pytest.mark.parametrize(
    "fault", [Fault.STRAY_CLOSE, Fault.HTTP10_CLOSE, Fault.UNASKED_CONTINUE, Fault.LENGTH_TOO_SHORT]
)
async def test_connections_that_go_wrong_under_load(fault: Fault, place: Place) -> None:
    """A few connections, each used over and over, half of the replies odd: no reply is taken for another's."""
    place.fault(fault, share=0.5, times=0 if TABLE[fault] is _NO_MATTER else 1)
    ran = await place.run(concurrency=4)
    assert ran.findings.clean, ran.findings
    assert (ran.report.exit_code, ran.outcomes) == (0, {"assigned": ROWS})
    asked = {row: asks.user for row, asks in place.ground.rows.items() if asks.user_key == "acs_user_id"}
    told = {result["row"]: result["assigned_acs_user_id"] for result in ran.results}
    assert {row: told[row] for row in asked} == asked
