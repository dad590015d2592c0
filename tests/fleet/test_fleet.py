"""Whole runs over several workers, with what may befall them; the service's log judges."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from tests.fleet.ground import SHORT, FleetGround, wait_for

if TYPE_CHECKING:
    from tests.servers import Server as Postgres

ALLOWANCE = 15.0
"""Seconds beyond `stale` within which a dead worker's shards go on elsewhere (DESIGN 10)."""


def test_two_workers_finish_a_run(ground: FleetGround) -> None:
    """Each does a part; a second `submit` changes nothing; `status`, `results` and `show` tell the truth."""
    with ground.worker() as one, ground.worker() as other:
        ground.wait_until_alive(2)
        run_id = ground.submit()
        assert ground.submit() == run_id
        wait_for(lambda: len(ground.status()["workers"]) == 2)
        working = ground.status()
        assert working["workers_alive"] == 2
        assert all(worker["shards"] <= 2 for worker in working["workers"])
        ground.wait_until_done()
        assert (one.end(signal.SIGTERM), other.end(signal.SIGINT)) == (143, 130)
    findings = ground.judge()
    assert findings.clean, findings
    shown = ground.call("show", run_id, "--json").document()
    assert (shown["state"], shown["outcomes"]["assigned"]) == ("finished", len(ground.rows))
    again = ground.call("fleet", "submit", ground.jobs)
    assert "--again" in again.out


def test_a_killed_workers_shards_go_on_elsewhere(ground: FleetGround) -> None:
    """Kill -9: within the stale time and an allowance the other has all of it; nothing lost, nothing sent blindly."""
    with ground.worker() as killed, ground.worker():
        ground.wait_until_alive(2)
        ground.submit()
        ground.wait_until_sent(0.3)
        killed.process.kill()
        killed.process.wait()
        died_at = time.monotonic()
        wait_for(lambda: not any("orphaned" in place["shards"] for place in ground.status()["workspaces"]))
        assert time.monotonic() - died_at < SHORT.stale + ALLOWANCE
        ground.wait_until_done()
    findings = ground.judge()
    assert findings.clean, findings


def test_a_frozen_worker_is_taken_over_and_ends(ground: FleetGround) -> None:
    """SIGSTOP beyond the stale time, then SIGCONT: it writes and sends nothing more, and ends with exit code 4."""
    with ground.worker() as frozen, ground.worker():
        ground.wait_until_alive(2)
        ground.submit()
        ground.wait_until_sent(0.3)
        frozen.send(signal.SIGSTOP)
        ground.wait_until_done()
        before = ground.sent()
        frozen.send(signal.SIGCONT)
        assert frozen.end() == 4, frozen.said()
        assert "taken" in frozen.said()
        assert ground.sent() == before
    findings = ground.judge()
    assert findings.clean, findings


def test_a_stopped_workers_shards_are_free_at_once(ground: FleetGround) -> None:
    """SIGTERM drains; the other goes on long before the first one would count as dead, and nothing is in doubt."""
    with ground.worker() as first, ground.worker() as second:
        ground.wait_until_alive(2)
        ground.submit()
        ground.wait_until_sent(0.3)
        assert first.end(signal.SIGTERM) == 143, first.said()
        left = ground.status()
        assert not any("orphaned" in place["shards"] for place in left["workspaces"])
        ground.wait_until_done()
        assert second.end(signal.SIGTERM) == 143
    findings = ground.judge()
    assert findings.clean, findings


def test_a_lost_server_ends_a_worker_that_can_be_started_again(ground: FleetGround, postgres: Postgres) -> None:
    """PostgreSQL goes away: the worker ends with exit code 3 and a sentence; started again, it goes on."""
    ground.submit()
    with ground.worker() as first:
        ground.wait_until_sent(0.2)
        postgres.stop()
        try:
            assert first.end() == 3, first.said()
            assert "Start the worker again" in first.said() or "goes on from here" in first.said()
        finally:
            postgres.start()
    with ground.worker():
        ground.wait_until_done()
    findings = ground.judge()
    assert findings.clean, findings


def test_a_worker_without_a_way_to_the_service_leaves_the_work_to_others(ground: FleetGround) -> None:
    """Its shards are put off after its patience, and others do them; no row fails for it."""
    ground.shrink(10)
    ground.submit()
    with ground.worker("--proxy", "http://127.0.0.1:9") as cut_off:
        wait_for(lambda: "no request succeeded" in cut_off.said() or "did not answer" in cut_off.said())
        with ground.worker():
            ground.wait_until_done()
        assert cut_off.end(signal.SIGTERM) == 143
    findings = ground.judge()
    assert findings.clean, findings
    assert findings.outcomes == {"assigned": len(ground.rows)}


def test_a_workspace_without_a_key_waits_while_others_go_on(ground: FleetGround) -> None:
    """The worker says which key is missing; a worker that has it does the rest."""
    ground.shrink(10)
    config, keys = ground.keys_of_all_but(1)
    ground.submit()
    with ground.worker("--config", config, without="SEAM_PERSONAL_ACCESS_TOKEN", **keys) as poor:
        each = len(ground.rows) // len(ground.workspaces)
        wait_for(lambda: bool(ground.status()["outcomes"].get("pending") == each))
        (waiting,) = (place for place in ground.status()["workspaces"] if "pending" in place["outcomes"])
        assert waiting["workspace_id"] == ground.workspaces[0]
        wait_for(lambda: ground.workspaces[0] in poor.said())
        with ground.worker():
            ground.wait_until_done()
        assert "seam_key" not in poor.said()
    findings = ground.judge()
    assert findings.clean, findings


def test_a_cancelled_run_stops_and_can_go_on(ground: FleetGround) -> None:
    """`cancel` drains what is under way; `submit` of the same file lets the run go on."""
    run_id = ground.submit()
    with ground.worker() as worker:
        ground.wait_until_sent(0.2)
        assert ground.call("fleet", "cancel", run_id).code == 0
        wait_for(lambda: not ground.status()["workers"])
        before = ground.status()
        assert before["stop_cause"] == "cancelled"
        assert before["outcomes"]["pending"] > 0
        assert ground.submit() == run_id
        ground.wait_until_done()
        assert worker.end(signal.SIGTERM) == 143
    findings = ground.judge()
    assert findings.clean, findings


def test_a_run_without_jobs_gets_them_from_a_worker(ground: FleetGround, postgres: Postgres) -> None:
    """As if `submit` had died between opening the run and making its jobs."""
    ground.shrink(10)
    ground.submit()
    name = ground.database.partition("?")[0].rpartition("/")[2]
    postgres.execute("SET search_path TO assign_worker; DELETE FROM procrastinate_jobs", name)
    with ground.worker("--shards", "4"):
        ground.wait_until_done()
    assert ground.judge().clean
    assert postgres.execute("SELECT count(*) FROM assign_worker.procrastinate_jobs", name) == [(0,)]
