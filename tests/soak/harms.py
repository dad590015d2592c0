"""What may befall a fleet: each harm begins, lasts, and is over, so that any two can be laid over each other."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from tests.fleet.ground import SHORT
from tests.soak.oracle import fetch_events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from tests.soak.scene import Scene

    Harm: TypeAlias = Callable[[Scene], AbstractContextManager[None]]

__all__ = ["ALLOWANCE", "ENDS_OF_TERM", "KINDS", "befall"]

ALLOWANCE: Final = 30.0
"""Seconds beyond its grace that a worker may take to end on a machine that is busy with other rounds."""
ENDS_OF_TERM: Final = frozenset({128 + signal.SIGTERM, -signal.SIGTERM})
"""The latter of one that was still starting."""
_TAKEN_FOR_DEAD: Final = 4
_SHORTEST, _LONGEST = 0.0, 2.5
"""Seconds for which a harm lasts that needs no certain time."""


@contextmanager
def killed(scene: Scene) -> Iterator[None]:
    """Kill -9 of a worker, which is started again or never."""
    post = scene.pick()
    post.is_kept = scene.random.random() < 0.5
    post.send(signal.SIGKILL, ends_with={-signal.SIGKILL})
    yield


@contextmanager
def frozen(scene: Scene) -> Iterator[None]:
    """SIGSTOP beyond the stale time, then SIGCONT: where its shards were taken, it ends with 4."""
    post = scene.pick()
    pid = post.pid
    assert pid is not None
    had = {(shard, epoch) for shard, epoch, holder in scene.held() if holder == pid}
    post.send(signal.SIGSTOP, ends_with={3, 4})
    wakes_at = time.monotonic() + SHORT.stale + scene.random.uniform(0.3, 4.0)
    yield
    scene.let_pass(wakes_at - time.monotonic())
    now_held = {(shard, epoch) for shard, epoch in scene.ask("SELECT shard, epoch FROM assign_worker.shards")}
    post.send(signal.SIGCONT, ends_with=set())
    if had - now_held:
        scene.wait_for(lambda: post.end_of(pid) is not None, f"end of worker {pid}, whose shards were taken over")
        end = post.end_of(pid)
        assert end is not None
        if end.code not in {_TAKEN_FOR_DEAD, -signal.SIGKILL} and not scene.lost_server:  # killed in its sleep
            scene.problems.append(f"a frozen worker whose shards were taken ended with {end.code}: {end.said[-400:]}")


@contextmanager
def terminated(scene: Scene) -> Iterator[None]:
    """SIGTERM: it drains within its grace, and what it had is free at once."""
    post = scene.pick()
    pid, asked_at = post.pid, time.monotonic()
    assert pid is not None
    post.is_kept = scene.random.random() < 0.5
    post.send(signal.SIGTERM, ends_with=ENDS_OF_TERM)
    yield
    scene.wait_for(lambda: post.end_of(pid) is not None, f"end of worker {pid} after SIGTERM")
    end = post.end_of(pid)
    assert end is not None
    scene.drains.append(end.at - asked_at)
    if end.code in ENDS_OF_TERM and any(holder == pid for _, _, holder in scene.held()):
        scene.problems.append("a worker that ended in order has left a shard under its lease")


@contextmanager
def without_server(scene: Scene, mode: str) -> Iterator[None]:
    """PostgreSQL is stopped, and started again; workers that ended of it are started again too."""
    scene.lost_server = True
    scene.postgres.stop(mode)
    try:
        yield
    finally:
        scene.postgres.start()


@contextmanager
def cut_off(scene: Scene) -> Iterator[None]:
    """One worker cannot reach the service any more: it is refused, or hears nothing. It stays so."""
    if scene.random.random() < 0.5:
        scene.forwarder.refuse()
    else:
        scene.forwarder.fall_silent()
    yield


@contextmanager
def keyless(scene: Scene) -> Iterator[None]:
    """No worker has the key of one workspace: it waits, and all others are done. Then one has it."""
    ground = scene.ground
    left = scene.open_rows()
    poor = scene.random.choice(sorted(left) or ground.workspaces)
    rich = [(number, workspace) for number, workspace in enumerate(ground.workspaces) if workspace != poor]
    config = ground.folder / "keys.toml"
    config.write_text("".join(f'[workspaces."{each}"]\napi_key_env = "KEY_{number}"\n' for number, each in rich))
    keys = {f"KEY_{number}": f"seam_key_of_{number}" for number, _ in rich}
    old = list(scene.posts)
    scene.posts = []
    for post in old:
        post.is_kept = False
        post.send(signal.SIGTERM, ends_with=ENDS_OF_TERM)
        scene.add_post("--config", str(config), without="SEAM_PERSONAL_ACCESS_TOKEN", **keys)
    scene.posts += old
    scene.wait_for(lambda: all(post.pid is None for post in old), "end of the workers that had all keys")
    before = _sent_in(scene, poor)
    yield
    scene.wait_for(lambda: set(scene.open_rows()) <= {poor}, "end of the workspaces that have a key")
    if _sent_in(scene, poor) != before:
        scene.problems.append("rows were sent to a workspace without a key")
    scene.add_post()


def _sent_in(scene: Scene, workspace: str) -> int:
    events = fetch_events(scene.ground.server.url)
    return sum(event["kind"] == "received" and event["workspace"] == workspace for event in events)


@contextmanager
def cancelled(scene: Scene) -> Iterator[None]:
    """The run is cancelled, and handed in again: at once, or when all is still."""
    ended = scene.ground.call("fleet", "cancel", scene.run_id)
    if ended.code != 0 and not scene.is_done():
        scene.problems.append(f"cancel ended with {ended.code}: {ended.err}")
    if scene.random.random() < 0.5:
        scene.wait_for(lambda: not scene.held(), "end of what was cancelled")
        before = scene.ground.sent()
        scene.let_pass(SHORT.stale / 2)
        if scene.ground.sent() != before:
            scene.problems.append("a cancelled run was still being sent")
    yield
    if scene.ground.submit() != scene.run_id:
        scene.problems.append("another run was made of a cancelled one's file")


_CRASHED: Final = partial(without_server, mode="immediate")
_RESTARTED: Final = partial(without_server, mode="fast")
_TOGETHER: Final[Sequence[Harm]] = (killed, killed, frozen, terminated, cut_off, cancelled)

KINDS: Final[Mapping[str, Sequence[Harm]]] = {
    "kill": (killed,),
    "freeze": (frozen,),
    "term": (terminated,),
    "restart": (_RESTARTED,),
    "crash": (_CRASHED,),
    "cut-off": (cut_off,),
    "no-key": (keyless,),
    "cancel": (cancelled,),
    "two": (),
}
"""What a round is about; `two` is any two at once."""


def befall(scene: Scene, kind: str) -> None:
    """Have it begin, last and be over."""
    harms = KINDS[kind]
    if not harms:
        # What stops the server begins last and ends first, since the others ask it how things stand.
        any_of: list[Harm] = [*_TOGETHER, scene.random.choice((_RESTARTED, _CRASHED))]
        harms = [any_of[number] for number in sorted(scene.random.sample(range(len(any_of)), 2))]
    with ExitStack() as stack:
        for harm in harms:
            scene.befell.append(_name(harm))
            stack.enter_context(harm(scene))
        scene.let_pass(scene.random.uniform(_SHORTEST, _LONGEST))


def _name(harm: Harm) -> str:
    return next(kind for kind, (only, *_) in list(KINDS.items())[:-1] if only is harm)
