"""Whose a credential is, as the service tells it: a question, its retries, what no answer means (DESIGN 11.11)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from worker.errors import RowStopped
from worker.lane import is_service_failure
from worker.models import Attempt, Job, StopCause, UserKey, Verdict
from worker.outcomes import Tries
from worker.retry import until_settled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from worker.claim import KnownOwner
    from worker.lane import Lane
    from worker.ports import Sender

__all__ = ["Owner", "OwnerReader", "Reading", "ReadingRoad", "RowState", "Rules"]

T = TypeVar("T")


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
    """Its owner was read after it may have been sent."""
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


class ReadingRoad(Protocol):
    """How a row gets to the service to read, and waits: through its lane, ended by a drain."""

    async def read(self, row: RowState, make: Callable[[], Coroutine[Any, Any, Attempt]], *, retry: bool) -> Attempt:
        """One reading call, when the lane lets it; likewise."""
        ...

    async def sleep(self, row: RowState, seconds: float) -> None:
        """Wait, or raise `RowStopped`."""
        ...

    def halt(self, row: RowState, cause: StopCause, message: str) -> None:
        """End the row's lane."""
        ...


class _Said(Enum):
    ANSWERED = auto()


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


class OwnerReader:
    """Reads for one row at a time, through its lane, as often as it takes."""

    def __init__(self, sender: Sender, road: ReadingRoad, rules: Rules) -> None:
        self._sender = sender
        self._road = road
        self._rules = rules

    async def until(self, row: RowState, step: Callable[[], Awaitable[T | None]]) -> T:
        """Take a step again and again until it gives something, with growing pauses after failures."""
        return await until_settled(step, failures=lambda: row.failures, sleep=partial(self._road.sleep, row))

    async def read_credential(self, row: RowState) -> Attempt | None:
        """The credential as it is, in an attempt without one where it cannot be had; None: try again."""
        job = row.job
        return await self.ask(row, partial(self._sender.get, job.workspace_id, job.acs_credential_id))

    async def ask(self, row: RowState, make: Callable[[], Coroutine[Any, Any, Attempt]]) -> Attempt | None:
        """One reading call: its reply, or the attempt that says why there is none; None: try again."""
        attempt = await self._road.read(row, make, retry=row.reads_spent > 0)
        early = await self._unanswered(row, attempt)
        return attempt if early is _Said.ANSWERED else None if early is None else early.attempt

    async def read_owner(self, row: RowState) -> Reading | None:
        """Whose the credential is; None: the service did not say, try again."""
        job = row.job
        retry = row.reads_spent > 0
        attempt = await self._road.read(
            row, partial(self._sender.get, job.workspace_id, job.acs_credential_id), retry=retry
        )
        if (early := await self._unanswered(row, attempt)) is not _Said.ANSWERED:
            return early
        return await self.judge_owner(row, attempt)

    async def judge_owner(self, row: RowState, attempt: Attempt) -> Reading | None:
        """Whose the credential is that was read; None: that takes one more reading."""
        job = row.job
        credential = attempt.credential
        if credential is None or credential.acs_credential_id != job.acs_credential_id:
            return self._count_read(row, attempt._replace(error_type="mismatched_reply"))
        row.read_back = row.read_back or row.sent_before or row.ever_ambiguous
        row.failures = 0
        owner = credential.acs_user_id
        is_nobodys = owner is None and credential.user_identity_id is None  # a person may be no user of this system
        if job.unassign:
            return Reading(Owner.WANTED if is_nobodys else Owner.OTHER, attempt, owner)
        if job.user_key is UserKey.ACS_USER:
            if owner is None:
                return Reading(Owner.NOBODY if is_nobodys else Owner.OTHER, attempt)
            return Reading(Owner.WANTED if owner == job.user_id else Owner.OTHER, attempt, owner)
        if credential.user_identity_id is not None:
            return Reading(Owner.WANTED if credential.user_identity_id == job.user_id else Owner.OTHER, attempt, owner)
        if owner is None:
            return Reading(Owner.NOBODY, attempt)
        return await self.read_identity(row, attempt, owner, credential.acs_system_id, identity=job.user_id)

    async def recognise(self, row: RowState, reading: Reading, expected: KnownOwner) -> Reading | None:
        """The reading; where another user has the credential than expected, who is the expected identity, he is it.

        None: the service did not say, try again.
        """
        owner, credential, identity = reading.acs_user_id, reading.attempt.credential, expected.user_identity_id
        if credential is None or owner is None or identity is None or owner == expected.acs_user_id:
            return reading
        told = credential.user_identity_id
        if told is None:
            asked = await self.read_identity(row, reading.attempt, owner, credential.acs_system_id, identity=identity)
            if asked is None or asked.owner is Owner.UNTOLD:
                return asked
            told = identity if asked.owner is Owner.WANTED else None
        if told == identity:
            row.owner = expected._replace(acs_user_id=owner)
            row.knew(row.owner)
        return reading

    async def read_identity(
        self, row: RowState, read: Attempt, owner: str, acs_system_id: str | None, *, identity: str
    ) -> Reading | None:
        """Whether the owner is the user of this identity in the credential's access system; None: try again.

        `read` is the reading of the credential, for the result.
        """
        job = row.job
        by = (
            {"user_identity_id": identity, "acs_system_id": acs_system_id}
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
        return Reading(Owner.WANTED if user.user_identity_id == identity else Owner.OTHER, read, owner)

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
                told = await self.judge_refusal(row, attempt)
                return None if told is None else Reading(Owner.UNTOLD, told)
            case Verdict.LIMITED:
                row.failures = 0
                return None
            case _:
                return self._count_read(row, attempt)

    def _count_read(self, row: RowState, attempt: Attempt) -> Reading | None:
        return Reading(Owner.UNTOLD, attempt) if self._is_last_read(row, attempt) else None

    def _is_last_read(self, row: RowState, attempt: Attempt) -> bool:
        """Count a reading that failed; whether the row's tries are used up by it."""
        row.failures += 1
        if not is_service_failure(attempt) or row.lane.successes > row.seen_successes:
            row.reads_spent += 1
        row.seen_successes = row.lane.successes
        return row.reads_spent >= self._rules.max_attempts

    async def judge_refusal(self, row: RowState, refusal: Attempt) -> Attempt | None:
        """What a 403 of Seam's comes to, after a look whether the key may read at all (DESIGN 11.10).

        The refusal itself where the key works: it is the row's own. The refusal as one that may pass where nobody could
        tell as often as a row is tried. None: ask again. If the key may do nothing, the workspace stops.
        """
        workspace = row.job.workspace_id
        probe = await self._road.read(row, partial(self._sender.list_page, workspace, limit=1), retry=row.failures > 0)
        if probe.verdict is Verdict.DONE:
            return refusal
        if probe.verdict in {Verdict.FORBIDDEN, Verdict.REFUSED, Verdict.HALT}:
            self._road.halt(
                row,
                StopCause.KEY_REFUSED,
                f"the key may neither assign nor list ({refusal.error_type}: {refusal.error_message}); "
                "check its rights, then run the same command again",
            )
            raise RowStopped
        if probe.verdict is Verdict.LIMITED:
            row.failures = 0
            return None
        if not self._is_last_read(row, probe):
            return None
        message = f"{refusal.error_message} (if the key works at all could not be told: {probe.error_type})"
        return refusal._replace(verdict=Verdict.AMBIGUOUS, error_message=message)
