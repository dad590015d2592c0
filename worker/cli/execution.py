"""One execution from the command line, of whatever sends: event loop, signals, progress, rehearsal."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol, TypeVar

import click

from worker.cli.failures import Invocation
from worker.cli.loading import start_logs
from worker.cli.progress import Lines
from worker.cli.rehearsal import Rehearsal
from worker.cli.signals import Signals
from worker.cli.stdout import print_json
from worker.cli.telling import telling
from worker.config import Settings, hide_notify_url, hide_password
from worker.control import Control
from worker.guards import doubt_codes
from worker.logs import LogAttempts, get_logger
from worker.paths import spare_for_metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from pathlib import Path

    from worker.cli.message import Ended
    from worker.cli.progress import Teller
    from worker.cli.telling import Audience
    from worker.config import Logging
    from worker.control import Progress
    from worker.models import StopCause
    from worker.ports import AttemptObserver

__all__ = ["Call", "choose_teller", "conclude", "execute", "loop_factory"]

_Report_co = TypeVar("_Report_co", bound="Ended", covariant=True)
_Report = TypeVar("_Report", bound="Ended")


class _Told(Protocol):
    """What a command comes to."""

    @property
    def exit_code(self) -> int:
        """Of the command."""
        ...

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        ...


_ToldT = TypeVar("_ToldT", bound=_Told)

_ONCE: Final = frozenset({"--again", "--recover"})
"""Flags that begin something: the command that goes on leaves them out, or it would begin anew."""


class Call(Protocol[_Report_co]):
    """What is executed: `run_batch` and its like, bound to all but what they have in common."""

    def __call__(
        self,
        settings: Settings,
        /,
        *,
        control: Control,
        watch: Callable[[Progress], None],
        observers: tuple[AttemptObserver, ...],
        command: Sequence[str],
    ) -> Coroutine[Any, Any, _Report_co]:
        """Do it; the arguments are those of `run_batch`."""


def execute(  # noqa: PLR0913 - keywords, each of them optional
    settings: Settings,
    call: Call[_Report],
    *,
    source: Path | None = None,
    name: str | None = None,
    simulate: bool = False,
    is_told: bool = True,
) -> _Report:
    """Do one call to its end, or to the first signal, and tell whoever is to be told.

    Args:
        settings: of this call; in a rehearsal, its target is replaced.
        call: for example `partial(run_batch, source, again=again)`.
        source: the input, where it has one.
        name: what it is called in metrics, spans and notifications, unless `--name` says; None: as the command is.
        simulate: rehearse against a look-alike that lives as long as the call.
        is_told: False where the user alone is told: nothing is changed, or it is told otherwise.
    """
    context = click.get_current_context()
    spare_for_metrics(settings if is_told else Settings(), source)
    name, subject = settings.output.name or name or context.info_name or "", context.ensure_object(Invocation).subject
    gc.freeze()  # what was imported stays: not to be looked through again and again while rows come and go
    with choose_teller(settings.logging) as teller, asyncio.Runner(loop_factory=loop_factory()) as runner:
        start_logs(settings, stream=teller.stream)
        for sentence in doubt_codes(settings.guards.fail_on_warning):
            get_logger().warning(sentence)
        with telling(settings if is_told else Settings(), name, subject) as audience:
            report = audience.report = runner.run(_run(settings, call, teller, audience, simulate=simulate))
        return report


def conclude(report: _ToldT, show: Callable[[_ToldT], None], *, as_json: bool) -> NoReturn:
    """Tell what a command came to, as JSON or as `show` writes it for people, and end it with its exit code."""
    if as_json:
        print_json(report.as_dict())
    else:
        show(report)
    raise click.exceptions.Exit(report.exit_code)


def choose_teller(logging: Logging) -> Teller:
    """The bar where stderr is a terminal and nobody turned it off, else lines in the log."""
    wants_bar = logging.progress and not logging.quiet
    if not wants_bar or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        return Lines()
    from worker.cli.bar import Bar  # noqa: PLC0415 - slow to import

    return Bar()


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Uvloop's event loop, where it is installed; None is asyncio's own."""
    try:
        import uvloop  # noqa: PLC0415 - absent on some platforms
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _run(
    settings: Settings, call: Call[_Report], teller: Teller, audience: Audience, *, simulate: bool
) -> _Report:
    control, rehearsal = Control(), Rehearsal()
    latest: Progress | None = None

    def watch(progress: Progress) -> None:
        nonlocal latest
        latest = progress
        teller(progress)
        audience.watch(progress)

    def drain(cause: StopCause) -> None:
        control.stop(cause, f"interrupted by {cause.value.upper()}; the same command goes on from here")
        teller.say(_farewell(latest))

    def leave() -> None:
        rehearsal.kill()
        teller.leave()

    with Signals(asyncio.get_running_loop(), drain, leave):
        try:
            if simulate:
                settings = await rehearsal.start(settings)
            return await call(
                settings,
                control=control,
                watch=watch,
                observers=(LogAttempts(), *audience.observers),
                command=("assign-worker", *(_shown(word, settings) for word in sys.argv[1:] if word not in _ONCE)),
            )
        finally:
            await rehearsal.end()


def _shown(word: str, settings: Settings) -> str:
    """A word of the command line, as it may be repeated."""
    for url in settings.telling.notify:
        word = word.replace(url, hide_notify_url(url))
    return hide_password(word)


def _farewell(progress: Progress | None) -> str:
    """What the first signal is answered with."""
    again = "press Ctrl-C again to leave at once"
    if progress is None or progress.phase != "sending":
        return f"stopping; {again}"
    requests = f"{progress.in_flight} request{'' if progress.in_flight == 1 else 's'}"
    return f"finishing {requests} in flight; {again}"
