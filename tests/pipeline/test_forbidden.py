"""A 403 of Seam's whose probe tells nothing: each row ends, or its workspace does, and nothing is sent in vain."""

from __future__ import annotations

import pytest

from tests.pipeline.harness import PERSON, job, send
from worker.models import Call, Outcome, StopCause
from worker.testing import Fault, MemorySeam, MemoryShards

CREDENTIAL = job(1).acs_credential_id
FOREVER = 1000


def forbidden(*, probe: Fault, call: Call = Call.ASSIGN) -> MemorySeam:
    """A service that refuses the first row's calls of one route, and never says well whether the key works."""
    seam = MemorySeam()
    seam.script(CREDENTIAL, *[Fault.FORBIDDEN] * FOREVER, call=call)
    seam.script("", *[probe] * FOREVER, call=Call.LIST)
    return seam


@pytest.mark.parametrize("others", [0, 300])
def test_a_probe_that_cannot_be_used_is_asked_again_and_given_up(others: int) -> None:
    """The row fails as one that may yet succeed; it was sent once."""
    seam, shards = forbidden(probe=Fault.UNUSABLE), MemoryShards([job(row) for row in range(1, others + 2)])
    send(shards, seam, rate=20.0, max_attempts=3)
    result = shards.results[1]
    assert (result.outcome, result.retryable, result.attempts) == (Outcome.FAILED, True, 1)
    assert (result.http_status, result.error_type) == (403, "forbidden")
    assert "could not be told: unusable_reply" in (result.error_message or "")
    assert len(seam.faults[Call.LIST, ""]) == FOREVER - 3
    assert seam.events.count(("sent", CREDENTIAL)) == 1
    assert len(shards.results) == others + 1


@pytest.mark.parametrize("probe", [Fault.BROKEN_5XX, Fault.LIMITED, Fault.NEVER_SENT])
@pytest.mark.parametrize("call", [Call.ASSIGN, Call.GET])
def test_a_probe_that_never_comes_through_ends_the_workspace(probe: Fault, call: Call) -> None:
    """Where nothing succeeds, patience ends it, and no row is failed for it; its call is not sent again and again."""
    seam, shards = forbidden(probe=probe, call=call), MemoryShards([job(1)])
    execution = send(shards, seam, outage_patience=60.0, takeover_refused=call is Call.GET)
    assert [stop.cause for stop in execution.stops] == [StopCause.OUTAGE]
    assert not shards.results
    assert seam.events.count(("sent", CREDENTIAL)) == (call is Call.ASSIGN)
    assert len(seam.faults[Call.LIST, ""]) > 0


def test_while_others_succeed_a_probe_that_fails_costs_the_row_its_tries() -> None:
    """The service works otherwise, so the row does not wait for it for ever."""
    seam, shards = forbidden(probe=Fault.BROKEN_5XX), MemoryShards([job(row) for row in range(1, 400)])
    execution = send(shards, seam, rate=2.0, max_attempts=3, outage_patience=3600.0)
    assert execution.outcomes == {Outcome.ASSIGNED: 398, Outcome.FAILED: 1}
    assert (shards.results[1].outcome, shards.results[1].retryable) == (Outcome.FAILED, True)


@pytest.mark.parametrize("key_works", [True, False])
def test_a_row_that_may_have_been_applied_stays_in_doubt(*, key_works: bool) -> None:
    """Its reading is refused, and if the key works cannot be told either."""
    seam, shards = MemorySeam(), MemoryShards([job(1)])
    seam.script(CREDENTIAL, Fault.APPLIED_AND_LOST)
    seam.script(CREDENTIAL, *[Fault.FORBIDDEN] * FOREVER, call=Call.GET)
    if not key_works:
        seam.script("", *[Fault.UNUSABLE] * FOREVER, call=Call.LIST)
    send(shards, seam, max_attempts=3)
    assert shards.results[1].outcome is Outcome.IN_DOUBT
    assert seam.events.count(("sent", CREDENTIAL)) == 1


def test_a_refusal_of_a_row_that_was_applied_before_is_read_back() -> None:
    """A first call was lost, the second refused, and nobody knows if the key works: reading it tells."""
    seam, shards = MemorySeam(), MemoryShards([job(1)])
    seam.script(CREDENTIAL, Fault.LATE, *[Fault.FORBIDDEN] * FOREVER)
    seam.script("", *[Fault.UNUSABLE] * FOREVER, call=Call.LIST)
    send(shards, seam, at={25.0: lambda _: seam.execute_late()}, max_attempts=3)
    assert shards.results[1].outcome is Outcome.ASSIGNED
    assert seam.owners[CREDENTIAL] == PERSON


def test_a_probe_that_fails_once_does_no_harm() -> None:
    """The key works after all: the refusal is the row's own."""
    seam, shards = MemorySeam(), MemoryShards([job(1)])
    seam.script(CREDENTIAL, Fault.FORBIDDEN)
    seam.script("", Fault.BROKEN_5XX, Fault.LIMITED, Fault.UNUSABLE, call=Call.LIST)
    send(shards, seam)
    assert (shards.results[1].outcome, shards.results[1].retryable) == (Outcome.FAILED, False)
    assert seam.events.count(("sent", CREDENTIAL)) == 1
