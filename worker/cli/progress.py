"""What a run says on stderr while it works: a bar on a terminal, else a line in the log now and then."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
from typing import TYPE_CHECKING, Final, Protocol, Self, cast

from worker.cli.page import amount
from worker.logs import escape_controls, get_logger
from worker.models import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from rich.console import Console, Group

    from worker.config import Logging
    from worker.control import Progress

__all__ = ["Bar", "Lines", "Teller", "choose_teller"]

_REFRESHES_PER_SECOND: Final = 5
_LINE_INTERVAL: Final = 30.0
"""Seconds between two lines of the log."""
_BAR_WIDTH: Final = 28
_PHASES: Final = {
    "staging": "reading the input",
    "connecting": "connecting",
    "sending": "sending",
    "exporting": "writing the results",
}
_STYLES: Final = {
    Outcome.ASSIGNED: "green",
    Outcome.UNCHANGED: "green",
    Outcome.FAILED: "red",
    Outcome.IN_DOUBT: "red",
    Outcome.INVALID: "yellow",
    Outcome.CONFLICT: "yellow",
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


def choose_teller(logging: Logging) -> Teller:
    """The bar where stderr is a terminal and nobody turned it off, else lines in the log."""
    wants_bar = logging.progress and not logging.quiet
    return Bar() if wants_bar and sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else Lines()


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
            note=_note(progress),
        )

    def say(self, text: str) -> None:
        """Log it as a warning."""
        get_logger().warning(text)

    def leave(self) -> None:
        """Nothing to put in order."""


class Bar:
    """A bar that redraws itself in a thread of its own, so that a slow terminal does not slow the run."""

    def __init__(self, console: Console | None = None) -> None:
        from rich.console import Console  # noqa: PLC0415 - slow to import
        from rich.live import Live  # noqa: PLC0415 - likewise

        self._console = console or Console(stderr=True, highlight=False, markup=False, emoji=False)
        self.stream = cast("TextIO", _AboveBar(self._console))
        self._latest: Progress | None = None
        self._live = Live(
            console=self._console,
            get_renderable=self._draw,
            refresh_per_second=_REFRESHES_PER_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Self:
        """Show the bar."""
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Wipe it."""
        self._live.stop()

    def __call__(self, progress: Progress) -> None:
        """Keep it for the next redrawing."""
        self._latest = progress

    def say(self, text: str) -> None:
        """Print above the bar."""
        self._console.print(text, soft_wrap=True)

    def leave(self) -> None:
        """Give the cursor back. Nothing of rich's: its locks may be held by whatever was interrupted."""
        with contextlib.suppress(OSError):
            os.write(sys.stderr.fileno(), b"\x1b[?25h\r\n")

    def _draw(self) -> Group:
        from rich.console import Group  # noqa: PLC0415 - slow to import
        from rich.progress_bar import ProgressBar  # noqa: PLC0415 - likewise
        from rich.table import Table  # noqa: PLC0415 - likewise
        from rich.text import Text  # noqa: PLC0415 - likewise

        progress = self._latest
        if progress is None:
            return Group()
        first = Table.grid(padding=(0, 2))
        parts: list[Text | ProgressBar] = [Text(_PHASES.get(progress.phase, progress.phase), style="bold")]
        if progress.phase == "sending" and progress.total:
            parts.append(ProgressBar(total=progress.total, completed=progress.done, width=_BAR_WIDTH))
        parts += [Text(part) for part in _figures(progress)]
        first.add_row(*parts)
        lines: list[Table | Text] = [first]
        counts = Text("  ", no_wrap=True, overflow="ellipsis")
        for outcome, count in progress.outcomes.items():
            if count:
                counts.append(f"{outcome.value} {amount(count)}  ", style=_STYLES.get(outcome, ""))
        if progress.phase == "sending":
            counts.append(f"{amount(progress.in_flight)} in flight", style="dim")
            lines.append(counts)
        note = _note(progress)
        if note is not None:
            lines.append(Text(f"  {escape_controls(note)}", style="yellow", no_wrap=True, overflow="ellipsis"))
        return Group(*lines)


def _figures(progress: Progress) -> list[str]:
    """Rows, rate and the time that is left, as far as they are known."""
    if progress.phase == "staging":
        return [f"{amount(progress.done)} rows"] if progress.done else []
    if progress.phase != "sending" or progress.total is None:
        return []
    figures = [f"{amount(progress.done)}/{amount(progress.total)}"]
    if progress.rate > 0:
        figures.append(f"{amount(progress.rate) if progress.rate >= 1 else f'{progress.rate:.1f}'} rows/s")
        figures.append(f"{_clock_time((progress.total - progress.done) / progress.rate)} left")
    return figures


def _clock_time(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}"


def _note(progress: Progress) -> str | None:
    """Why the run is not quicker, where something holds it."""
    if progress.note is not None:
        return progress.note
    if not progress.throttled:
        return None
    if progress.limit_rate is None:
        return "the service limits the rate; keeping below it"
    return f"the service limits the rate; keeping to {progress.limit_rate:.3g} requests/s"


class _AboveBar(io.TextIOBase):
    """A stream for the log whose lines appear above the bar, whole."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def isatty(self) -> bool:
        """It ends on a terminal, so the log may use colours."""
        return self._console.is_terminal

    def writable(self) -> bool:
        """It only writes."""
        return True

    def write(self, text: str) -> int:
        """Print whole lines; the log writes nothing else."""
        from rich.text import Text  # noqa: PLC0415 - slow to import

        if line := text.rstrip("\n"):
            self._console.print(Text.from_ansi(line), soft_wrap=True)
        return len(text)
