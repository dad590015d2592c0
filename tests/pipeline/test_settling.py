"""Every class of DESIGN 7's table, through the pipeline, against a service that keeps the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.pipeline.harness import PERSON, job, send
from worker import outcomes
from worker.claim import KnownOwner
from worker.config import Bound, Guards
from worker.errors import LedgerWriteError
from worker.models import Attempt, Call, Outcome, Stop, StopCause, UserKey, Verdict
from worker.reading import Owner, Reading
from worker.seam import AcsCredential
from worker.settling import _has_changed
from worker.testing import Fault, MemorySeam, MemoryShards
from worker.window import Window

if TYPE_CHECKING:
    from worker.pipeline import Pipeline

ASSIGNED = Outcome.ASSIGNED


@pytest.mark.parametrize(
    ("faults", "outcome", "attempts", "read_back"),
    [
        ([], ASSIGNED, 1, False),
        ([Fault.NEVER_SENT], ASSIGNED, 2, False),
        ([Fault.LIMITED], ASSIGNED, 2, False),
        ([Fault.LIMITED] * 12, ASSIGNED, 13, False),
        ([Fault.LOST], ASSIGNED, 2, True),
        ([Fault.APPLIED_AND_LOST], ASSIGNED, 1, True),
        ([Fault.BROKEN_5XX], ASSIGNED, 2, True),
        ([Fault.APPLIED_5XX], ASSIGNED, 1, True),
        ([Fault.BROKEN_5XX] * 4, ASSIGNED, 5, True),
        ([Fault.BROKEN_5XX] * 4 + [Fault.APPLIED_5XX], ASSIGNED, 5, True),
        ([Fault.BROKEN_5XX] * 5, Outcome.FAILED, 5, True),
        ([Fault.OTHER_NAMED], ASSIGNED, 1, True),
        ([Fault.NOBODY_NAMED], ASSIGNED, 1, True),
        ([Fault.NOBODY_NAMED_NOT_APPLIED], ASSIGNED, 2, True),
        ([Fault.NOBODY_NAMED_NOT_APPLIED] * 5, Outcome.FAILED, 5, True),
        ([Fault.REFUSED], Outcome.FAILED, 1, False),
        ([Fault.NOT_FOUND], Outcome.FAILED, 1, False),
        ([Fault.FORBIDDEN], Outcome.FAILED, 1, False),
        ([Fault.APPLIED_AND_LOST, Fault.LOST], ASSIGNED, 1, True),
        ([Fault.LOST, Fault.REFUSED], Outcome.FAILED, 2, True),
    ],
)
@pytest.mark.parametrize("key", list(UserKey))
def test_one_row(faults: list[Fault], outcome: Outcome, attempts: int, key: UserKey, *, read_back: bool) -> None:
    """The row's outcome is what the service did, and nothing ambiguous is sent again unread."""
    seam, shards = MemorySeam(), MemoryShards([job(1, key), job(2, key)])
    seam.script(job(1).acs_credential_id, *faults)
    send(shards, seam)
    result = shards.results[1]
    assert (result.outcome, result.attempts, result.read_back) == (outcome, attempts, read_back)
    assert (job(1).acs_credential_id in seam.owners) == (outcome is ASSIGNED)
    assert seam.unverified_resends() == 0
    assert shards.results[2].outcome is ASSIGNED


def test_late_execution_is_found_at_the_end() -> None:
    """A call that is executed after all attempts failed makes the row assigned, not failed."""
    seam, shards = MemorySeam(), MemoryShards([job(1), job(2)])
    seam.script(job(1).acs_credential_id, Fault.LATE, Fault.REFUSED)
    send(shards, seam, at={20.0: lambda _: seam.execute_late()}, timeout=30.0)
    result = shards.results[1]
    assert (result.outcome, result.read_back, result.attempts) == (ASSIGNED, True, 2)


def test_takeover_refused_leaves_another_owner_alone() -> None:
    """With takeover refused the owner is read before any send."""
    seam, shards = MemorySeam(), MemoryShards([job(1), job(2), job(3)])
    seam.owners = {job(1).acs_credential_id: "somebody", job(2).acs_credential_id: PERSON}
    send(shards, seam, takeover_refused=True)
    assert [outcome for _, outcome in shards.outcomes()] == ["conflict", "unchanged", "assigned"]
    assert seam.owners[job(1).acs_credential_id] == "somebody"
    assert [event for event in seam.events if event[0] == "sent"] == [("sent", job(3).acs_credential_id)]
    assert "somebody" in (shards.results[1].detail or "")
    assert [shards.results[row].read_back for row in (1, 2, 3)] == [True, True, False]


@pytest.mark.parametrize(
    ("faults", "outcome", "read_back"),
    [
        ([], ASSIGNED, False),
        ([Fault.REFUSED], Outcome.FAILED, False),
        ([Fault.LOST], ASSIGNED, True),
        ([Fault.LOST, Fault.REFUSED], Outcome.FAILED, True),
    ],
)
def test_a_reading_before_the_send_proves_nothing_after_it(
    faults: list[Fault], outcome: Outcome, *, read_back: bool
) -> None:
    """With takeover refused every row is read first; `read_back` is of what was read afterwards."""
    seam, shards = MemorySeam(), MemoryShards([job(1)])
    seam.script(job(1).acs_credential_id, *faults)
    send(shards, seam, takeover_refused=True)
    assert (shards.results[1].outcome, shards.results[1].read_back) == (outcome, read_back)


def test_takeover_refused_holds_on_the_read_back_too() -> None:
    """Somebody else took the credential while our call was lost: a conflict, and no second send."""
    seam, shards = MemorySeam(), MemoryShards([job(1)])
    credential = job(1).acs_credential_id
    seam.script(credential, Fault.LOST)

    seam.hold = lambda _: (seam.owners.update({credential: "somebody"}), None)[1]
    send(shards, seam, takeover_refused=True)
    assert shards.results[1].outcome is Outcome.CONFLICT
    assert "takeover is refused; it is not sent again" in (shards.results[1].detail or "")
    assert seam.events.count(("sent", credential)) == 1


def test_previous_owner_is_told_where_it_was_read() -> None:
    """A takeover after a read-back names the owner that was replaced."""
    seam, shards = MemorySeam(), MemoryShards([job(1)])
    seam.owners[job(1).acs_credential_id] = "tenant-before"
    seam.script(job(1).acs_credential_id, Fault.NEVER_SENT)
    shards.unsettled[1] = (True, 0)
    send(shards, seam)
    assert shards.results[1].outcome is ASSIGNED
    assert seam.owners[job(1).acs_credential_id] == PERSON


def test_reading_that_cannot_be_had_leaves_the_row_in_doubt() -> None:
    """Lost, and every read-back refused: the one case of in_doubt."""
    seam, shards = MemorySeam(), MemoryShards([job(1), job(2)])
    seam.script(job(1).acs_credential_id, Fault.APPLIED_AND_LOST)
    seam.script(job(1).acs_credential_id, *[Fault.REFUSED] * 9, call=Call.GET)
    send(shards, seam)
    assert shards.results[1].outcome is Outcome.IN_DOUBT
    assert seam.events.count(("sent", job(1).acs_credential_id)) == 1


@pytest.mark.parametrize(
    ("owner", "later", "refused", "outcome", "said"),
    [
        ("somebody", [], True, Outcome.CONFLICT, "belongs to user somebody, and takeover is refused; it is not sent"),
        ("somebody", [], False, Outcome.FAILED, "was not, as reading it back showed; not assigned. Send the row again"),
        (None, [], False, Outcome.FAILED, "was not, as reading it back showed; not assigned. Send the row again"),
        (None, [Fault.NOT_FOUND], False, Outcome.FAILED, "Seam knows no such credential"),
        (PERSON, [], False, ASSIGNED, None),
    ],
)
def test_the_last_reading_of_a_row_that_an_earlier_execution_sent(
    owner: str | None, later: list[Fault], outcome: Outcome, said: str | None, *, refused: bool
) -> None:
    """The first one told nothing: what the settling one tells is the row's word, and no reply is made up for it."""
    seam, shards = MemorySeam(), MemoryShards([job(1)])
    shards.unsettled[1] = (True, 1)
    if owner is not None:
        seam.owners[job(1).acs_credential_id] = owner
    seam.script(job(1).acs_credential_id, Fault.REFUSED, *later, call=Call.GET)
    send(shards, seam, takeover_refused=refused)
    result = shards.results[1]
    assert result.outcome is outcome
    assert (said or "") in (result.detail or "")
    assert ("sent", job(1).acs_credential_id) not in seam.events


def test_read_back_of_a_missing_credential_fails_the_row() -> None:
    """A 404 of the read-back: there is no such credential."""
    seam, shards = MemorySeam(), MemoryShards([job(1)])
    seam.script(job(1).acs_credential_id, Fault.LOST)
    seam.script(job(1).acs_credential_id, Fault.NOT_FOUND, Fault.NOT_FOUND, call=Call.GET)
    send(shards, seam)
    assert shards.results[1].outcome is Outcome.FAILED
    assert shards.results[1].http_status == 404


def test_refused_key_stops_the_run_with_rows_open() -> None:
    """401 fails no row: the rest is never sent."""
    seam, shards = MemorySeam(), MemoryShards([job(row) for row in range(1, 201)])
    seam.script(job(5).acs_credential_id, Fault.HALT)
    execution = send(shards, seam, concurrency=2)
    assert [stop.cause for stop in execution.stops] == [StopCause.KEY_REFUSED]
    assert set(execution.outcomes) == {ASSIGNED}
    assert 5 not in shards.results
    assert shards.unsettled[5] == (False, 1)
    sent = [credential for kind, credential in seam.events if kind == "sent"]
    assert len(sent) < 20


def test_forbidden_key_that_may_not_even_list_stops_the_run() -> None:
    """A 403 whose probe fails is the run's fault, not the row's."""
    seam, shards = MemorySeam(forbidden_list=True), MemoryShards([job(row) for row in range(1, 50)])
    seam.script(job(1).acs_credential_id, Fault.FORBIDDEN)
    execution = send(shards, seam, concurrency=1)
    assert execution.stops[0].cause is StopCause.KEY_REFUSED
    assert Outcome.FAILED not in execution.outcomes


@pytest.mark.parametrize("sending", [{"rate": 2.0}, {"concurrency": 4, "rate": 1.0}])
def test_a_key_that_may_do_nothing_ends_what_waits_for_its_turn(sending: dict[str, Any]) -> None:
    """The probe's answer stops the workspace, and with it every row that is still in a queue."""
    seam, shards = MemorySeam(forbidden_list=True), MemoryShards([job(row) for row in range(1, 9)])
    seam.weather = lambda call, _: Fault.FORBIDDEN if call is Call.ASSIGN else None
    execution = send(shards, seam, **sending)
    assert [stop.cause for stop in execution.stops] == [StopCause.KEY_REFUSED]
    assert not shards.results


@pytest.mark.parametrize(("carried", "rows", "refused"), [(512, 700, False), (800, 900, True)])
def test_a_window_that_rows_carried_over_have_filled_is_emptied(carried: int, rows: int, *, refused: bool) -> None:
    """All of them may have been applied, and would wait for the end of sending, for which there is no room."""
    seam = MemorySeam()
    shards = MemoryShards([job(row) for row in range(1, rows + 1)], dispatched_through=carried)
    if refused:
        seam.owners |= {each.acs_credential_id: "somebody else" for each in shards.jobs}
    else:
        seam.weather = lambda call, _: Fault.REFUSED if call is Call.ASSIGN else None
    execution = send(shards, seam, concurrency=8, takeover_refused=refused)
    assert execution.outcomes == {Outcome.CONFLICT if refused else Outcome.FAILED: rows}


def test_a_person_who_is_no_user_of_the_system_keeps_the_credential() -> None:
    """It belongs to an identity alone: a takeover that is refused is one all the same, and nobody was never read."""

    class Owned(MemorySeam):
        def _credential(self, credential: str) -> AcsCredential:
            return super()._credential(credential).model_copy(update={"user_identity_id": PERSON})

    seam, shards = Owned(), MemoryShards([job(1)])
    assert send(shards, seam, takeover_refused=True).outcomes == {Outcome.CONFLICT: 1}
    assert [kind for kind, _ in seam.events] == ["read"]


@pytest.mark.parametrize(
    ("known", "now", "changed"),
    [
        ((None, None), (None, None), False),
        ((None, None), (None, PERSON), True),
        ((None, PERSON), (None, PERSON), False),
        ((None, PERSON), (None, None), True),
        (("user", PERSON), ("user", PERSON), False),
        (("user", None), ("another", None), True),
        (("user", None), (None, PERSON), True),
    ],
)
def test_an_owner_without_a_user_is_an_owner(
    known: tuple[str | None, str | None], now: tuple[str | None, str | None], *, changed: bool
) -> None:
    """A credential changes hands too where one of the two is an identity that is no user of its system."""
    user, identity = now
    attempt = Attempt(Call.GET, Verdict.DONE, 1.0, 0.1, 200)._replace(
        credential=AcsCredential(acs_credential_id="c", acs_user_id=user, user_identity_id=identity)
    )
    reading = Reading(Owner.NOBODY if now == (None, None) else Owner.OTHER, attempt, user)
    owner = KnownOwner(known[0], 1.0, known[1])
    assert _has_changed(owner, reading) is changed
    assert owner.state == ("none" if known == (None, None) else "known")


def test_void_replies_are_followed_by_their_details() -> None:
    """The outcome stands at once; the credential's details are read afterwards."""
    seam, shards = MemorySeam(), MemoryShards([job(row) for row in range(1, 31)])
    for each in shards.jobs:
        seam.script(each.acs_credential_id, Fault.VOID)
    execution = send(shards, seam)
    assert execution.outcomes == {ASSIGNED: 30}
    assert {result.acs_system_id for result in shards.results.values()} == {"system"}
    assert not any(result.details_due for result in shards.results.values())


def test_void_replies_without_details_cost_no_call() -> None:
    """`--no-details` saves the readings."""
    seam, shards = MemorySeam(), MemoryShards([job(1)])
    seam.script(job(1).acs_credential_id, Fault.VOID)
    execution = send(shards, seam, details=False)
    assert execution.calls == {Call.ASSIGN: 1}


def test_drain_gives_back_what_was_not_sent() -> None:
    """A stop lets calls end; beyond the lowered mark nothing was sent, and nothing is in doubt."""
    seam, shards = MemorySeam(), MemoryShards([job(row) for row in range(1, 1001)])
    seen = 0

    def stop_soon(pipeline: Pipeline, _: object) -> None:
        nonlocal seen
        seen += 1
        if seen == 100:
            pipeline.stop(Stop(StopCause.SIGINT, "stopped"))

    execution = send(shards, seam, concurrency=8, on_attempt=stop_soon)
    assert execution.stops[0].cause is StopCause.SIGINT
    done = set(shards.results)
    sent = {credential for kind, credential in seam.events if kind == "sent"}
    assert sent == {job(row).acs_credential_id for row in done}
    assert shards.dispatched_through == max(done)
    assert not [row for row in range(1, shards.dispatched_through + 1) if row not in done]


def test_drain_ends_waits_at_once_and_marks_what_is_ambiguous() -> None:
    """A row in backoff does not hold up the exit; it stays open, to be read back first next time."""
    seam, shards = MemorySeam(), MemoryShards([job(1)])
    seam.script(job(1).acs_credential_id, *[Fault.LOST] * 3)
    seam.script(job(1).acs_credential_id, *[Fault.LOST] * 50, call=Call.GET)
    send(shards, seam, at={5.0: lambda pipeline: pipeline.stop(Stop(StopCause.SIGTERM, "stopped"))})
    assert shards.results == {}
    assert shards.unsettled[1] == (True, 1)
    execution = send(shards, MemorySeam(owners=dict(seam.owners)))
    assert execution.outcomes == {ASSIGNED: 1}
    assert shards.results[1].attempts == 2


def test_a_row_that_was_ever_ambiguous_is_remembered_as_such() -> None:
    """Stopped while it waits for its last reading: the next execution reads it before anything else."""
    seam, shards = MemorySeam(), MemoryShards([job(1)])
    credential = job(1).acs_credential_id
    seam.script(credential, Fault.LATE, Fault.REFUSED)
    send(shards, seam, at={20.0: lambda pipeline: pipeline.stop(Stop(StopCause.SIGTERM, "stopped"))})
    assert shards.results == {}
    assert shards.unsettled[1] == (True, 2)
    seam.execute_late()
    send(shards, seam)
    assert (shards.results[1].outcome, seam.events.count(("sent", credential))) == (ASSIGNED, 2)


def test_a_failed_write_ends_the_run_and_loses_nothing_durable() -> None:
    """A full disk: no second try, what was durable stays, the same call resumes."""
    seam, shards = MemorySeam(), MemoryShards([job(row) for row in range(1, 2001)])

    def fail_soon(_: Pipeline, __: object) -> None:
        if len(shards.results) > 50:
            shards.fail_write = OSError("database or disk is full")

    with pytest.raises(LedgerWriteError, match="disk is full"):
        send(shards, seam, concurrency=4, on_attempt=fail_soon)
    durable, commits = dict(shards.results), shards.commits
    shards.fail_write = None
    send(shards, seam, concurrency=4)
    assert len(shards.results) == 2000
    assert durable.items() <= shards.results.items()
    assert shards.commits > commits


def test_rows_in_doubt_after_a_crash_stay_within_the_window() -> None:
    """However it dies, no more rows are in doubt than the window holds."""
    seam, shards = MemorySeam(), MemoryShards([job(row) for row in range(1, 5001)])

    def die(_: Pipeline, __: object) -> None:
        if len(shards.results) > 2000:
            shards.fail_write = OSError("killed")

    with pytest.raises(LedgerWriteError):
        send(shards, seam, concurrency=16, on_attempt=die)
    carried = shards.claim().shards[0].carried
    assert 0 < len(carried) <= Window(16).size
    assert all(opened.maybe_applied for opened in carried)


def test_max_failures_stops_the_run() -> None:
    """The first failure too many drains the run, with the flag named."""
    seam, shards = MemorySeam(), MemoryShards([job(row) for row in range(1, 501)])
    for each in shards.jobs:
        seam.script(each.acs_credential_id, Fault.REFUSED)
    execution = send(shards, seam, concurrency=4, guards=Guards(max_failures=Bound(count=10)))
    assert execution.stops[0].cause is StopCause.MAX_FAILURES
    assert "--max-failures" in execution.stops[0].message
    assert 11 <= execution.outcomes[Outcome.FAILED] <= 11 + 2 * 4


@pytest.mark.parametrize("fault", [Fault.NEVER_SENT, Fault.LOST])
def test_half_an_hour_of_outage_fails_no_row(fault: Fault) -> None:
    """While nothing answers, nobody pays an attempt, and little is sent."""
    seam, shards = MemorySeam(), MemoryShards([job(row) for row in range(1, 301)])
    down = {"is": True}

    def both(kind: Call, _: str) -> Fault | None:
        return fault if down["is"] and kind is not Call.LIST else None

    seam.weather = both
    execution = send(
        shards, seam, at={1750.0: lambda _: down.update({"is": False})}, outage_patience=3600.0, concurrency=32
    )
    assert execution.outcomes == {ASSIGNED: 300}
    assert execution.stops == []
    assert execution.calls.total() < 300 * 2 + 32 + 200


def test_patience_ends_a_dead_lane_with_rows_pending() -> None:
    """A service that never comes back ends the run as an outage; not one row is failed."""
    seam, shards = MemorySeam(), MemoryShards([job(row) for row in range(1, 101)])
    seam.weather = lambda _, __: Fault.NEVER_SENT
    execution = send(shards, seam, outage_patience=120.0)
    assert [stop.cause for stop in execution.stops] == [StopCause.OUTAGE]
    assert execution.outcomes == {}


@pytest.mark.parametrize(("keep_person", "person"), [(True, "somebody"), (False, None)])
def test_a_person_is_kept_out_of_the_details_only_by_what_speaks_against_the_row(
    *, keep_person: bool, person: str | None
) -> None:
    """That nobody could tell whose identity it is does not."""
    credential = AcsCredential.model_construct(
        acs_credential_id=job(1).acs_credential_id, acs_user_id="somebody", warnings=(), errors=()
    )
    read = Attempt(Call.GET, Verdict.DONE, 1.0, 0.0, 200, "r", credential)
    result = outcomes.details(job(1), read, include_codes=False, doubt="nobody knows", keep_person=keep_person)
    assert result.assigned_acs_user_id == person
    assert result.detail == "accepted, but nobody knows; `verify` tells what is so now"
