"""A migration night that is killed at random moments, and then undone under the same kills.

Half of the credentials belong to somebody. A sync takes all of them over; its undo must leave each with whom it
belonged before, or with nobody.
"""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any, Final
from urllib.request import Request, urlopen
from uuid import UUID

from tests.soak.children import fork_run, wait_for
from tests.soak.ground import Ground, make_input, simulator
from tests.soak.kills import CONCURRENCY, FAULTS, LONGEST_LIFE, TIMEOUT, Tally, die_after
from tests.soak.oracle import Row, compare, fetch_events, read_results

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["configure", "count_requests", "move_and_undo", "until_done"]

_WORLD: Final = {**FAULTS["world"], "unknown_users": 0.0}
_QUIET: Final = {
    "world": _WORLD,
    "faults": {"shares": {}},
    "read_faults": {"shares": {}},
    "limit": {"kind": "none"},
    "void": {},
}


def move_and_undo(folder: Path, tally: Tally, *, kills: int, seed: int, rows: int = 600) -> None:
    """One sync and its undo, each killed up to `kills` times; what is wrong goes into `tally`."""
    random = Random(seed)  # noqa: S311 - moments, no secret
    folder.mkdir(parents=True, exist_ok=True)
    asked = make_input(folder / "jobs.jsonl", rows, seed=seed)
    with simulator(folder, {**FAULTS, **_QUIET, "seed": seed}) as server:
        ground = Ground(folder, server, asked)
        before = _settle_half(ground, random)
        seen = len(fetch_events(server.url))
        configure(server.url, {**FAULTS, "world": _WORLD})
        until_done(ground, tally, random, kills=kills, seed=seed, sync=True, takeover="allow")
        results = read_results(ground.results)
        events = fetch_events(server.url, after=seen)
        tally.runs += 1
        tally.rows += rows
        tally.findings.append(compare(asked, results, events))
        for result in results:
            if result["outcome"] == "assigned":
                told = (result["previous_owner_state"], result["previous_acs_user_id"])
                owner = before.get(asked[result["row"]].credential)
                if told != (("known", owner) if owner else ("none", None)):
                    tally.problems.append(f"seed {seed}: row {result['row']} was {owner}'s, recorded {told}")
        until_done(ground, tally, random, kills=kills, seed=seed, does="undo")
        configure(server.url, _QUIET)
        undone = {result["row"]: result for result in read_results(ground.undone)}
        owners = _owners(server.url)
        for number, row in asked.items():
            outcome = undone[number]["outcome"] if number in undone else "not assigned by the run"
            if owners.get(row.credential) != before.get(row.credential):
                tally.problems.append(
                    f"seed {seed}: row {number} ({outcome}) is {owners.get(row.credential)}'s, "
                    f"and was {before.get(row.credential)}'s"
                )
        resent = compare({}, [], fetch_events(server.url, after=seen)).unverified_resends
        tally.problems += [f"seed {seed}: {line}" for line in resent]


def _settle_half(ground: Ground, random: Random) -> dict[str, str]:
    """Give every second credential to somebody, by a run of its own; who has which."""
    place = ground.folder / "before"
    place.mkdir()
    given = {
        number: Row(row.credential, "acs_user_id", str(UUID(int=random.getrandbits(128))))
        for number, row in ground.rows.items()
        if number % 2
    }
    lines = [json.dumps({"acs_credential_id": row.credential, row.user_key: row.user}) for row in given.values()]
    (place / "jobs.jsonl").write_text("\n".join(lines) + "\n")
    first = replace(ground, folder=place, rows=given)
    if wait_for(fork_run(first, concurrency=CONCURRENCY, timeout=10.0)) != 0:
        raise RuntimeError("the run before the night did not end well")
    return {row.credential: row.user for row in given.values()}


def until_done(ground: Ground, tally: Tally, random: Random, *, kills: int, seed: int, **options: Any) -> None:
    """A command, as `fork_run` takes it, killed up to `kills` times at random moments, until it ends."""
    killed = 0
    while True:
        pid = fork_run(ground, concurrency=CONCURRENCY, timeout=TIMEOUT, **options)
        if killed < kills:
            killed += die_after(random.uniform(0.05, LONGEST_LIFE), pid, signal.SIGKILL)
        code = wait_for(pid)
        if code != -signal.SIGKILL:
            break
    tally.kills += killed
    tally.note_end(ground, code, seed)


def configure(url: str, settings: object) -> None:
    """Lay settings over those of a simulator."""
    request = Request(f"{url}/_simulator/settings", json.dumps(settings).encode())  # noqa: S310 - our own simulator
    with urlopen(request) as reply:  # noqa: S310 - likewise
        reply.read()


def _owners(url: str) -> dict[str, str]:
    """Credential -> who has it; those that nobody has are left out."""
    with urlopen(f"{url}/_simulator/owners") as reply:  # noqa: S310 - our own simulator on this machine
        owners = [json.loads(line) for line in reply]
    return {each["acs_credential_id"]: each["acs_user_id"] for each in owners if each["acs_user_id"]}


def count_requests(folder: Path, *, rows: int, changes: int, seed: int) -> list[str]:
    """A night with few changes among many rows, counted by the service: lines for people, the bar's verdict last.

    All rows are right before; then `changes` of them name somebody else. The bar: 1.2 times pages and changes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with simulator(folder, {"seed": seed, "log": "applied"}) as server:
        ground = Ground(folder, server, make_input(folder / "jobs.jsonl", rows, seed=seed))
        codes = [wait_for(fork_run(ground, concurrency=CONCURRENCY, timeout=30.0))]
        lines = (folder / "jobs.jsonl").read_text().splitlines()
        for number in range(0, rows, rows // changes):
            job = json.loads(lines[number])
            job["acs_user_id" if "acs_user_id" in job else "user_identity_id"] = str(UUID(int=seed * rows + number))
            lines[number] = json.dumps(job)
        (folder / "jobs.jsonl").write_text("\n".join(lines) + "\n")
        before, began = _requests(server.url), time.monotonic()
        codes.append(wait_for(fork_run(ground, concurrency=CONCURRENCY, timeout=30.0, sync=True, takeover="allow")))
        took = time.monotonic() - began
        outcomes = Counter(result["outcome"] for result in read_results(ground.results))
        spent = {route: count - before.get(route, 0) for route, count in _requests(server.url).items()}
    pages = -(-rows // 500)
    bar = 1.2 * (pages + changes)
    total = sum(spent.values())
    verdict = "kept" if total <= bar else "MISSED"
    told = ", ".join(f"{count} {route}" for route, count in sorted(spent.items()) if count)
    return [
        f"rows, changes       {rows}, {changes}; exit codes {codes}, {took:.0f} s for the sync",
        f"outcomes            {', '.join(f'{rows} {outcome}' for outcome, rows in outcomes.items())}",
        f"requests            {total}: {told}",
        f"bar                 {bar:.0f} (1.2 x {pages} pages and {changes} changes): {verdict}",
    ]


def _requests(url: str) -> dict[str, int]:
    with urlopen(f"{url}/_simulator/stats") as reply:  # noqa: S310 - our own simulator on this machine
        by_route: dict[str, dict[str, int]] = json.load(reply)["requests"]
    return {route: sum(by_status.values()) for route, by_status in by_route.items()}
