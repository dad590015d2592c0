"""`assign-worker fleet submit`, with the wall and CPU seconds of each of its stages added to its JSON.

    python stages.py fleet submit JOBS --json

The command tells its end only. It is the same command, with a clock around the steps that it goes through.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from worker import intake
from worker.cli.group import cli
from worker.fleet import submitting
from worker.ledger import staging

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

__all__ = ["STAGES"]

_STEPS: Final[dict[str, tuple[ModuleType, str]]] = {
    "hashing": (submitting, "hash_file"),
    "reading and COPY": (staging, "_write_inputs"),
    "duplicates and conflicts": (staging, "decide_repeats"),
    "opening": (intake, "finish_staging"),
    "jobs": (submitting, "defer_missing"),
}
"""Stage -> the function that is all of it, where it is looked up."""
STAGES: Final = tuple(_STEPS)


def main() -> None:
    """Run the command with the clocks on it."""
    stages: dict[str, dict[str, float]] = {}
    for stage, (module, name) in _STEPS.items():
        setattr(module, name, _timed(getattr(module, name), stages, stage))
    said = io.StringIO()
    code = 0
    with contextlib.redirect_stdout(said):
        try:
            cli(sys.argv[1:], prog_name="assign-worker")
        except SystemExit as ended:
            code = int(ended.code or 0)
    if code == 0:
        print(json.dumps(json.loads(said.getvalue()) | {"stages": stages}))
    sys.exit(code)


def _timed(step: Callable[..., Any], stages: dict[str, dict[str, float]], stage: str) -> Callable[..., Any]:
    @functools.wraps(step)
    def timed(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - passed on
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            return step(*arguments, **options)
        finally:
            used = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
            stages[stage] = used

    return timed


if __name__ == "__main__":
    main()
