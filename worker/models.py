"""The frozen data that passes between the rooms: what came in, what one call did, what a row became.

`Job`, `Attempt` and `Result` are made once or more per row, so they are named tuples: frozen, and four times
quicker to make than frozen dataclasses. All times are Unix seconds (UTC), all durations seconds unless the
name ends in `_ms`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from worker.seam import AcsCredential, AcsUser

__all__ = [
    "NOT_WELL",
    "Attempt",
    "Call",
    "InputRow",
    "Job",
    "Outcome",
    "RejectedRow",
    "Result",
    "Step",
    "Stop",
    "StopCause",
    "UserKey",
    "Verdict",
]


class UserKey(StrEnum):
    """The two ways in which a row may name the person; the values are Seam's own field names."""

    ACS_USER = "acs_user_id"
    USER_IDENTITY = "user_identity_id"


class Job(NamedTuple):
    """One valid input row: give this credential to this person.

    All ids are canonical UUIDs: 36 characters, lower case.
    """

    row: int
    """Data rows count from 1."""
    line: int
    """The physical line on which the row starts, from 1."""
    acs_credential_id: str
    user_key: UserKey
    user_id: str
    workspace_id: str | None = None
    """None where the row leaves it to the API key."""
    unassign: bool = False
    """Only in an undo: take the credential from this person instead."""


class RejectedRow(NamedTuple):
    """One input row that can never be sent."""

    row: int
    line: int
    reason: str
    """One sentence for the operator, with the column where there is one."""


class InputRow(NamedTuple):
    """One row as read: what it means, and what stood in the file."""

    parsed: Job | RejectedRow
    cells: str
    """JSON, ASCII only: for CSV an array of the cells as read, for JSONL the object (or, where the line is
    none, the line as a string)."""


class Call(StrEnum):
    """The routes in use."""

    ASSIGN = "acs/credentials/assign"
    UNASSIGN = "acs/credentials/unassign"
    GET = "acs/credentials/get"
    LIST = "acs/credentials/list"
    GET_USER = "acs/users/get"


class Verdict(StrEnum):
    """What one HTTP call proves (DESIGN 7)."""

    DONE = "done"
    """A 2xx that means success."""
    NEVER_SENT = "never_sent"
    """No connection was made, so nothing can have been applied."""
    LIMITED = "limited"
    """429: refused before it was executed."""
    AMBIGUOUS = "ambiguous"
    """Sent, and nobody knows if it was applied."""
    REFUSED = "refused"
    """Refused for good: the row's own fault."""
    FORBIDDEN = "forbidden"
    """403 of Seam's: the row's fault if the key works elsewhere, else the run's."""
    HALT = "halt"
    """The run's fault (key, URL, TLS, redirect): no row of this workspace can succeed."""


class StopCause(StrEnum):
    """Why a workspace, or the whole run, stopped before its last row."""

    SIGINT = "sigint"
    SIGTERM = "sigterm"
    KEY_REFUSED = "key_refused"
    MISSING_KEY = "missing_key"
    WRONG_URL = "wrong_url"
    TLS = "tls"
    PROXY = "proxy"
    OUTAGE = "outage"
    RETRY_AFTER = "retry_after"
    MAX_FAILURES = "max_failures"
    MAX_TAKEOVERS = "max_takeovers"
    CANARY = "canary"
    FAIL_ON_WARNING = "fail_on_warning"
    SHRUNKEN = "shrunken"
    NOT_CONFIRMED = "not_confirmed"
    DEADLINE = "deadline"
    CANCELLED = "cancelled"
    LEDGER = "ledger"
    INTERNAL = "internal"


class Stop(NamedTuple):
    """Why a workspace, or the whole run, sends no more."""

    cause: StopCause
    message: str
    """One sentence for the operator: what happened, and what to do."""
    workspace_id: str | None = None
    """The workspace that stopped; None for the run."""

    def as_dict(self) -> dict[str, str | None]:
        """For `--json`."""
        return {"cause": self.cause.value, "message": self.message, "workspace_id": self.workspace_id}


class Step(StrEnum):
    """The named steps of the protocol, at any of which the process may die (DESIGN 6)."""

    AFTER_MARK = "after_mark"
    AFTER_SEND = "after_send"
    """A request is on its way."""
    AFTER_REPLY = "after_reply"
    BEFORE_COMMIT = "before_commit"
    AFTER_COMMIT = "after_commit"
    DURING_EXPORT = "during_export"


class Attempt(NamedTuple):
    """One HTTP call, as it ended. Calls never raise for what the service or the network did."""

    call: Call
    verdict: Verdict
    started_at: float
    duration: float
    status: int | None = None
    """None where no complete reply came."""
    request_id: str | None = None
    credential: AcsCredential | None = None
    """In the reply of assign or get, where it carried one."""
    user: AcsUser | None = None
    """In the reply of users/get."""
    credentials: tuple[AcsCredential, ...] = ()
    """One page of list."""
    next_page_cursor: str | None = None
    error_type: str | None = None
    """Seam's `error.type`, or a word of ours for what the network did, e.g. `timeout`, `connection_reset`."""
    error_message: str | None = None
    """Masked, without control characters, at most 500 characters."""
    retry_after: float | None = None
    """Seconds from the reply on, where the service named a time."""
    stop: StopCause | None = None
    """Set with `Verdict.HALT`."""
    workspace_id: str | None = None
    """As the call named it; None: the API key's own."""


class Outcome(StrEnum):
    """What became of a row (DESIGN 5)."""

    ASSIGNED = "assigned"
    """Seam accepted it, or a read-back proved that it did."""
    UNASSIGNED = "unassigned"
    """Taken back from the person by an undo; nobody has it, as before."""
    UNCHANGED = "unchanged"
    """Already so; nothing was sent."""
    FAILED = "failed"
    """Refused for good, or attempts used up."""
    INVALID = "invalid"
    """Not a job; decided without sending."""
    DUPLICATE = "duplicate"
    """The same credential and person stand on an earlier row, which goes."""
    CONFLICT = "conflict"
    """Two rows want the credential for different people, or its owner may not be replaced."""
    IN_DOUBT = "in_doubt"
    """Sent, and even reading back could not settle it."""
    PENDING = "pending"
    """Never sent. Only in exports of unfinished runs."""


NOT_WELL: Final = (Outcome.FAILED, Outcome.INVALID, Outcome.CONFLICT, Outcome.IN_DOUBT)
"""Rows that somebody has to look at."""


class Result(NamedTuple):
    """The one final word on a row, in the order of the ledger's columns (DESIGN 5).

    Secrets are masked before a `Result` is made, unless codes were asked for.
    """

    row: int
    outcome: Outcome
    retryable: bool | None = None
    """For `failed`: whether the same row may succeed later."""
    detail: str | None = None
    """One sentence: what happened and what to do next. None says that nothing needs doing."""
    http_status: int | None = None
    error_type: str | None = None
    error_message: str | None = None
    attempts: int = 0
    """Assign calls made, over all executions."""
    read_back: bool = False
    """The owner was read from the service after the send."""
    request_id: str | None = None
    assigned_acs_user_id: str | None = None
    assigned_user_identity_id: str | None = None
    previous_acs_user_id: str | None = None
    previous_owner_state: str | None = None
    """Whether that is known: `known`, `none` (nobody had it); None where nobody looked in time."""
    acs_system_id: str | None = None
    credential_workspace_id: str | None = None
    access_method: str | None = None
    external_type: str | None = None
    display_name: str | None = None
    is_issued: bool | None = None
    issued_at: str | None = None
    starts_at: str | None = None
    ends_at: str | None = None
    is_synced_with_provider: bool | None = None
    warning_codes: str | None = None
    """`;`-joined."""
    warnings: str | None = None
    """A JSON array."""
    credential_errors: str | None = None
    """A JSON array."""
    code: str | None = None
    card_number: str | None = None
    started_at: float | None = None
    """When the first attempt of this execution began."""
    finished_at: float | None = None
    duration_ms: int | None = None
    details_due: bool = False
    """The reply was void: the credential's details are still to be read."""
