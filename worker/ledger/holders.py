"""Who holds a ledger or a shard: this process as others may read it, and whether another one still lives."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from functools import cache
from pathlib import Path
from typing import Any

import psutil

__all__ = [
    "describe",
    "holder",
    "is_alive",
    "is_dead",
    "is_released",
    "is_same",
    "released",
    "settles_at",
    "settling",
    "timeout_of",
]

_NOT_WHO = frozenset({"timeout", "settles_at"})


def holder(*, timeout: float | None = None, part: str | None = None) -> str:
    """This process, as JSON: host, process id, when it started, and the machine that its id means something on.

    Args:
        timeout: seconds that a request of its may last, told where it sends.
        part: which of its claims it is, where a process has several that keep each other out as strangers do.
    """
    process = psutil.Process()
    who: dict[str, Any] = {
        "host": socket.gethostname(),
        "pid": process.pid,
        "started_at": round(process.create_time(), 2),
        "machine": _machine(),
    }
    if timeout is not None:
        who["timeout"] = timeout
    if part is not None:
        who["part"] = part
    return json.dumps(who)


def is_same(one: str | None, other: str) -> bool:
    """Whether two holders are the same process, and the same part of it."""
    return one == other or (one is not None and _identity(one) == _identity(other))


def timeout_of(said: str | None) -> float | None:
    """How long a request of this holder's may last, in seconds; None where it did not say."""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        return float(json.loads(said or "")["timeout"])
    return None


def settling(said: str, moment: float) -> str:
    """This holder, and until when it has to wait for others' requests, so that whoever takes over from it waits on.

    `moment` is in Unix seconds by the ledger's server.
    """
    return json.dumps({**json.loads(said), "settles_at": moment})


def released(moment: float) -> str:
    """Nobody any more, but until this moment (likewise) requests may be under way."""
    return json.dumps({"settles_at": moment})


def is_released(said: str | None) -> bool:
    """Whether that is what was said."""
    with contextlib.suppress(ValueError, TypeError):
        return "pid" not in json.loads(said or "")
    return False


def settles_at(said: str | None) -> float:
    """Until when requests may be under way that this holder has to wait for, or has left; 0.0: there are none."""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        return float(json.loads(said or "")["settles_at"])
    return 0.0


def _identity(said: str) -> object:
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        return {name: value for name, value in json.loads(said).items() if name not in _NOT_WHO}
    return said


@cache
def _machine() -> str | None:
    """The running kernel and its space of process ids: containers of one host share a name, but not this."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return None


def is_dead(said: str | None) -> bool:
    """Whether that process is known to have ended; False where it cannot be told from here."""
    return _lives(said) is False


def is_alive(said: str | None) -> bool:
    """Whether that process is known to run; False where it cannot be told from here."""
    return _lives(said) is True


def _lives(said: str | None) -> bool | None:
    """None: it cannot be told from here."""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        who = json.loads(said or "")
        if who["machine"] is None or who["machine"] != _machine():
            return None
        try:
            return bool(abs(psutil.Process(who["pid"]).create_time() - who["started_at"]) <= 1)
        except psutil.NoSuchProcess:
            return False
    return None


def describe(said: str | bytes | None) -> str:
    """A holder for people: host, process id, since when."""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        who = json.loads(said or "")
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(who["started_at"]))
        return f"process {who['pid']} on {who['host']}, running since {since}"
    return "its process did not say who it is"
