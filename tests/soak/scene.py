"""One run of a fleet on a stage of its own: what is known of it at a moment, and waiting within a bound."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, LiteralString

import psycopg

from tests.soak.crew import Post

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from tests.fleet.ground import FleetGround, WorkerProcess
    from tests.servers import Server as Postgres
    from tests.soak.forwarder import Forwarder

__all__ = ["BOUND", "Scene"]

BOUND: Final = 180.0
"""Seconds within which a run has ended, whatever befell it."""
_LOOK: Final = 0.1

_HELD: Final[LiteralString] = (
    "SELECT shard, epoch, (holder::json->>'pid')::int FROM assign_worker.shards"
    " WHERE lease_until > extract(epoch FROM clock_timestamp())"
)
_OPEN: Final[LiteralString] = (
    "SELECT shards.workspace_id, count(*) FROM assign_worker.inputs JOIN assign_worker.shards USING (run_no, shard)"
    " LEFT JOIN assign_worker.results ON results.run_no = inputs.run_no AND results.row = inputs.row"
    " WHERE results.row IS NULL GROUP BY 1"
)


class Scene:
    """A run, the workers on it, and what has been done to them.

    Args:
        ground: its input, service and database.
        postgres: the server of the database.
        random: of moments and victims.
        forwarder: how some worker reaches the service.
    """

    def __init__(self, ground: FleetGround, postgres: Postgres, random: Random, forwarder: Forwarder) -> None:
        self.ground = ground
        self.postgres = postgres
        self.random = random
        self.forwarder = forwarder
        self.run_id = ""
        self.posts: list[Post] = []
        self.befell: list[str] = []
        self.problems: list[str] = []
        self.drains: list[float] = []
        """Seconds from SIGTERM to the end."""
        self.lost_server = False
        """The server has been stopped: any worker may have ended of that."""
        self._until = time.monotonic() + BOUND

    def add_post(self, *options: str, **more: Any) -> Post:
        """Keep one more worker running; arguments as `FleetGround.worker`'s."""

        def start() -> WorkerProcess:
            return self.ground.worker(*options, **more)

        post = Post(start)
        self.posts.append(post)
        return post

    def tend(self) -> None:
        """Do what a service manager does."""
        for post in self.posts:
            post.tend()

    def wait_for(self, reached: Callable[[], bool], what: str) -> None:
        """Until it is so; a run that takes longer than the bound is a finding."""
        while True:
            self.tend()
            if reached():
                return
            if time.monotonic() > self._until:
                raise AssertionError(f"within {BOUND:.0f} s there was no {what}")
            time.sleep(_LOOK)

    def let_pass(self, seconds: float) -> None:
        """Let it go on for so long."""
        until = time.monotonic() + seconds
        self.wait_for(lambda: time.monotonic() >= until, "end of waiting")

    def ask(self, query: LiteralString) -> list[tuple[Any, ...]]:
        """Rows of the ledger."""
        with psycopg.connect(self.ground.database, autocommit=True) as connection:
            return connection.execute(query).fetchall()

    def held(self) -> list[tuple[int, int, int]]:
        """(shard, epoch, process id of the holder) of shards under a lease."""
        return [(shard, epoch, pid) for shard, epoch, pid in self.ask(_HELD)]

    def open_rows(self) -> dict[str, int]:
        """Workspace -> rows without a result, where there are any."""
        return dict(self.ask(_OPEN))

    def is_done(self) -> bool:
        """Whether the run is finished."""
        return self.ask("SELECT state FROM assign_worker.runs") == [("finished",)]

    def wait_until_settled(self, share: float) -> None:
        """Until so much of the input has its result, and a little longer."""
        most = (1 - share) * len(self.ground.rows)
        self.wait_for(lambda: sum(self.open_rows().values()) <= most, "progress")
        self.let_pass(self.random.uniform(0.0, 0.4))

    def pick(self) -> Post:
        """A worker that lives and, unless none does, holds a shard."""
        self.wait_for(lambda: any(post.pid for post in self.posts), "worker")
        holders = {pid for _, _, pid in self.held()}
        alive = [post for post in self.posts if post.pid is not None and post.end_of(post.pid) is None]
        return self.random.choice([post for post in alive if post.pid in holders] or alive)
