"""The longer way of a row: whatever its first call left open (DESIGN 7 and 11).

    sent, ambiguous ──> read the owner ──┬── the row's person ──────────> assigned, read_back
                             ▲           ├── nobody, or takeover allowed ─> send again ──┐
                             │           ├── somebody else, refused ──────> conflict     │
                             │           └── cannot be told ──────────────> in_doubt     │
                             └────────────────────── ambiguous ─────────────────────────┘

Nothing is sent again while an earlier call may have been applied unseen. A row that was ever ambiguous is
`failed`, `conflict` or `in_doubt` only after one more reading at the end of the run.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from worker import outcomes
from worker.claim import KnownOwner
from worker.errors import RowStopped
from worker.lane import is_service_failure
from worker.models import Outcome, Verdict
from worker.reading import Owner, OwnerReader, ReadingRoad

if TYPE_CHECKING:
    from worker.models import Attempt, Job, Result
    from worker.ports import Sender
    from worker.reading import Reading, RowState, Rules

__all__ = ["Road", "Settler", "must_read"]


FRESH_FOR: Final = 600.0
"""Seconds for which an owner that was read counts as still so; an older one is read again before the send."""


class Road(ReadingRoad, Protocol):
    """How a settling row gets to the service and waits: through its lane, ended by a drain."""

    async def send(self, row: RowState, *, retry: bool) -> Attempt:
        """One assign call, when the lane lets it. Raises `RowStopped` instead when the row may not go on."""
        ...

    async def until_settling(self, row: RowState, not_before: float) -> None:
        """Wait for the end of the run's sending, and for `not_before`; or raise `RowStopped`."""
        ...


def must_read(owner: KnownOwner | None, *, takeover_refused: bool, now: float) -> bool:
    """Whether the owner is to be read before a row is sent (DESIGN 11.2); a reading counts for `FRESH_FOR` seconds."""
    if owner is None:
        return takeover_refused
    return now - owner.read_at > FRESH_FOR


def _person(reading: Reading) -> str | None:
    """Who has it; somebody who is no user of its system has an identity alone."""
    if reading.acs_user_id is not None or reading.owner is not Owner.OTHER or reading.attempt.credential is None:
        return reading.acs_user_id
    return reading.attempt.credential.user_identity_id


def _has_changed(owner: KnownOwner, reading: Reading) -> bool:
    if reading.acs_user_id is None and owner.acs_user_id is None:
        return _person(reading) != owner.user_identity_id
    return reading.acs_user_id != owner.acs_user_id


def _well(job: Job) -> Outcome:
    return Outcome.UNASSIGNED if job.unassign else Outcome.ASSIGNED


class Settler:
    """Brings rows to their final word, one `settle` call each."""

    def __init__(self, sender: Sender, road: Road, rules: Rules) -> None:
        self.reader = OwnerReader(sender, road, rules)
        self._road = road
        self._rules = rules

    async def settle(self, row: RowState) -> Result:
        """The row's result.

        Raises:
            RowStopped: the run drains or the workspace stopped; `row` tells what is known.
        """
        result = await self.reader.until(row, partial(self._step, row))
        if row.ever_ambiguous and result.outcome in {Outcome.FAILED, Outcome.CONFLICT, Outcome.IN_DOUBT}:
            await self._road.until_settling(row, row.last_sent_at + self._rules.timeout)
            row.reads_spent = row.failures = 0
            reading = await self.reader.until(row, partial(self.reader.read_owner, row))
            return self._final(row, reading, result)
        return result

    async def _step(self, row: RowState) -> Result | None:
        """One more try; None: later."""
        attempt, row.unjudged = row.unjudged, None
        if attempt is None:
            if row.maybe_applied or self._must_read(row):
                reading = await self.reader.read_owner(row)
                if reading is not None and row.owner is not None and row.owner.is_expected:
                    reading = await self.reader.recognise(row, reading, row.owner)
                if reading is None:
                    return None
                settled = self._by_reading(row, reading)
                if settled is not None:
                    return settled
            if row.last is not None and row.spent >= self._rules.max_attempts:
                return outcomes.failed(row.job, row.last, row.tries())
            attempt = await self._send(row)
        return await self._judge(row, attempt)

    def _must_read(self, row: RowState) -> bool:
        return must_read(row.owner, takeover_refused=self._rules.takeover_refused, now=time.time())

    async def _send(self, row: RowState) -> Attempt:
        retry = row.attempts > 0 and (row.last is None or row.last.verdict is not Verdict.LIMITED)
        return await self._road.send(row, retry=retry)

    async def _judge(self, row: RowState, attempt: Attempt) -> Result | None:
        """What an assign call means for its row; None: try again."""
        row.last = attempt
        match attempt.verdict:
            case Verdict.DONE:
                return self._accepted(row, attempt)
            case Verdict.LIMITED:
                row.failures = 0
            case Verdict.NEVER_SENT:
                self._count(row, attempt)
                if row.spent >= self._rules.max_attempts and not row.maybe_applied:
                    return outcomes.failed(row.job, attempt, row.tries())
            case Verdict.AMBIGUOUS:
                self._count(row, attempt)
                row.maybe_applied = row.ever_ambiguous = True
            case Verdict.REFUSED:
                return outcomes.failed(row.job, attempt, row.tries())
            case Verdict.FORBIDDEN:
                told = await self.reader.judge_refusal(row, attempt)
                if told is not None:
                    return outcomes.failed(row.job, told, row.tries())
                row.unjudged = attempt  # asked about again, and not sent again
            case Verdict.HALT:
                raise RowStopped
        return None

    def _accepted(self, row: RowState, attempt: Attempt) -> Result | None:
        credential = attempt.credential
        if outcomes.names_another(row.job, credential):
            row.last = attempt._replace(
                verdict=Verdict.AMBIGUOUS,
                error_type="mismatched_reply",
                error_message="the reply named another credential or person than was asked for, or nobody",
            )
            row.spent += 1
            row.failures += 1
            row.maybe_applied = row.ever_ambiguous = True
            return None
        return outcomes.assigned(
            row.job,
            attempt,
            credential,
            include_codes=self._rules.include_codes,
            details_due=credential is None and self._rules.details,
            attempts=row.attempts,
            read_back=row.read_back,
            started_at=row.started_at,
            previous_acs_user_id=row.previous_acs_user_id,
            previous_owner_state=row.previous_owner_state,
            outcome=_well(row.job),
        )

    def _by_reading(self, row: RowState, reading: Reading) -> Result | None:
        """What the owner, read before a send, means for the row; None: send."""
        match reading.owner:
            case Owner.WANTED:
                return self._as_wanted(row, reading)
            case Owner.GONE:
                return outcomes.failed(row.job, reading.attempt, row.tries())
            case Owner.UNTOLD:
                if row.maybe_applied:
                    return outcomes.in_doubt(row.job, reading.attempt, row.tries())
                return outcomes.failed(row.job, reading.attempt, row.tries())
            case _ if row.owner is not None and _has_changed(row.owner, reading):
                return outcomes.changed(row.job, reading.attempt, row.tries(), owner=_person(reading))
            case Owner.OTHER if self._rules.takeover_refused and row.owner is None:
                return outcomes.conflict(row.job, reading.attempt, row.tries(), owner=reading.acs_user_id)
            case _:
                # Of a person who is no user of the credential's system nothing is known that could be given back.
                is_known = reading.acs_user_id is not None or reading.owner is not Owner.OTHER
                if row.owner is None and not row.ever_ambiguous and is_known:
                    row.knew(KnownOwner(reading.acs_user_id, reading.attempt.started_at))
                row.maybe_applied = False
                return None

    def _as_wanted(self, row: RowState, reading: Reading) -> Result:
        if not row.sent_before:
            return outcomes.unchanged(
                row.job,
                reading.attempt,
                include_codes=self._rules.include_codes,
                detail="nobody has it already; nothing was sent"
                if row.job.unassign
                else "the person has it already; nothing was sent",
            )
        return outcomes.assigned(
            row.job,
            reading.attempt,
            reading.attempt.credential,
            include_codes=self._rules.include_codes,
            attempts=max(row.attempts, 1),
            read_back=True,
            started_at=row.started_at,
            previous_acs_user_id=row.previous_acs_user_id,
            previous_owner_state=row.previous_owner_state,
            outcome=_well(row.job),
        )

    def _final(self, row: RowState, reading: Reading, result: Result) -> Result:
        """The last word on a row that was ever ambiguous."""
        if reading.owner is Owner.WANTED:
            return self._as_wanted(row, reading)
        if reading.owner is Owner.UNTOLD and result.outcome is not Outcome.IN_DOUBT:
            return outcomes.in_doubt(row.job, reading.attempt, row.tries())
        if reading.owner is not Owner.UNTOLD and result.outcome is Outcome.IN_DOUBT:
            if reading.owner is Owner.OTHER and self._rules.takeover_refused:
                return outcomes.conflict(row.job, reading.attempt, row.tries(), owner=reading.acs_user_id)
            last = reading.attempt if reading.owner is Owner.GONE else row.last or reading.attempt
            return outcomes.failed(row.job, last, row.tries())
        return result._replace(read_back=True)

    def _count(self, row: RowState, attempt: Attempt) -> None:
        """A failure costs an attempt only if the service was otherwise at work (DESIGN 11.9)."""
        row.failures += 1
        if not is_service_failure(attempt) or row.lane.successes > row.seen_successes:
            row.spent += 1
        row.seen_successes = row.lane.successes
