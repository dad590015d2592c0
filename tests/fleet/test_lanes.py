"""Many small workspaces, each with a limit of its own: they share jobs, and go side by side."""

from __future__ import annotations

import signal
from collections import Counter
from statistics import median
from typing import TYPE_CHECKING

from tests.fleet.ground import FleetGround, wait_for
from tests.soak.oracle import fetch_events

if TYPE_CHECKING:
    from tests.servers import Server as Postgres

SLOTS = "8"


def test_all_lanes_run_side_by_side(crowd: FleetGround) -> None:
    """The last workspace begins before the first one ends; each keeps to its limit, and is told 429 now and then."""
    with crowd.worker("--shards", SLOTS) as one, crowd.worker("--shards", SLOTS) as other:
        crowd.wait_until_alive(2)
        crowd.submit()
        crowd.wait_until_done()
        assert (one.end(signal.SIGTERM), other.end(signal.SIGTERM)) == (143, 143)
    began: dict[str, float] = {}
    ended: dict[str, float] = {}
    limited: Counter[str] = Counter()
    for event in fetch_events(crowd.server.url):
        workspace = event["workspace"]
        if event["kind"] == "received":
            began.setdefault(workspace, event["t"])
        elif event["kind"] == "applied":
            ended[workspace] = event["t"]
        limited[workspace] += event["kind"] == "limited"
    assert began.keys() == set(crowd.workspaces)
    assert max(began.values()) < min(ended.values())
    each = len(crowd.rows) / len(crowd.workspaces)
    assert median(limited.values()) < each  # while so few rows find out about an unknown limit
    findings = crowd.judge()
    assert findings.clean, findings


def test_keys_that_are_missing_hold_up_no_others_of_their_group(crowd: FleetGround, postgres: Postgres) -> None:
    """Their shards leave the jobs that they shared, and get jobs of their own, which a worker with the keys takes."""
    crowd.shrink(2)
    config, keys = crowd.keys_of_all_but(5)
    crowd.submit()
    name = crowd.database.partition("?")[0].rpartition("/")[2]
    jobs = "SELECT count(*), max(jsonb_array_length(args->'shards')) FROM assign_worker.procrastinate_jobs"
    ((before, largest),) = postgres.execute(jobs, name)
    assert largest > 1
    with crowd.worker("--config", config, without="SEAM_PERSONAL_ACCESS_TOKEN", **keys) as poor:
        wait_for(lambda: crowd.status()["outcomes"] == {"pending": 10, "assigned": len(crowd.rows) - 10})
        places = crowd.status()["workspaces"]
        assert {place["workspace_id"] for place in places if "put off" in place["shards"]} <= set(crowd.workspaces[:5])
        assert postgres.execute(jobs, name)[0][0] > before
        assert all(workspace in poor.said() for workspace in crowd.workspaces[:5])
        with crowd.worker():
            crowd.wait_until_done()
        assert poor.end(signal.SIGTERM) == 143
    findings = crowd.judge()
    assert findings.clean, findings


def test_two_runs_over_the_same_workspaces(crowd: FleetGround) -> None:
    """A workspace is in one place at a time: what one run has in hand waits in the other, and both get done."""
    crowd.shrink(2)
    crowd.submit()
    crowd.submit("--again", "--name", "other")
    with crowd.worker("--shards", SLOTS), crowd.worker("--shards", SLOTS):
        wait_for(lambda: [run["state"] for run in crowd.call("runs", "--json").document()] == ["finished"] * 2)
    assert crowd.judge().outcomes == {"assigned": len(crowd.rows)}
    # One after the other: between two assignments of a workspace's second run, none of its first one came in.
    seen: dict[str, list[str]] = {}
    for event in fetch_events(crowd.server.url):
        if event["kind"] == "applied":
            seen.setdefault(event["workspace"], []).append(event["credential"])
    for credentials in seen.values():
        assert set(credentials[: len(credentials) // 2]) == set(credentials[len(credentials) // 2 :])
