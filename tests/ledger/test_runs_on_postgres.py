"""Whole runs on a PostgreSQL ledger: killed, doubled, cut off from the server; the service's log judges."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.service import Ended, Started, call, wait_for
from tests.soak.ground import Ground, Server, environment, make_input, simulator
from tests.soak.oracle import Findings, compare, fetch_events, read_results

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers import Server as Postgres

ROWS = 400
PASSWORD = "hunter2canary"


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    """A service that resets some connections, after it did what was asked or before, and 400 rows for it."""
    settings: dict[str, Any] = {
        "latency": {"median": 0.02},
        "limit": {"kind": "token_bucket", "rate": 300, "burst": 20},
        "faults": {"shares": {"reset_after": 0.01, "http_500": 0.01}},
    }
    with simulator(tmp_path, settings) as server:
        yield Ground(tmp_path, server, make_input(tmp_path / "jobs.jsonl", ROWS, seed=6))


def arguments(ground: Ground, database: str, *options: str) -> list[str]:
    """`run` on this ground and this database."""
    where = ("--ledger", database, "--results", str(ground.results))
    return ["run", str(ground.jobs), *where, "--json", "--no-progress", "--timeout", "3", *options]


def start(ground: Ground, database: str, *options: str) -> Started:
    """The command as a process of its own."""
    return Started(arguments(ground, database, *options), environment(ground.server), ground.folder)


def judge(ground: Ground) -> Findings:
    """The results against what the service did."""
    return compare(ground.rows, read_results(ground.results), fetch_events(ground.server.url))


def sent(server: Server) -> int:
    """Assign requests so far."""
    return sum(event["kind"] == "received" for event in fetch_events(server.url))


def finished(ended: Ended) -> bool:
    """Whether the run came to its end."""
    return ended.code in {0, 1} and ended.document()["state"] == "finished"


def test_a_killed_run_goes_on_at_once(ground: Ground, database: str) -> None:
    """Kill -9 in mid-run, twice: the same command resumes without waiting, nothing lost, nothing sent blindly twice."""
    for share in (3, 2):
        with start(ground, database) as run:
            wait_for(lambda: sent(ground.server) > ROWS // share)  # noqa: B023 - awaited here
            run.process.kill()
    with start(ground, database) as run:
        assert finished(run.end())
    findings = judge(ground)
    assert findings.clean, findings
    assert findings.outcomes.total() == ROWS


def test_a_second_run_is_refused_by_name(ground: Ground, database: str) -> None:
    """Exit 4 with host and pid; the first one goes on undisturbed."""
    with start(ground, database) as first:
        wait_for(lambda: sent(ground.server) > 50)
        second = call(arguments(ground, database), environment(ground.server))
        assert second.code == 4
        assert f"process {first.process.pid} on " in second.err
        assert finished(first.end())
    assert judge(ground).clean


def test_a_second_sync_is_refused_while_the_first_one_reads(ground: Ground, database: str) -> None:
    """Owners are read and rows decided by one process: exit 4 for the other, which has changed nothing."""
    with start(ground, database, "--sync", "--rate", "100") as first:
        wait_for(lambda: any(event["route"] != "elsewhere" for event in fetch_events(ground.server.url)))
        second = call(arguments(ground, database, "--sync"), environment(ground.server))
        assert second.code == 4, second
        assert f"process {first.process.pid} on " in second.err
        assert finished(first.end())
    assert judge(ground).clean


def test_the_server_is_restarted_in_mid_run(ground: Ground, database: str, postgres: Postgres) -> None:
    """The run waits for it and goes on; the log of the service finds nothing lost and nothing doubled."""
    with start(ground, database) as run:
        wait_for(lambda: sent(ground.server) > ROWS // 3)
        postgres.restart()
        ended = run.end()
    while not finished(ended):  # a reading in the very moment may end it, resumable
        assert ended.code == 3, ended
        with start(ground, database) as run:
            ended = run.end()
    findings = judge(ground)
    assert findings.clean, findings


def test_a_run_that_was_stopped_for_longer_than_its_lease_sends_nothing_more(ground: Ground, database: str) -> None:
    """SIGSTOP, another process takes over, SIGCONT: the first one ends with exit 4 and has written nothing since."""
    short = "import worker.ledger.claims as c\nc.claim_shards.__kwdefaults__['lease'] = 12.0\n"
    argv = ["assign-worker", *arguments(ground, database)]
    code = f"{short}import sys\nfrom worker.__main__ import main\nsys.argv = {argv!r}\nmain()"
    # As if on another machine: nobody can see from here that it is stopped, or dead.
    elsewhere = f"import worker.ledger.holders as h\nh._machine = lambda: 'far'\n{code}"
    environ = environment(ground.server)
    with contextlib.ExitStack() as stack:
        zombie = stack.enter_context(
            subprocess.Popen([sys.executable, "-c", elsewhere], env=environ, stderr=subprocess.PIPE, text=True)  # noqa: S603 - this interpreter
        )
        stack.callback(zombie.kill)
        wait_for(lambda: sent(ground.server) > ROWS // 3)
        os.kill(zombie.pid, signal.SIGSTOP)
        refused = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)  # noqa: S603 - likewise
        assert refused.returncode == 4
        assert f"process {zombie.pid} on " in refused.stderr

        def takes_over() -> bool:
            run = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, check=False)  # noqa: S603 - likewise
            return run.returncode in {0, 1}

        wait_for(takes_over)
        before = sent(ground.server)
        os.kill(zombie.pid, signal.SIGCONT)
        _, said = zombie.communicate(timeout=30)
        assert zombie.returncode == 4, said
        assert "taken over" in said
        assert sent(ground.server) == before
    findings = judge(ground)
    assert findings.clean, findings


def test_the_other_commands_read_it(ground: Ground, database: str) -> None:
    """`show`, `runs` and `results` work by URL, and no password is shown anywhere."""
    url = database.replace("postgres:@", f"postgres:{PASSWORD}@")
    environ = environment(ground.server)
    ended = call(arguments(ground, url), environ)
    run_id = ended.document()["run_id"]
    shown = call(["show", "--ledger", url], environ)
    listed = call(["runs", "--ledger", url], environ)
    target = ground.folder / "again.jsonl"
    exported = call(["results", run_id, "--ledger", url, "-o", target], environ)
    assert shown.code == listed.code == exported.code == 0
    assert run_id in shown.out
    assert run_id in listed.out
    assert target.read_bytes() == ground.results.read_bytes()
    for each in (ended, shown, listed, exported):
        assert PASSWORD not in each.out + each.err
    assert ":***@" in ended.document()["ledger"]
