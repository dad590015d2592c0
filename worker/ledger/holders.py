"""Who holds a ledger or a shard: this process as others may read it, and whether another one still lives."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from functools import cache
from pathlib import Path

import psutil

__all__ = ["describe", "holder", "is_dead"]


def holder() -> str:
    """This process, as JSON: host, process id, when it started, and the machine that its id means something on."""
    process = psutil.Process()
    return json.dumps(
        {
            "host": socket.gethostname(),
            "pid": process.pid,
            "started_at": round(process.create_time(), 2),
            "machine": _machine(),
        }
    )


@cache
def _machine() -> str | None:
    """The running kernel and its space of process ids: containers of one host share a name, but not this."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return None


def is_dead(said: str | None) -> bool:
    """Whether that process is known to have ended; False where it cannot be told from here."""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        who = json.loads(said or "")
        if who["machine"] is None or who["machine"] != _machine():
            return False
        try:
            return bool(abs(psutil.Process(who["pid"]).create_time() - who["started_at"]) > 1)
        except psutil.NoSuchProcess:
            return True
    return False


def describe(said: str | bytes | None) -> str:
    """A holder for people: host, process id, since when."""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        who = json.loads(said or "")
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(who["started_at"]))
        return f"process {who['pid']} on {who['host']}, running since {since}"
    return "its process did not say who it is"
