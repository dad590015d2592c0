"""The progress bar, on stderr, where that is a terminal."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, Final, Self, cast

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from worker.cli.page import OUTCOME_STYLES
from worker.cli.progress import figures, note_of, phase_of
from worker.cli.words import amount
from worker.logs import escape_controls
from worker.models import Outcome

if TYPE_CHECKING:
    from typing import TextIO

    from worker.control import Progress

__all__ = ["Bar"]

_REFRESHES_PER_SECOND: Final = 5
_BAR_WIDTH: Final = 28


class Bar:
    """A bar that redraws itself in a thread of its own, so that a slow terminal does not slow the run."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False, markup=False, emoji=False)
        self.stream = cast("TextIO", _AboveBar(self._console))
        self._latest: Progress | None = None
        self._live: Live | None = None

    def __enter__(self) -> Self:
        """Show the bar."""
        self._show()
        return self

    def __exit__(self, *_: object) -> None:
        """Wipe it."""
        self._wipe()

    def __call__(self, progress: Progress) -> None:
        """Keep it for the next redrawing; while somebody is asked, the terminal is theirs."""
        self._latest = progress
        if progress.phase == "confirming":
            self._wipe()
        elif self._live is None:
            self._show()

    def _show(self) -> None:
        # A new one each time: one that was stopped would draw over what was printed since.
        self._live = Live(
            console=self._console,
            get_renderable=self._draw,
            refresh_per_second=_REFRESHES_PER_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def _wipe(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def say(self, text: str) -> None:
        """Print above the bar."""
        self._console.print(text, soft_wrap=True)

    def leave(self) -> None:
        """Give the cursor back. Nothing of rich's: its locks may be held by whatever was interrupted."""
        with contextlib.suppress(OSError):
            os.write(sys.stderr.fileno(), b"\x1b[?25h\r\n")

    def _draw(self) -> Group:
        progress = self._latest
        if progress is None:
            return Group()
        first = Table.grid(padding=(0, 2))
        parts: list[Text | ProgressBar] = [Text(phase_of(progress), style="bold")]
        if progress.phase == "sending" and progress.total:
            parts.append(ProgressBar(total=progress.total, completed=progress.done, width=_BAR_WIDTH))
        parts += [Text(part) for part in figures(progress)]
        first.add_row(*parts)
        lines: list[Table | Text] = [first]
        counts = Text("  ", no_wrap=True, overflow="ellipsis")
        for outcome in Outcome:
            if count := progress.outcomes.get(outcome, 0):
                counts.append(f"{outcome.value} {amount(count)}  ", style=OUTCOME_STYLES.get(outcome, ""))
        if progress.phase == "sending":
            counts.append(f"{amount(progress.in_flight)} in flight", style="dim")
            lines.append(counts)
        note = note_of(progress)
        if note is not None:
            lines.append(Text(f"  {escape_controls(note)}", style="yellow", no_wrap=True, overflow="ellipsis"))
        return Group(*lines)


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
        if line := text.rstrip("\n"):
            self._console.print(Text.from_ansi(line), soft_wrap=True)
        return len(text)
