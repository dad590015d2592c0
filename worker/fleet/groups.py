"""Which shards of a run one job covers: decided by their sizes alone, so that whoever asks gets the same answer.

A workspace that lies in several shards has a job for each, and they go one after the other. All others are dealt out
to groups: the lanes of a group run side by side in one worker, under one claim, on one pair of connections.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SizedShard", "make_groups"]

LEAST_GROUPS: Final = 16
"""Where there are so many workspaces: the slots of two workers, so that few of them wait, and several can help."""
MOST_ROWS: Final = 50_000
"""Of a group, about, its lanes' cost included: a hundred million rows are some thousands of jobs."""
LANE_ROWS: Final = 50
"""What a lane costs beside its rows, in rows: of the smallest workspaces, a group has a thousand at most."""


class SizedShard(NamedTuple):
    """A shard, and what there is of it."""

    shard: int
    workspace_id: str | None
    rows: int


def make_groups(shards: Sequence[SizedShard]) -> list[tuple[SizedShard, ...]]:
    """The shards of each job, all of a run's given: first those of large workspaces, then the larger groups."""
    pieces = Counter(each.workspace_id for each in shards)
    split = [(each,) for each in shards if pieces[each.workspace_id] > 1]
    whole = [each for each in shards if pieces[each.workspace_id] == 1]
    # Like with like: lanes of one size end at about one time, and the longest begin first.
    whole.sort(key=lambda each: (-each.rows, each.shard))
    cost = sum(each.rows + LANE_ROWS for each in whole)
    count = max(LEAST_GROUPS, -(-cost // MOST_ROWS))
    groups: dict[int, list[SizedShard]] = {}
    before = 0
    for place, each in enumerate(whole):
        # With no more workspaces than groups, each has its own.
        group = place if len(whole) <= count else before * count // cost
        groups.setdefault(group, []).append(each)
        before += each.rows + LANE_ROWS
    return split + [tuple(group) for group in groups.values()]
