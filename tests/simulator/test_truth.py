"""The truth log and the counts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.simulator.calls import LIST, a_user, an_id, running
from worker.simulator import WORKSPACE_ID, LogDetail
from worker.simulator.truth import Origin, Owner, TruthLog


async def test_events_of_a_row() -> None:
    """received, applied, replied, read: with who, what and which request."""
    async with running(clock=lambda: 5.0) as caller:
        answer = await caller.assign(1, 2)
        await caller.get(1)
        await caller.send(LIST, {})
        received, applied, replied, read, listed = caller.server.events()
        common = {
            "t": 5.0,
            "route": "assign",
            "request_id": answer.headers["seam-request-id"],
            "workspace": WORKSPACE_ID,
            "credential": an_id(1),
        }
        assert received == {
            "seq": 1,
            "kind": "received",
            **common,
            "user_key": "acs_user_id",
            "user": a_user(2),
        }
        assert applied == {
            "seq": 2,
            "kind": "applied",
            **common,
            "acs_user": a_user(2),
            "user_identity": None,
            "previous_acs_user": None,
        }
        assert replied == {"seq": 3, "kind": "replied", **common, "status": 200, "fault": None}
        assert (read["kind"], read["route"], read["credential"]) == ("read", "get", an_id(1))
        assert (listed["kind"], listed["route"], listed["credential"]) == ("read", "list", None)


async def test_faults_and_limits_are_named() -> None:
    """A reply that never came has no status; its fault is told."""
    async with running(faults={"shares": {"reset_after": 1}}) as caller:
        await caller.wire("/acs/credentials/assign", {"acs_credential_id": an_id(1), "acs_user_id": a_user(1)})
        assert caller.kinds() == ["received", "applied", "replied"]
        last = list(caller.server.events())[-1]
        assert (last["status"], last["fault"]) == (None, "reset_after")


async def test_an_outage_is_in_the_log() -> None:
    """What came while the service was down was received, and not applied."""
    async with running(outage={"windows": [[0, 1e6]]}) as caller:
        await caller.assign(1)
        assert caller.kinds() == ["received", "replied"]
        assert list(caller.server.events())[-1]["fault"] == "outage"


async def test_refusals_are_not_received() -> None:
    """A wrong key or a bad body leaves its reply only."""
    async with running() as caller:
        await caller.assign(1, key="seam_wrong")
        await caller.send("/acs/credentials/assign", {})
        assert caller.kinds() == ["replied", "replied"]


async def test_log_over_http() -> None:
    """As lines, from behind any event on, in whatever number."""
    async with running() as caller:
        for number in range(300):
            await caller.get(number)
        for after in (0, 1, 255, 256, 257, 299):
            lines = (await caller.control(f"log?after={after}")).body.splitlines()
            assert [json.loads(line)["seq"] for line in lines] == list(range(after + 1, 301))
        assert (await caller.control("log?after=300")).body == b""
        assert (await caller.control("log?after=x")).status == 400


async def test_only_changes_may_be_kept() -> None:
    """For runs of a million rows."""
    async with running(log="applied") as caller:
        await caller.assign(1)
        await caller.get(1)
        assert caller.kinds() == ["applied"]


@pytest.mark.parametrize("after", [0, 5000, 9_999])
def test_long_logs_come_in_pieces_that_end_with_a_line(after: int) -> None:
    """No event is cut or lost between two pieces."""
    log = TruthLog(LogDetail.ALL)
    for number in range(10_000):
        log.applied(number / 7, Origin("assign", "r", WORKSPACE_ID, an_id(number)), Owner(None, None), None)
    pieces = list(log.chunks(after))
    assert all(piece.endswith(b"\n") for piece in pieces)
    assert len(pieces) > 1 or after > 5000
    assert [event["seq"] for event in log.events(after)] == list(range(after + 1, 10_001))
    log.close()


async def test_stats() -> None:
    """By route and status, and by workspace."""
    limit = {"kind": "fixed_window", "rate": 0.002, "window": 1000}
    async with running(limit=limit) as caller:
        for number in range(3):
            await caller.assign(number)
        await caller.send("/nowhere")
        stats: dict[str, Any] = (await caller.control("stats")).json
        assert stats["requests"] == {"assign": {"200": 2, "429": 1}, "elsewhere": {"404": 1}}
        assert stats["workspaces"][WORKSPACE_ID] == {
            "requests": 4,
            "applied": 2,
            "limited": 1,
            "max_in_flight": 1,
        }
        assert (stats["in_flight"], stats["max_in_flight"]) == (0, 1)
