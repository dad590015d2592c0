"""The two sides that a pipeline stands between, as protocols: its tests need no network and no disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.claim import Batch, OpenRow
    from worker.models import Attempt, Job

__all__ = ["AttemptObserver", "CommitObserver", "Sender", "ShardSource"]


class Sender(Protocol):
    """The service. No method raises for what the service or the network did: that is in the `Attempt`."""

    async def assign(self, job: Job) -> Attempt:
        """Give the credential to the person, once."""
        ...

    async def unassign(self, job: Job) -> Attempt:
        """Take the credential from the person, once."""
        ...

    async def get(self, workspace_id: str | None, acs_credential_id: str) -> Attempt:
        """Read a credential."""
        ...

    async def find_user(
        self,
        workspace_id: str | None,
        *,
        acs_user_id: str | None = None,
        user_identity_id: str | None = None,
        acs_system_id: str | None = None,
    ) -> Attempt:
        """Read a user."""
        ...

    async def list_page(
        self,
        workspace_id: str | None,
        *,
        acs_system_id: str | None = None,
        page_cursor: str | None = None,
        limit: int = 500,
    ) -> Attempt:
        """Read one page of credentials."""
        ...


class ShardSource(Protocol):
    """What is left of a run's shards, and where results go. Called from worker threads, one call at a time each."""

    def fetch(self, shard: int, *, after_row: int, limit: int) -> Sequence[OpenRow]:
        """The next rows without a result beyond `after_row`, in input order; empty at the end."""
        ...

    def fetch_details_due(self, shard: int, *, after_row: int, limit: int) -> Sequence[Job]:
        """Assigned rows beyond `after_row` whose details are still to be read."""
        ...

    def write(self, batch: Batch) -> None:
        """Commit the batch whole and durably, under the fence.

        Raises:
            FenceLostError: another process has taken a shard of ours.
            LedgerWriteError: it could not be written.
        """
        ...


class AttemptObserver(Protocol):
    """Is told of every HTTP call as it ends."""

    def __call__(self, run_id: str, row: int | None, number: int, attempt: Attempt, /) -> None:
        """`number` counts the row's assign calls, from 1."""
        ...


@runtime_checkable
class CommitObserver(Protocol):
    """An observer of attempts that is also told of every commit to the ledger."""

    def committed(self, seconds: float, /) -> None:
        """One took so long; called in the ledger's thread, and may raise nothing."""
        ...
