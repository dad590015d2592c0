"""What a run says on stderr while it works, and how it says it where there is no terminal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Protocol, Self

from worker.cli.words import amount, per_second
from worker.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from worker.control import Progress

__all__ = ["Lines", "Teller", "figures", "note_of", "phase_of"]

_LINE_INTERVAL: Final = 30.0
"""Seconds between two lines of the log."""
_PHASES: Final = {
    "staging": "reading the input",
    "connecting": "connecting",
    "reading": "reading the present owners",
    "confirming": "waiting for an answer",
    "sending": "sending",
    "exporting": "writing the results",
}


class Teller(Protocol):
    """Tells people how far a run is, within a `with` block."""

    @property
    def stream(self) -> TextIO | None:
        """Where the log is to go meanwhile; None for stderr itself."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """Leave stderr as it was."""

    def __call__(self, progress: Progress) -> None:
        """Take note of how far the run is; comes some ten times a second, in the event loop."""

    def say(self, text: str) -> None:
        """Tell one thing now."""

    def leave(self) -> None:
        """Leave the terminal in order, from a signal handler."""


class Lines:
    """One line every 30 s, at level info, through the log."""

    stream = None

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next = clock() + _LINE_INTERVAL

    def __enter__(self) -> Self:
        """Nothing to set up."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to take down."""

    def __call__(self, progress: Progress) -> None:
        """Log, where it is time."""
        if self._clock() < self._next:
            return
        self._next = self._clock() + _LINE_INTERVAL
        get_logger().info(
            "progress",
            phase=progress.phase,
            done=progress.done,
            total=progress.total,
            rows_per_second=round(progress.rate, 1),
            in_flight=progress.in_flight,
            outcomes={outcome.value: count for outcome, count in progress.outcomes.items() if count},
            note=note_of(progress),
        )

    def say(self, text: str) -> None:
        """Log it as a warning."""
        get_logger().warning(text)

    def leave(self) -> None:
        """Nothing to put in order."""


def phase_of(progress: Progress) -> str:
    """What is being done, in words."""
    return _PHASES.get(progress.phase, progress.phase)


def figures(progress: Progress) -> list[str]:
    """Rows, rate and the time that is left, as far as they are known."""
    if progress.phase == "staging":
        return [f"{amount(progress.done)} rows"] if progress.done else []
    if progress.phase != "sending" or progress.total is None:
        return []
    figures = [f"{amount(progress.done)}/{amount(progress.total)}"]
    if progress.rate > 0:
        figures.append(f"{per_second(progress.rate)} rows/s")
        figures.append(f"{_clock_time((progress.total - progress.done) / progress.rate)} left")
    return figures


def _clock_time(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}"


def note_of(progress: Progress) -> str | None:
    """Why the run is not quicker, where something holds it."""
    if progress.note is not None:
        return progress.note
    if not progress.throttled:
        return None
    if progress.limit_rate is None:
        return "the service limits the rate; keeping below it"
    return f"the service limits the rate; keeping to {progress.limit_rate:.3g} requests/s"
