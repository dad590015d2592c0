"""Keeps a key in memory out of core dumps and other processes' sight (DESIGN 11.18)."""

from __future__ import annotations

import contextlib
import resource
import sys
from typing import Final

__all__ = ["forbid_cores"]

_PR_SET_DUMPABLE: Final = 4
"""From Linux's <sys/prctl.h>."""


def forbid_cores() -> None:
    """Have no core of this process written; on Linux, no debugger of this user may attach either."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 - commands without a key need not load it

        # A core pattern that is a pipe ignores the limit; the flag stops that way too.
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
