"""Which shards share a job."""

from __future__ import annotations

from random import Random

from worker.fleet.groups import LANE_ROWS, LEAST_GROUPS, MOST_ROWS, SizedShard, make_groups


def sized(*rows: int) -> list[SizedShard]:
    """Shards of as many workspaces, with so many rows each."""
    return [SizedShard(shard, f"workspace {shard}", count) for shard, count in enumerate(rows)]


def test_few_workspaces_have_a_job_each() -> None:
    """So that workers can share them; the largest begins first."""
    assert [[each.shard for each in group] for group in make_groups(sized(10, 30, 20))] == [[1], [2], [0]]
    assert make_groups([]) == []


def test_a_thousand_small_workspaces_fill_two_workers() -> None:
    """In groups of the same size, so that all lanes run side by side in the slots of two workers."""
    sizes = [len(group) for group in make_groups(sized(*[100] * 1_000))]
    assert len(sizes) == LEAST_GROUPS
    assert (min(sizes), max(sizes)) == (62, 63)


def test_pieces_of_a_large_workspace_go_one_by_one() -> None:
    """Each is a job, in their order, before the groups; the whole ones are grouped without them."""
    pieces = [SizedShard(100 + number, "large", 10_000) for number in range(3)]
    groups = make_groups([*sized(*[10] * 64), *pieces])
    assert groups[:3] == [(piece,) for piece in pieces]
    assert {len(group) for group in groups[3:]} == {4}


def test_groups_are_bounded_and_lose_nothing() -> None:
    """Whatever the sizes: each shard once, a group no larger than its share and one workspace more."""
    random = Random(5)  # noqa: S311 - test data
    for count in (17, 300, 5_000):
        shards = sized(*(min(int(random.paretovariate(0.7) * 10), 10_000) for _ in range(count)))
        groups = make_groups(shards)
        assert sorted(each for group in groups for each in group) == shards
        assert make_groups(shards[::-1]) == groups
        costs = [[each.rows + LANE_ROWS for each in group] for group in groups]
        share = sum(map(sum, costs)) / max(LEAST_GROUPS, sum(map(sum, costs)) / MOST_ROWS)
        assert all(sum(cost) < share + max(cost) for cost in costs)


def test_the_smallest_workspaces_do_not_pile_up() -> None:
    """A lane costs something without any row."""
    groups = make_groups(sized(*[1] * 50_000))
    assert max(map(len, groups)) <= MOST_ROWS / LANE_ROWS
