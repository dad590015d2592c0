"""A run that ends with failures and doubts, retried under kill -9 at random moments, and then verified likewise."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any, Final

from tests.soak.children import fork_run, wait_for
from tests.soak.ground import Ground, make_input, simulator
from tests.soak.kills import CONCURRENCY, FAULTS, TIMEOUT, Tally
from tests.soak.nights import configure, until_done
from tests.soak.oracle import compare, fetch_events, read_results

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["retry_and_verify"]

_FOR_GOOD: Final[dict[str, Any]] = {
    "faults": {"shares": {"http_502": 0.15, "reset_after": 0.1}, "times": 0, "applied_share": 0.5},
    "read_faults": {"shares": {"invalid_400": 0.2}, "times": 0},
}
"""Rows that no attempt gets through, and rows of which nobody can tell."""
_NOW_AND_THEN: Final[dict[str, Any]] = {
    "faults": {**FAULTS["faults"], "shares": {"http_502": 0.0, **FAULTS["faults"]["shares"]}, "times": 1},
    "read_faults": {"shares": {"invalid_400": 0.0, **FAULTS["read_faults"]["shares"]}, "times": 1},
}
_FOUND: Final = {"confirmed": "assigned", "waiting": "assigned", "other_owner": "failed", "no_owner": "failed"}
"""A finding of `verify` as the outcome that it confirms or denies."""


def retry_and_verify(folder: Path, tally: Tally, *, kills: int, seed: int, rows: int = 1500) -> None:
    """One run, its retry and their verification, both killed up to `kills` times; what is wrong goes into `tally`."""
    random = Random(seed)  # noqa: S311 - moments, no secret
    folder.mkdir(parents=True, exist_ok=True)
    asked = make_input(folder / "jobs.jsonl", rows, seed=seed)
    with simulator(folder, {**FAULTS, **_FOR_GOOD, "seed": seed}) as server:
        ground = Ground(folder, server, asked)
        tally.note_end(
            ground, wait_for(fork_run(ground, concurrency=CONCURRENCY, timeout=TIMEOUT, max_attempts=2)), seed
        )
        first = {result["row"]: result["outcome"] for result in read_results(ground.results)}
        seen = len(fetch_events(server.url))
        configure(server.url, _NOW_AND_THEN)
        until_done(ground, tally, random, kills=kills, seed=seed, does="retry")
        tally.close_run(ground, seed)
        sent = {each["credential"] for each in fetch_events(server.url, after=seen) if each["kind"] == "received"}
        tally.problems += [
            f"seed {seed}: row {row} was {first[row]}, and was sent again"
            for row, each in asked.items()
            if first[row] == "assigned" and each.credential in sent
        ]
        assigned = {each["row"] for each in read_results(ground.results) if each["outcome"] == "assigned"}
        until_done(ground, tally, random, kills=kills // 2, seed=seed, does="verify")
        found = [{**each, "outcome": _FOUND.get(each["outcome"], "in_doubt")} for each in read_results(ground.verified)]
        events = fetch_events(server.url)
        tally.findings.append(compare({row: asked[row] for row in assigned}, found, events))
        if unread := sum(each["outcome"] == "in_doubt" for each in found):
            tally.problems.append(f"seed {seed}: {unread} rows could not be verified")
