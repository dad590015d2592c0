"""Which shards of a job this worker can do, and why it cannot do the others: by the keys that it has. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.config import KeyKind, MissingKey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.config import Credentials

__all__ = ["Sorted", "is_home_wanted", "sort_by_key"]


@dataclass(frozen=True)
class Sorted:
    """Shards by what can be done with them now and here."""

    ready: tuple[int, ...] = ()
    put_off: Mapping[int, str] = field(default_factory=dict)
    """Shard -> why not."""

    def without(self, shards: Sequence[int], reason: str) -> Sorted:
        """The same, with these put off too."""
        ready = tuple(shard for shard in self.ready if shard not in shards)
        return Sorted(ready, {**self.put_off, **dict.fromkeys(shards, reason)})


def is_home_wanted(workspaces: Mapping[int, str | None], credentials: Credentials) -> bool:
    """Whether any of these shards is for a key of which only the service knows for which workspace it is."""
    return any(
        not isinstance(key, MissingKey) and key.kind is KeyKind.API_KEY and key.workspace_id is None
        for key in map(credentials.resolve, set(workspaces.values()))
    )


def sort_by_key(workspaces: Mapping[int, str | None], credentials: Credentials, home: str | None) -> Sorted:
    """Whose key this worker has.

    Args:
        workspaces: shard -> workspace; None for rows that name none.
        credentials: the keys.
        home: the workspace of the default key, as the service told it; None where it could not.
    """
    ready: list[int] = []
    put_off: dict[int, str] = {}
    for shard, workspace in workspaces.items():
        key = credentials.resolve(workspace)
        if isinstance(key, MissingKey):
            put_off[shard] = f"{key.reason} Until then the shards of this workspace wait, or go to other workers"
        elif workspace is not None and (key.workspace_id or home) != workspace:
            put_off[shard] = (
                f"the key from {key.origin} is for workspace {home or 'unknown'}, not {workspace}; the shards of that "
                "one wait, or go to other workers"
            )
        else:
            ready.append(shard)
    return Sorted(tuple(ready), put_off)
