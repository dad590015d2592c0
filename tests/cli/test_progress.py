"""What a run says while it works: the bar, and the lines where there is no terminal."""

from __future__ import annotations

import io
import json
import sys

import pytest
from rich.console import Console

from worker.cli.bar import Bar
from worker.cli.execution import choose_teller
from worker.cli.progress import Lines
from worker.config import Logging
from worker.control import Progress
from worker.logs import configure_logging, get_logger
from worker.models import Outcome

SENDING = Progress(
    "sending", 100_000, 12_345, {Outcome.ASSIGNED: 12_000, Outcome.FAILED: 345}, in_flight=220, rate=1234.5
)


def drawn(progress: Progress) -> str:
    """The bar, as a terminal of 100 columns would show it last."""
    console = Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)
    bar = Bar(console)
    bar(progress)
    with console.capture() as capture:
        console.print(bar._draw())
    return capture.get()


def test_the_bar_tells_rows_rate_time_left_and_outcomes() -> None:
    """Everything that an operator asks while it runs."""
    text = drawn(SENDING)
    for part in ("sending", "12 345/100 000", "1 234 rows/s", "0:01:11 left", "assigned 12 000", "failed 345"):
        assert part in text
    assert "220 in flight" in text
    assert "limits" not in text


def test_the_bar_says_why_it_is_slow() -> None:
    """A note while the service limits the rate, or does not answer."""
    limited = Progress("sending", 10, 1, throttled=True, limit_rate=498.76)
    assert "keeping to 499 requests/s" in drawn(limited)
    assert "keeping below it" in drawn(Progress("sending", 10, 1, throttled=True))
    assert "the service is down" in drawn(Progress("sending", 10, 1, throttled=True, note="the service is down"))


def test_the_bar_counts_rows_while_it_reads() -> None:
    """The total is not known yet."""
    assert "reading the input  1 000 rows" in drawn(Progress("staging", None, 1000))


def test_a_note_cannot_drive_the_terminal() -> None:
    """What the service said is shown as text."""
    assert "\x1b]0;" not in drawn(Progress("sending", 10, 1, note="down \x1b]0;title\x07"))


def test_log_lines_appear_above_the_bar() -> None:
    """While the bar stands, the log goes through its console, line by line."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=60, color_system=None)
    with Bar(console) as bar:
        bar(SENDING)
        configure_logging("json", "info", stream=bar.stream)
        get_logger().info("attempt", row=7, note="x" * 100)
    lines = [line for line in file.getvalue().replace("\r", "\n").split("\n") if "attempt" in line]
    assert json.loads(lines[0][lines[0].index("{") :])["row"] == 7


def test_lines_come_every_thirty_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal: one line at info in 30 s, with the same figures."""
    times = [0.0]
    configure_logging("json", "info")
    lines = Lines(lambda: times[-1])
    for now in (0.0, 29.0, 30.5, 31.0, 59.0, 61.0):
        times.append(now)
        lines(SENDING)
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert len(told) == 2
    assert told[0]["level"] == "info"
    assert told[0]["done"] == 12_345
    assert told[0]["outcomes"] == {"assigned": 12_000, "failed": 345}


@pytest.mark.parametrize(
    ("terminal", "logging", "bar"),
    [
        (True, Logging(), True),
        (False, Logging(), False),
        (True, Logging(quiet=True), False),
        (True, Logging(progress=False), False),
    ],
)
def test_the_bar_is_for_terminals(
    monkeypatch: pytest.MonkeyPatch, *, terminal: bool, logging: Logging, bar: bool
) -> None:
    """And only where nobody turned it off."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(choose_teller(logging), Bar) is bar


def test_a_dumb_terminal_has_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """It could not redraw a line."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(choose_teller(Logging()), Lines)
