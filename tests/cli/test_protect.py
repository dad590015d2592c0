"""No core of a process that holds a key."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import ctypes, resource
from worker.cli.protect import forbid_cores
forbid_cores()
print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
"""
"""3 is PR_GET_DUMPABLE."""


def test_the_process_is_not_dumpable() -> None:
    """Neither by its limit, nor by its flag, which holds where cores go into a pipe."""
    done = subprocess.run(  # noqa: S603 - this interpreter, our own script
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["(0,", "0)", "0"]
