"""Disks that fail and power that goes, over and over, where a C compiler is at hand (`tests.disk`)."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

from tests.disk.shim import ABSENT, How, build, run_preloaded

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["disk_faults", "power_losses"]


def power_losses(folder: Path, *, times: int, seed: int, tell: Callable[[str], None]) -> bool:
    """Runs that lose their power and are resumed on what is left; whether all was well."""
    return _ran(folder, "power loss", ["dying", str(folder / "power"), str(times), str(seed)], tell)


def disk_faults(folder: Path, *, tell: Callable[[str], None]) -> bool:
    """Every write and sync of a small run fails, once and for good; whether all was well."""
    ended = [
        _ran(folder, how.name.lower(), ["failing", str(folder / how.name), how.name, "1"], tell)
        for how in (How.FAIL_ONCE, How.FAIL_ON)
    ]
    return all(ended)


def _ran(folder: Path, name: str, arguments: list[str], tell: Callable[[str], None]) -> bool:
    if ABSENT:
        tell(f"{name:<20}skipped: {ABSENT}")
        return True
    last = ""
    try:
        for line in run_preloaded(build(folder), "tests.disk.preloaded", *arguments):
            if last:
                tell(last)
            last = line
        figures = json.loads(last)
    except (subprocess.CalledProcessError, ValueError) as error:
        tell(f"{name:<20}did not end: {error} {last}")
        return False
    tell(f"{name:<20}" + ", ".join(f"{what} {number}" for what, number in figures.items()))
    return not figures["problems"]
