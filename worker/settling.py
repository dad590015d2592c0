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
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeVar

from worker import outcomes
from worker.errors import RowStopped
from worker.lane import is_service_failure
from worker.ledger.claims import KnownOwner
from worker.models import Attempt, Job, Outcome, Result, StopCause, UserKey, Verdict
from worker.outcomes import Tries
from worker.retry import until_settled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from worker.lane import Lane
    from worker.ports import Sender

__all__ = ["Road", "RowState", "Rules", "Settler", "must_read"]


FRESH_FOR: Final = 600.0
"""Seconds for which an owner that was read counts as still so; an older one is read again before the send."""

T = TypeVar("T")


class _Said(Enum):
    ANSWERED = auto()


@dataclass(frozen=True, slots=True)
class Rules:
    """What a run allows its rows."""

    max_attempts: int
    timeout: float
    """Seconds of one attempt, and so how late a sent call may still be executed."""
    takeover_refused: bool
    include_codes: bool
    details: bool


@dataclass(slots=True)
class RowState:
    """One row under way. Times are monotonic seconds, but for `started_at`."""

    job: Job
    lane: Lane
    attempts: int = 0
    """Assign calls made, over all executions."""
    spent: int = 0
    """Of `max_attempts`: failures while the service was otherwise at work."""
    reads_spent: int = 0
    failures: int = 0
    """Failures in a row, for the backoff."""
    maybe_applied: bool = False
    """A call may have been applied unseen: read before sending."""
    ever_ambiguous: bool = False
    sent_before: bool = False
    """Sent in this run, now or in an earlier execution."""
    last_sent_at: float = 0.0
    seen_successes: int = 0
    unjudged: Attempt | None = None
    last: Attempt | None = None
    read_back: bool = False
    started_at: float | None = None
    owner: KnownOwner | None = None
    """Whose the credential was when the run read it."""
    previous_acs_user_id: str | None = None
    previous_owner_state: str | None = None

    def tries(self) -> Tries:
        """For the result."""
        return Tries(
            self.attempts, self.read_back, self.started_at, self.previous_acs_user_id, self.previous_owner_state
        )

    def knew(self, owner: KnownOwner) -> None:
        """Note who had the credential before anything that this run sent was applied."""
        self.previous_acs_user_id = owner.acs_user_id
        self.previous_owner_state = owner.state


class Road(Protocol):
    """How a settling row gets to the service and waits: through its lane, ended by a drain."""

    async def send(self, row: RowState, *, retry: bool) -> Attempt:
        """One assign call, when the lane lets it. Raises `RowStopped` instead when the row may not go on."""
        ...

    async def read(self, row: RowState, make: Callable[[], Awaitable[Attempt]], *, retry: bool) -> Attempt:
        """One reading call, when the lane lets it; likewise."""
        ...

    async def sleep(self, row: RowState, seconds: float) -> None:
        """Wait, or raise `RowStopped`."""
        ...

    async def until_settling(self, row: RowState, not_before: float) -> None:
        """Wait for the end of the run's sending, and for `not_before`; or raise `RowStopped`."""
        ...


class Owner(Enum):
    """What a reading says of the credential."""

    WANTED = auto()
    """As the row wants it: the row's person, or nobody where it is to be taken back."""
    NOBODY = auto()
    OTHER = auto()
    GONE = auto()
    """No such credential."""
    UNTOLD = auto()


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of the owner, and the reply that told it."""

    owner: Owner
    attempt: Attempt
    acs_user_id: str | None = None


def must_read(owner: KnownOwner | None, *, takeover_refused: bool, now: float) -> bool:
    """Whether the owner is to be read before a row is sent (DESIGN 11.2); a reading counts for `FRESH_FOR` seconds."""
    if owner is None:
        return takeover_refused
    return now - owner.read_at > FRESH_FOR


def _well(job: Job) -> Outcome:
    return Outcome.UNASSIGNED if job.unassign else Outcome.ASSIGNED


class Settler:
    """Brings rows to their final word, one `settle` call each."""

    def __init__(self, sender: Sender, road: Road, rules: Rules) -> None:
        self._sender = sender
        self._road = road
        self._rules = rules

    async def settle(self, row: RowState) -> Result:
        """The row's result.

        Raises:
            RowStopped: the run drains or the workspace stopped; `row` tells what is known.
        """
        result = await self._until(row, partial(self._step, row))
        if row.ever_ambiguous and result.outcome in {Outcome.FAILED, Outcome.CONFLICT, Outcome.IN_DOUBT}:
            await self._road.until_settling(row, row.last_sent_at + self._rules.timeout)
            row.reads_spent = row.failures = 0
            reading = await self._until(row, partial(self._read, row))
            return self._final(row, reading, result)
        return result

    async def read_credential(self, row: RowState) -> Attempt | None:
        """The credential as it is, in an attempt without one where it cannot be had; None: try again."""
        job = row.job
        attempt = await self._road.read(
            row, partial(self._sender.get, job.workspace_id, job.acs_credential_id), retry=row.reads_spent > 0
        )
        early = await self._unanswered(row, attempt)
        return attempt if early is _Said.ANSWERED else None if early is None else early.attempt

    async def _until(self, row: RowState, step: Callable[[], Awaitable[T | None]]) -> T:
        return await until_settled(step, failures=lambda: row.failures, sleep=partial(self._road.sleep, row))

    async def _step(self, row: RowState) -> Result | None:
        """One more try; None: later."""
        attempt, row.unjudged = row.unjudged, None
        if attempt is None:
            if row.maybe_applied or self._must_read(row):
                reading = await self._read(row)
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
                if await self._key_works(row, attempt):
                    return outcomes.failed(row.job, attempt, row.tries())
            case Verdict.HALT:
                raise RowStopped
        return None

    def _accepted(self, row: RowState, attempt: Attempt) -> Result | None:
        credential = attempt.credential
        if outcomes.names_another(row.job, credential):
            row.last = attempt._replace(
                verdict=Verdict.AMBIGUOUS,
                error_type="mismatched_reply",
                error_message="the reply named another credential or person than was asked for",
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
            case _ if row.owner is not None and reading.acs_user_id != row.owner.acs_user_id:
                return outcomes.changed(row.job, reading.attempt, row.tries(), owner=reading.acs_user_id)
            case Owner.OTHER if self._rules.takeover_refused and row.owner is None:
                return outcomes.conflict(row.job, reading.attempt, row.tries(), owner=reading.acs_user_id)
            case _:
                if row.owner is None and not row.ever_ambiguous:
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
        if reading.owner in {Owner.NOBODY, Owner.OTHER, Owner.GONE} and result.outcome is Outcome.IN_DOUBT:
            return outcomes.failed(row.job, row.last or reading.attempt, row.tries())
        return result._replace(read_back=True)

    async def _read(self, row: RowState) -> Reading | None:
        """Whose the credential is; None: the service did not say, try again."""
        job = row.job
        retry = row.reads_spent > 0
        attempt = await self._road.read(
            row, partial(self._sender.get, job.workspace_id, job.acs_credential_id), retry=retry
        )
        if (early := await self._unanswered(row, attempt)) is not _Said.ANSWERED:
            return early
        credential = attempt.credential
        if credential is None or credential.acs_credential_id != job.acs_credential_id:
            return self._count_read(row, attempt._replace(error_type="mismatched_reply"))
        row.read_back = True
        row.failures = 0
        owner = credential.acs_user_id
        if job.unassign:
            return Reading(Owner.WANTED if owner is None else Owner.OTHER, attempt, owner)
        if job.user_key is UserKey.ACS_USER:
            kind = Owner.NOBODY if owner is None else Owner.WANTED if owner == job.user_id else Owner.OTHER
            return Reading(kind, attempt, owner)
        if credential.user_identity_id is not None:
            return Reading(Owner.WANTED if credential.user_identity_id == job.user_id else Owner.OTHER, attempt, owner)
        if owner is None:
            return Reading(Owner.NOBODY, attempt)
        return await self._read_identity(row, attempt, owner, credential.acs_system_id)

    async def _read_identity(
        self, row: RowState, read: Attempt, owner: str, acs_system_id: str | None
    ) -> Reading | None:
        """Whether the owner is the user of the row's identity in the credential's access system."""
        job = row.job
        by = (
            {"user_identity_id": job.user_id, "acs_system_id": acs_system_id}
            if acs_system_id is not None
            else {"acs_user_id": owner}
        )
        attempt = await self._road.read(row, partial(self._sender.find_user, job.workspace_id, **by), retry=False)
        if attempt.verdict is Verdict.REFUSED and attempt.status == HTTPStatus.NOT_FOUND and acs_system_id is not None:
            return Reading(Owner.OTHER, read, owner)  # the identity has no user there yet, so it cannot be the owner
        if (early := await self._unanswered(row, attempt)) is not _Said.ANSWERED:
            return early
        user = attempt.user
        if user is None:
            return Reading(Owner.UNTOLD, attempt, owner)
        if acs_system_id is not None:
            return Reading(Owner.WANTED if user.acs_user_id == owner else Owner.OTHER, read, owner)
        if user.user_identity_id is None:
            return Reading(Owner.UNTOLD, attempt._replace(error_type="owner_untold"), owner)
        return Reading(Owner.WANTED if user.user_identity_id == job.user_id else Owner.OTHER, read, owner)

    async def _unanswered(self, row: RowState, attempt: Attempt) -> Reading | Literal[_Said.ANSWERED] | None:
        """`ANSWERED` for a reply to go by; else what a read without one means (DESIGN 11.11)."""
        match attempt.verdict:
            case Verdict.DONE:
                return _Said.ANSWERED
            case Verdict.HALT:
                raise RowStopped
            case Verdict.REFUSED:
                gone = attempt.status == HTTPStatus.NOT_FOUND
                return Reading(Owner.GONE if gone else Owner.UNTOLD, attempt)
            case Verdict.FORBIDDEN:
                return Reading(Owner.UNTOLD, attempt) if await self._key_works(row, attempt) else None
            case Verdict.LIMITED:
                row.failures = 0
                return None
            case _:
                return self._count_read(row, attempt)

    def _count_read(self, row: RowState, attempt: Attempt) -> Reading | None:
        row.failures += 1
        if not is_service_failure(attempt) or row.lane.successes > row.seen_successes:
            row.reads_spent += 1
        row.seen_successes = row.lane.successes
        return Reading(Owner.UNTOLD, attempt) if row.reads_spent >= self._rules.max_attempts else None

    def _count(self, row: RowState, attempt: Attempt) -> None:
        """A failure costs an attempt only if the service was otherwise at work (DESIGN 11.9)."""
        row.failures += 1
        if not is_service_failure(attempt) or row.lane.successes > row.seen_successes:
            row.spent += 1
        row.seen_successes = row.lane.successes

    async def _key_works(self, row: RowState, refusal: Attempt) -> bool:
        """After a 403 of Seam's: whether the key may read at all. If not, the workspace stops (DESIGN 11.10)."""
        workspace = row.job.workspace_id
        probe = await self._road.read(row, partial(self._sender.list_page, workspace, limit=1), retry=row.failures > 0)
        if probe.verdict is Verdict.DONE:
            return True
        if probe.verdict in {Verdict.FORBIDDEN, Verdict.REFUSED, Verdict.HALT}:
            row.lane.halt(
                StopCause.KEY_REFUSED,
                f"the key may neither assign nor list ({refusal.error_type}: {refusal.error_message}); "
                "check its rights, then run the same command again",
            )
            raise RowStopped
        row.failures += 1
        return False
