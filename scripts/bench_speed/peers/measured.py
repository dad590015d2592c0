"""What every peer shares: its arguments, the jobs, and the one JSON line that it prints.

python PEER.py URL REQUESTS CONCURRENCY
"""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

WARM_UP = 0.1
"""Share of the requests that are sent before the clock starts: connections, caches, imports."""


def body_of(row: int) -> dict[str, str]:
    """The ids of a row, as the worker's own input has them."""
    return {
        "acs_credential_id": f"c0000000-0000-4000-8000-{row:012d}",
        "acs_user_id": f"a0000000-0000-4000-8000-{row:012d}",
    }


class Clock:
    """Wall and CPU seconds of this process, from `start` to `stop`."""

    def start(self) -> None:
        """Begin; what came before is warming up."""
        self._cpu = time.process_time()
        self._wall = time.perf_counter()

    def stop(self) -> None:
        """End."""
        self.wall = time.perf_counter() - self._wall
        self.cpu = time.process_time() - self._cpu


def tell(measure: Callable[[str, int, int, Clock], None]) -> None:
    """Run a peer by this script's arguments and print its figures.

    Args:
        measure: gets URL, number of requests and concurrency; it starts and stops the clock around them.
    """
    url, requests, concurrency = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    clock = Clock()
    measure(url, requests, concurrency, clock)
    print(
        json.dumps(
            {
                "requests": requests,
                "seconds": clock.wall,
                "cpu_seconds": clock.cpu,
                "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    )
