"""A fleet under harm, again and again: each round is one run of several workers and workspaces, judged by the oracle.

Rounds go side by side in processes of their own, each with a PostgreSQL server of its own, since they mostly wait.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
import traceback
import uuid
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

from tests.fleet.ground import SHORT, TOKEN, FleetGround, make_input
from tests.servers import postgres_server
from tests.soak.crew import left_behind
from tests.soak.forwarder import Forwarder
from tests.soak.ground import simulator
from tests.soak.harms import ALLOWANCE, ENDS_OF_TERM, KINDS, befall
from tests.soak.kills import FAULTS
from tests.soak.oracle import Findings
from tests.soak.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tests.servers import Server as Postgres

__all__ = ["Round", "play", "play_all", "table"]

LANES: Final = 4
"""Rounds at a time."""
_LARGE, _SMALL = 3, 36
"""Workspaces of several shards, each of them a job; and those that share jobs."""
_ROWS: Final = 3
"""In each small one; a large one has ten times as many."""
_SHARD_ROWS: Final = 15
_WORKERS: Final = 3
_LAST_MOMENT: Final = 0.8
"""Of the rows that are settled when the harm begins, the greatest share."""
_MAY_END_SO: Final = frozenset({3, 4})
"""A worker that a busy machine let sleep for longer than its lease."""


@dataclass(frozen=True)
class Round:
    """One run, and what is wrong with it."""

    kind: str
    seed: int
    befell: tuple[str, ...]
    rows: int
    seconds: float
    """From the first row to the last worker's end."""
    findings: Findings
    problems: tuple[str, ...]
    drains: tuple[float, ...]
    """Seconds from SIGTERM to the end."""
    unasked: int
    """Workers that ended, in order and to be started again, without anything that was done to them."""

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return self.findings.clean and not self.problems


def play(kind: str, seed: int, folder: Path, postgres: Postgres) -> Round:
    """One round in this folder, on a database of its own."""
    random = Random(f"{kind} {seed}")  # noqa: S311 - moments, no secret
    workspaces = [str(uuid.UUID(int=random.getrandbits(128))) for _ in range(_LARGE + _SMALL)]
    settings: dict[str, Any] = {
        **FAULTS,
        "seed": seed,
        "latency": {"median": 0.02, "sigma": 0.5},
        "limit": {"kind": "token_bucket", "rate": 12, "burst": 6},
        "access": {
            "personal_access_tokens": {TOKEN: []},
            "api_keys": {f"seam_key_of_{number}": workspace for number, workspace in enumerate(workspaces)},
        },
    }
    name = postgres.new_database()
    findings, began = Findings(), time.monotonic()
    with ExitStack() as stack:
        server = stack.enter_context(simulator(folder, settings))
        ground = FleetGround(folder, server, postgres.url(name), workspaces)
        dealt = workspaces[:_LARGE] * 10 + workspaces[_LARGE:]
        ground.rows = make_input(ground.jobs, dealt, _ROWS, seed=seed)
        forwarder = stack.enter_context(Forwarder(server.url))
        scene = Scene(ground, postgres, random, forwarder)
        try:
            scene.problems += _play(scene, kind)
            findings = ground.judge()
        except Exception:  # noqa: BLE001 - told with its seed, and the next round goes on
            scene.problems.append(traceback.format_exc(limit=-4))
        seconds = time.monotonic() - began
        for post in scene.posts:
            post.clear()
        ends = [end for post in scene.posts for end in post.ends if not end.was_asked]
        unasked = [end for end in ends if end.code in _MAY_END_SO]
        wrong = [end for end in ends if end not in unasked]
        if scene.lost_server:  # then it ends, and cannot begin
            wrong = [end for end in wrong if end.code != 2 or "ledger" not in end.said]
            unasked = []
        scene.problems += [f"a worker ended with {end.code}: {end.said[-800:]}" for end in wrong]
    postgres.drop(name)
    return Round(
        kind,
        seed,
        tuple(scene.befell),
        len(ground.rows),
        seconds,
        findings,
        tuple(scene.problems),
        tuple(scene.drains),
        len(unasked),
    )


def _play(scene: Scene, kind: str) -> list[str]:
    """The run from its submission to the end of its workers; what is wrong at the end."""
    ground = scene.ground
    with mock.patch("worker.fleet.submitting.SHARD_ROWS", _SHARD_ROWS):
        scene.run_id = ground.submit()
    scene.add_post("--proxy", scene.forwarder.url)
    for _ in range(_WORKERS - 1):
        scene.add_post()
    scene.wait_until_settled(scene.random.uniform(0.0, _LAST_MOMENT))
    befall(scene, kind)
    scene.wait_for(scene.is_done, "end of the run")
    asked_at = time.monotonic()
    for post in scene.posts:
        post.is_kept = False
        if post.pid is not None:
            post.send(signal.SIGTERM, ends_with=ENDS_OF_TERM)
    scene.wait_for(lambda: all(post.pid is None for post in scene.posts), "end of the workers")
    scene.drains.append(time.monotonic() - asked_at)
    problems = [f"a drain took {took:.1f} s" for took in scene.drains if took > SHORT.grace + ALLOWANCE]
    if jobs := scene.ask("SELECT id, status::text FROM assign_worker.procrastinate_jobs"):
        problems.append(f"jobs are left of a run that is done: {jobs}")
    if processes := left_behind(ground.database):
        problems.append(f"processes are left: {processes}")
    return problems


def play_all(rounds: Sequence[tuple[str, int]]) -> list[Round]:
    """All these rounds, (kind, seed) each, some at a time; tells of each on stderr."""
    lanes = [rounds[first::LANES] for first in range(min(LANES, len(rounds)))]
    with ProcessPoolExecutor(len(lanes), mp_context=get_context("spawn")) as pool:
        return [played for lane in pool.map(_play_lane, lanes) for played in lane]


def _play_lane(rounds: Iterable[tuple[str, int]]) -> list[Round]:
    played = []
    with postgres_server() as postgres, tempfile.TemporaryDirectory(prefix="assign-worker-soak-") as folder:
        for number, (kind, seed) in enumerate(rounds):
            place = Path(folder) / str(number)
            place.mkdir()
            played.append(play(kind, seed, place, postgres))
            _tell(played[-1])
    return played


def _tell(played: Round) -> None:
    verdict = "well" if played.clean else "WRONG"
    print(  # noqa: T201 - a command
        f"{played.kind:<8} {played.seed} {verdict}, {played.seconds:.0f} s",
        *played.problems,
        file=sys.stderr,
        flush=True,
    )


def plan(times: int, seed: int) -> list[tuple[str, int]]:
    """(kind, seed) of so many rounds of each kind."""
    rounds = [kind for _ in range(times) for kind in KINDS]
    return [(kind, seed * 1_000_003 + number) for number, kind in enumerate(rounds)]


def table(played: Sequence[Round]) -> list[str]:
    """For people: what befell, and what came of it; then every finding, and how to have that round alone."""
    head = ("rounds", 7), ("times", 7), ("rows", 8), ("resends", 9), ("lost", 6), ("untrue", 8), ("unverified", 12)
    words = "".join(f"{word:>{width}}" for word, width in (*head, ("other", 7), ("longest", 9)))
    lines = [f"{'fleet':<9}{words}"]
    befell = Counter(name for each in played for name in each.befell)
    for kind in KINDS:
        of_kind = [each for each in played if each.kind == kind]
        if of_kind:
            times = len(of_kind) if kind == "two" else befell[kind]
            lines.append(_line(kind, of_kind, str(times)))
    lines.append(_line("all", played, str(befell.total())))
    longest = max((took for each in played for took in each.drains), default=0.0)
    lines.append(
        f"longest drain {longest:.1f} s (a grace of {SHORT.grace:.0f} s, and {ALLOWANCE:.0f} s for a busy machine)"
    )
    lines.append(f"ended unasked, to be started again: {sum(each.unasked for each in played)}")
    for each in played:
        if not each.clean:
            lines.append(f"{each.kind} {each.seed}: again by scripts/soak --fleet-round {each.kind}:{each.seed}")
            found = each.findings
            lines += [f"  {line}" for line in (*each.problems, *found.untrue[:5], *found.unverified_resends[:5])]
            lines += [f"  lost: rows {found.lost[:10]}"] if found.lost else []
    return lines


def _line(kind: str, played: Sequence[Round], times: str) -> str:
    def total(count: Callable[[Round], int]) -> int:
        return sum(map(count, played))

    return (
        f"{kind:<9}{len(played):>7}{times:>7}{total(lambda each: each.rows):>8}"
        f"{total(lambda each: each.findings.resends):>9}{total(lambda each: len(each.findings.lost)):>6}"
        f"{total(lambda each: len(each.findings.untrue)):>8}"
        f"{total(lambda each: len(each.findings.unverified_resends)):>12}{total(lambda each: len(each.problems)):>7}"
        f"{max(each.seconds for each in played):>7.0f} s"
    )
