"""`assign-worker`, with the wall and CPU seconds of each phase of a run added to its JSON.

    python phases.py run JOBS ... --json

The command itself tells its sending phase's wall time only; the ratio of CPU needs the CPU of each phase. It
listens to the progress that the command's own bar listens to, and changes nothing.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
from typing import TYPE_CHECKING, Any

from worker import batch
from worker.cli.group import cli

if TYPE_CHECKING:
    from worker.control import Progress


class PhaseClock:
    """Adds up what passes between one phase's first word and the next one's."""

    def __init__(self) -> None:
        self.phases: dict[str, dict[str, float]] = {}
        self._now = "starting"
        self._wall, self._cpu = time.perf_counter(), 0.0

    def turn(self, phase: str) -> None:
        """A phase begins, or goes on."""
        if phase == self._now:
            return
        wall, cpu = time.perf_counter(), time.process_time()
        known = self.phases.setdefault(self._now, {"seconds": 0.0, "cpu_seconds": 0.0})
        known["seconds"] += wall - self._wall
        known["cpu_seconds"] += cpu - self._cpu
        self._now, self._wall, self._cpu = phase, wall, cpu


def main() -> None:
    """Run the command with the clock on it."""
    clock = PhaseClock()
    run_batch = batch.run_batch

    async def listened(*arguments: Any, watch: Any = None, **options: Any) -> Any:  # noqa: ANN401 - passed on
        def tell(progress: Progress) -> None:
            clock.turn(progress.phase)
            if watch is not None:
                watch(progress)

        return await run_batch(*arguments, watch=tell, **options)

    batch.run_batch = listened  # which the command imports when it is called
    said = io.StringIO()
    code = 0
    with contextlib.redirect_stdout(said):
        try:
            cli(sys.argv[1:], prog_name="assign-worker")
        except SystemExit as ended:
            code = int(ended.code or 0)
    clock.turn("ended")
    if code == 0:
        print(json.dumps(json.loads(said.getvalue()) | {"phases": clock.phases}))
    sys.exit(code)


if __name__ == "__main__":
    main()
