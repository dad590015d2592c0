"""Runs the throttle, and the schemes it has to beat, against limits on a virtual clock.

`limiters` are the services' limits, `scenarios` draws them from seeds, `engine` is the clock, `rivals` the other
schemes, `told` what a lane reaches that need not estimate, `evaluate` measures, `report` prints. From the
repository: `python -m bench_throttle.report` with `scripts` on the path, or `scripts/bench --throttle`.
"""

from __future__ import annotations

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Evaluate all schemes and print the table and the JSON; 1 if a bar is missed."""
    from bench_throttle.report import main as run  # noqa: PLC0415 - the parts can be used without the command

    return run(argv)
