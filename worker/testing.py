"""Both sides of a pipeline in memory, for tests: no network, no disk, no waiting that is not asked for.

`MemorySeam` is a service whose faults are scripted call by call, and which keeps the truth: what was applied.
`MemoryShards` is a ledger that can lose its process: `crash()` keeps what was durable and nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from worker.claim import Claim, OpenRow, ShardClaim
from worker.errors import FenceLostError
from worker.models import Attempt, Call, Job, StopCause, UserKey, Verdict
from worker.seam import AcsCredential, AcsUser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from worker.claim import Batch
    from worker.models import Result

__all__ = ["Fault", "MemorySeam", "MemoryShards"]


class Fault(StrEnum):
    """How a call may end otherwise than well."""

    NEVER_SENT = "never_sent"
    LIMITED = "limited"
    LOST = "lost"
    """Not applied, and no reply."""
    APPLIED_AND_LOST = "applied_and_lost"
    """Applied, and no reply."""
    LATE = "late"
    """No reply; applied only when `MemorySeam.execute_late` is called."""
    BROKEN_5XX = "broken_5xx"
    APPLIED_5XX = "applied_5xx"
    VOID = "void"
    """Applied; the reply carries no credential."""
    OTHER_NAMED = "other_named"
    """Applied; the reply names another person."""
    NOBODY_NAMED = "nobody_named"
    """Applied; the reply names the credential, and nobody whose it is."""
    NOBODY_NAMED_NOT_APPLIED = "nobody_named_not_applied"
    """Likewise, and it tells the truth."""
    REFUSED = "refused"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    HALT = "halt"
    UNUSABLE = "unusable"
    """A success that says nothing of use."""


_APPLIED = frozenset({Fault.APPLIED_AND_LOST, Fault.APPLIED_5XX, Fault.VOID, Fault.OTHER_NAMED, Fault.NOBODY_NAMED})
_REPLIES: dict[Fault, tuple[Verdict, int | None, str]] = {
    Fault.NEVER_SENT: (Verdict.NEVER_SENT, None, "connection_refused"),
    Fault.LIMITED: (Verdict.LIMITED, 429, "rate_limited"),
    Fault.LOST: (Verdict.AMBIGUOUS, None, "timeout"),
    Fault.APPLIED_AND_LOST: (Verdict.AMBIGUOUS, None, "timeout"),
    Fault.LATE: (Verdict.AMBIGUOUS, None, "timeout"),
    Fault.BROKEN_5XX: (Verdict.AMBIGUOUS, 500, "internal_error"),
    Fault.APPLIED_5XX: (Verdict.AMBIGUOUS, 502, "http_502"),
    Fault.REFUSED: (Verdict.REFUSED, 400, "user_identity_not_found"),
    Fault.FORBIDDEN: (Verdict.FORBIDDEN, 403, "forbidden"),
    Fault.NOT_FOUND: (Verdict.REFUSED, 404, "acs_credential_not_found"),
    Fault.HALT: (Verdict.HALT, 401, "unauthorized"),
    Fault.UNUSABLE: (Verdict.AMBIGUOUS, 200, "unusable_reply"),
}


@dataclass
class MemorySeam:
    """The service, as a `Sender`."""

    owners: dict[str, str] = field(default_factory=dict)
    """Credential -> the user that has it: the truth."""
    faults: dict[tuple[Call, str], deque[Fault]] = field(default_factory=lambda: defaultdict(deque))
    """(route, credential) -> how its next calls end; after them all goes well."""
    events: list[tuple[str, str]] = field(default_factory=list)
    """("sent" | "applied" | "read", credential), in order."""
    forbidden_list: bool = False
    hold: Callable[[Job], asyncio.Future[None] | None] = lambda _: None
    """Keeps a call on its way until the future is done."""
    weather: Callable[[Call, str], Fault | None] = lambda _, __: None
    """How calls end that no script says anything about."""
    _late: list[Job] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0

    def script(self, credential: str, *faults: Fault, call: Call = Call.ASSIGN) -> None:
        """Have the next calls about a credential end like this."""
        self.faults[call, credential].extend(faults)

    def execute_late(self) -> None:
        """Apply what was sent, not answered and not yet applied."""
        for job in self._late:
            self._apply(job)
        self._late.clear()

    def unverified_resends(self) -> int:
        """How often a credential was sent again without having been read since; 429 and refusals do not count."""
        unread: set[str] = set()
        resent = 0
        for kind, credential in self.events:
            if kind == "read":
                unread.discard(credential)
            elif kind == "ambiguous":
                unread.add(credential)
            elif kind == "sent" and credential in unread:
                resent += 1
        return resent

    def _apply(self, job: Job) -> None:
        self.owners[job.acs_credential_id] = self._owner_of(job)
        self.events.append(("applied", job.acs_credential_id))

    @staticmethod
    def _owner_of(job: Job) -> str:
        return job.user_id if job.user_key is UserKey.ACS_USER else f"user-of-{job.user_id}"

    def _fault(self, call: Call, credential: str) -> Fault | None:
        waiting = self.faults.get((call, credential))
        return waiting.popleft() if waiting else self.weather(call, credential)

    async def assign(self, job: Job) -> Attempt:
        """`Sender.assign`."""
        credential = job.acs_credential_id
        self.events.append(("sent", credential))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if (gate := self.hold(job)) is not None:
                await gate
            else:
                await asyncio.sleep(0)
        finally:
            self.in_flight -= 1
        fault = self._fault(Call.ASSIGN, credential)
        if fault is Fault.LATE:
            self._late.append(job)
        if fault is None or fault in _APPLIED:
            self._apply(job)
        if fault in _REPLIES:
            if _REPLIES[fault][0] is Verdict.AMBIGUOUS:
                self.events.append(("ambiguous", credential))
            return _reply(Call.ASSIGN, fault)
        if fault is Fault.VOID:
            return _done(Call.ASSIGN)
        if fault is Fault.OTHER_NAMED:
            self.events.append(("ambiguous", credential))
            named = {"acs_user_id": "somebody-else", "user_identity_id": "somebody-else"}
            return _done(Call.ASSIGN, self._credential(credential).model_copy(update=named))
        if fault in {Fault.NOBODY_NAMED, Fault.NOBODY_NAMED_NOT_APPLIED}:
            self.events.append(("ambiguous", credential))
            return _done(Call.ASSIGN, self._credential(credential).model_copy(update={"acs_user_id": None}))
        return _done(Call.ASSIGN, self._credential(credential))

    async def unassign(self, job: Job) -> Attempt:
        """`Sender.unassign`; nobody has the credential afterwards."""
        await asyncio.sleep(0)
        self.events.append(("sent", job.acs_credential_id))
        self.owners.pop(job.acs_credential_id, None)
        return _done(Call.UNASSIGN, self._credential(job.acs_credential_id))

    async def get(self, workspace_id: str | None, acs_credential_id: str) -> Attempt:  # noqa: ARG002 - `Sender`'s
        """`Sender.get`."""
        await asyncio.sleep(0)
        fault = self._fault(Call.GET, acs_credential_id)
        if fault in _REPLIES:
            return _reply(Call.GET, fault)
        self.events.append(("read", acs_credential_id))
        return _done(Call.GET, self._credential(acs_credential_id))

    async def find_user(
        self,
        workspace_id: str | None,  # noqa: ARG002 - `Sender`'s
        *,
        acs_user_id: str | None = None,
        user_identity_id: str | None = None,
        acs_system_id: str | None = None,
    ) -> Attempt:
        """`Sender.find_user`."""
        await asyncio.sleep(0)
        owner = acs_user_id if user_identity_id is None else f"user-of-{user_identity_id}"
        if owner is None or owner not in self.owners.values():
            return _reply(Call.GET_USER, Fault.NOT_FOUND)
        user = AcsUser.model_construct(acs_user_id=owner, acs_system_id=acs_system_id, user_identity_id=None)
        return Attempt(Call.GET_USER, Verdict.DONE, time.time(), 0.0, 200, "req", user=user)

    async def list_page(
        self,
        workspace_id: str | None,  # noqa: ARG002 - `Sender`'s
        *,
        acs_system_id: str | None = None,  # noqa: ARG002 - `Sender`'s
        page_cursor: str | None = None,  # noqa: ARG002 - `Sender`'s
        limit: int = 500,
    ) -> Attempt:
        """`Sender.list_page`."""
        await asyncio.sleep(0)
        if self.forbidden_list:
            return _reply(Call.LIST, Fault.FORBIDDEN)
        fault = self._fault(Call.LIST, "")
        if fault in _REPLIES:
            return _reply(Call.LIST, fault)
        page = tuple(self._credential(credential) for credential in list(self.owners)[:limit])
        return Attempt(Call.LIST, Verdict.DONE, time.time(), 0.0, 200, "req", credentials=page)

    def _credential(self, credential: str) -> AcsCredential:
        return AcsCredential.model_construct(
            acs_credential_id=credential,
            acs_system_id="system",
            acs_user_id=self.owners.get(credential),
            workspace_id="workspace",
            display_name="a credential",
            access_method="card",
        )


def _reply(call: Call, fault: Fault) -> Attempt:
    verdict, status, kind = _REPLIES[fault]
    return Attempt(
        call,
        verdict,
        time.time(),
        0.0,
        status,
        None if status is None else "req",
        error_type=kind,
        error_message=f"scripted: {fault.value}",
        stop=StopCause.KEY_REFUSED if verdict is Verdict.HALT else None,
    )


def _done(call: Call, credential: AcsCredential | None = None) -> Attempt:
    return Attempt(call, Verdict.DONE, time.time(), 0.0, 200, "req", credential)


@dataclass
class MemoryShards:
    """The ledger, as a `ShardSource`: durable until the object is dropped, fenced by epoch."""

    jobs: Sequence[Job]
    results: dict[int, Result] = field(default_factory=dict)
    dispatched_through: int = 0
    unsettled: dict[int, tuple[bool, int]] = field(default_factory=dict)
    epoch: int = 0
    claimed: int = 0
    """The epoch of the claim that writes through this object."""
    fail_write: Exception | None = None
    commits: int = 0

    def claim(self) -> Claim:
        """Take the one shard, as `claim_run` does."""
        self.epoch += 1
        self.claimed = self.epoch
        carried = []
        for job in self.jobs:
            if job.row <= self.dispatched_through and job.row not in self.results:
                maybe, attempts = self.unsettled.get(job.row, (True, 0))
                carried.append(OpenRow(job, maybe, attempts))
                if job.row in self.unsettled:
                    self.unsettled[job.row] = (True, attempts)
        return Claim(
            1, "memory", (ShardClaim(0, None, self.epoch, self.dispatched_through, len(self.jobs), tuple(carried)),)
        )

    def fetch(self, shard: int, *, after_row: int, limit: int) -> Sequence[OpenRow]:  # noqa: ARG002 - one shard
        """`ShardSource.fetch`."""
        fresh = (job for job in self.jobs if job.row > after_row and job.row not in self.results)
        return [
            OpenRow(job, *self.unsettled.get(job.row, (False, 0))) for job, _ in zip(fresh, range(limit), strict=False)
        ]

    def fetch_details_due(self, shard: int, *, after_row: int, limit: int) -> Sequence[Job]:  # noqa: ARG002 - one shard
        """`ShardSource.fetch_details_due`."""
        due = (job for job in self.jobs if job.row > after_row and job.row in self.results)
        return [job for job in due if self.results[job.row].details_due][:limit]

    def write(self, batch: Batch) -> None:
        """`ShardSource.write`."""
        if self.fail_write is not None:
            raise self.fail_write
        if self.claimed != self.epoch:
            raise FenceLostError("another process has taken over shard 0")
        if repeated := [result.row for result in batch.results if result.row in self.results]:
            raise AssertionError(f"a second final result for rows {repeated}")
        self.commits += 1
        self.results.update((result.row, result) for result in batch.results)
        for detail in batch.details:
            known = self.results[detail.row]
            self.results[detail.row] = known._replace(
                acs_system_id=detail.acs_system_id,
                assigned_acs_user_id=detail.assigned_acs_user_id,
                assigned_user_identity_id=detail.assigned_user_identity_id,
                detail=detail.detail or known.detail,
                details_due=False,
            )
        for through in batch.marks.values():
            self.dispatched_through = max(self.dispatched_through, through)
        for through in batch.lowered.values():
            self.dispatched_through = through
        self.unsettled.update((row, (maybe, attempts)) for row, maybe, attempts in batch.notes)

    def outcomes(self) -> Iterable[tuple[int, str]]:
        """(row, outcome) of all results, by row."""
        return [(row, self.results[row].outcome.value) for row in sorted(self.results)]
