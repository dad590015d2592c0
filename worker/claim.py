"""What passes between a ledger and whoever sends its rows: the rows that were taken, and what is to be written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.leases import Lease
    from worker.models import Job, Result

__all__ = ["Batch", "Claim", "KnownOwner", "OpenRow", "ShardClaim"]


class KnownOwner(NamedTuple):
    """Whom a credential belonged to when it was read."""

    acs_user_id: str | None
    """None: nobody."""
    read_at: float
    """Unix seconds; 0.0 for an owner that is only expected, so that it is read before anything is sent."""
    user_identity_id: str | None = None
    """Where it is known. Of an expected owner it has the last word: the reply to an assignment by identity may have
    named another user than the one that it was applied to."""

    @property
    def is_expected(self) -> bool:
        """Nobody has read it."""
        return self.read_at == 0.0

    @property
    def state(self) -> str:
        """As `Result.previous_owner_state`."""
        return "none" if self.acs_user_id is None and self.user_identity_id is None else "known"


class OpenRow(NamedTuple):
    """A row without a result, and what earlier executions did with it."""

    job: Job
    maybe_applied: bool
    """True: it may have been applied already, so its owner is read before anything is sent."""
    attempts: int
    """Assign calls made in earlier executions, as far as they are known."""
    owner: KnownOwner | None = None
    """Whom the credential belonged to before this run wrote; None where the run has not read it."""


@dataclass(frozen=True)
class ShardClaim:
    """One shard as taken: the fence's epoch and what was left open within the mark."""

    shard: int
    workspace_id: str | None
    epoch: int
    dispatched_through: int
    rows: int
    """Of the input, settled ones included."""
    carried: tuple[OpenRow, ...]


@dataclass(frozen=True)
class Claim:
    """All shards of a run that this process works on."""

    run_no: int
    run_id: str
    shards: tuple[ShardClaim, ...]
    owners_read: bool = False
    """Whether rows come with the owner that their credential had."""
    lease: Lease | None = None
    """Until when it holds; None where the store has no leases."""
    settles_in: float = 0.0
    """Seconds until nothing can be under way any more of a former holder whose lease ran out; see `held.Holds`."""
    server_time: float = 0.0
    """Unix seconds by the ledger's server when it was taken; 0.0 where the store has no leases."""


@dataclass(frozen=True)
class Batch:
    """What one commit writes: results, later details, marks, and on an orderly stop the notes on open rows."""

    results: Sequence[Result] = ()
    details: Sequence[Result] = ()
    marks: Mapping[int, int] = field(default_factory=dict)
    """Shard -> the row through which it may be sent from now on."""
    lowered: Mapping[int, int] = field(default_factory=dict)
    """Shard -> the last row that was in fact dispatched; only on an orderly stop."""
    notes: Sequence[tuple[int, bool, int]] = ()
    """(row, maybe_applied, attempts) of rows given back on an orderly stop."""

    def __bool__(self) -> bool:
        return bool(self.results or self.details or self.marks or self.lowered or self.notes)
