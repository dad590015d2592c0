"""The fleet's bench over a handful of rows: each part runs whole, and says what it has to say."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import pytest
from bench_fleet.__main__ import PARTS, Effort, measure
from bench_fleet.goals import Goal, as_json, goals_table, least, most, ratio
from bench_fleet.jobs import write_mixed
from bench_fleet.lanes import Crowd

from worker.readers import ReadOptions, open_input

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import Server

SMALL = Effort(
    submitted=(10, 500),
    rows_each=3,
    overhead_rows=200,
    rounds=1,
    kills=1,
    hasty=True,
    crowd=Crowd(workspaces=4, rows=6, rate=100.0, burst=4.0),
)
BARS = {"submit": 2, "workers": 1, "overhead": 2, "takeover": 1, "lanes": 1}


@pytest.mark.parametrize("part", PARTS)
def test_each_part_measures(part: str, postgres: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """Its table is shown, its figures are in the document, its bars have figures above nothing."""
    document, goals = measure(postgres, [part], SMALL)
    assert document.keys() == {part}
    assert len(goals) == BARS[part]
    assert all(goal.reached > 0 for goal in goals)
    assert len(capsys.readouterr().out.strip().splitlines()) > 1


def test_a_bar_holds_from_its_own_side() -> None:
    """A rate may not be below, a time not above; as good as asked is good enough."""
    assert [least("rate", 2.0, reached).held for reached in (1.9, 2.0, 2.1)] == [False, True, True]
    assert [most("time", 2.0, reached).held for reached in (1.9, 2.0, 2.1)] == [True, True, False]


def test_bars_are_told_beside_what_was_reached() -> None:
    """In the table and in the document."""
    goals = [Goal("rate", 100.0, is_most=False, reached=40.0), Goal("time", 3.0, is_most=True, reached=2.5)]
    lines = goals_table(goals).splitlines()
    assert lines[1].split() == ["rate", "at", "least", "100", "40", "MISSED"]
    assert lines[2].split() == ["time", "at", "most", "3", "2.5", "ok"]
    assert [entry["held"] for entry in as_json(goals)] == [False, True]


def test_ratios_are_taken_within_a_round() -> None:
    """A machine that is slow in one round slows both sides."""
    assert ratio([(20.0, 10.0), (60.0, 20.0), (300.0, 100.0)]) == 3.0


def test_a_mixed_file_is_all_jobs(tmp_path: Path) -> None:
    """Every row a valid one, every id its own, workspaces in turn."""
    path = write_mixed(tmp_path / "jobs.csv", 10_003, workspaces=7)
    with open_input(path, ReadOptions()) as rows:
        assert sum(not hasattr(row.parsed, "reason") for row in rows) == 10_003
    with path.open(encoding="utf-8", newline="") as file:
        records = list(csv.DictReader(file))
    assert len({record["acs_credential_id"] for record in records} | {record["acs_user_id"] for record in records}) == (
        2 * 10_003
    )
    assert len({record["workspace_id"] for record in records}) == 7
    assert records[0]["workspace_id"] == records[7]["workspace_id"] != records[1]["workspace_id"]
