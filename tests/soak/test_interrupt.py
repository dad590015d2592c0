"""SIGINT a third of the way, then the same command: together they are as one run that was let be."""

from __future__ import annotations

import json
import signal
import subprocess
from collections import Counter
from contextlib import closing
from sqlite3 import connect
from typing import TYPE_CHECKING, Any

from tests.soak.ground import Ground, command, environment, make_input, simulator
from tests.soak.oracle import compare, fetch_events, read_results

if TYPE_CHECKING:
    from pathlib import Path

WORLD = {
    "seed": 4,
    "latency": {"median": 0.03},
    "world": {"unknown_users": 0.05, "warnings": 0.2, "foreign_credentials": 0.1},
}
_TIMES = {"started_at", "finished_at", "duration_ms", "issued_at", "created_at", "request_id", "run_id"}


def _settled(ground: Ground) -> int:
    if not ground.ledger.exists():
        return 0
    with closing(connect(ground.ledger, timeout=10)) as connection:
        tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'results'").fetchone()[0]
        return int(connection.execute("SELECT count(*) FROM results").fetchone()[0]) if tables else 0


def _run(ground: Ground, *, interrupt_at: int | None = None) -> dict[str, Any]:
    with subprocess.Popen(  # noqa: S603 - our own command
        command(ground, "--quiet"), env=environment(ground.server), stdout=subprocess.PIPE, text=True
    ) as process:
        while interrupt_at is not None and process.poll() is None:
            if _settled(ground) >= interrupt_at:
                process.send_signal(signal.SIGINT)
                interrupt_at = None
        told, _ = process.communicate(timeout=100)
    return {"exit": process.returncode, **json.loads(told)}


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _timeless(each) for name, each in value.items() if name not in _TIMES}
    return [_timeless(each) for each in value] if isinstance(value, list) else value


def test_an_interrupted_run_and_its_resumption_equal_a_whole_one(tmp_path: Path) -> None:
    """Exit 130, then 1; no settled row is sent again; the same results but for times and request ids."""
    contents = []
    for name, interrupt_at in (("whole", None), ("parted", 500)):
        folder = tmp_path / name
        folder.mkdir()
        rows = make_input(folder / "jobs.jsonl", 1500, seed=8)
        with simulator(folder, WORLD) as server:
            ground = Ground(folder, server, rows)
            first = _run(ground, interrupt_at=interrupt_at)
            if interrupt_at is not None:
                assert first["exit"] == 130
                settled = {each["row"] for each in read_results(ground.results) if each["outcome"] != "pending"}
                assert 500 <= len(settled) < 1500
                second = _run(ground)
                assert second["exit"] == 1
                sent = Counter(each["credential"] for each in fetch_events(server.url) if each["kind"] == "received")
                assert {sent[rows[row].credential] for row in settled} == {1}
            assert compare(rows, read_results(ground.results), fetch_events(server.url)).clean
            contents.append(_timeless(read_results(ground.results)))
    assert contents[0] == contents[1]
