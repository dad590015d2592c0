"""Who is told of an execution besides its user: metrics and spans while it works, notifications when it has ended.

One `with telling(...)` around the execution, whatever the command: it gives the observers, and is given the report.
What was asked for is checked before the block begins, so before anything is sent. What goes wrong later is a warning
and changes nothing in how the command ends.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections import Counter
from typing import TYPE_CHECKING, Final, Self

from worker.cli.failures import exit_of
from worker.cli.message import Message, of_ended, of_error
from worker.ledger.queries import NOWHERE
from worker.logs import get_logger, mask_secrets
from worker.masking import mask_in
from worker.report import RunReport

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from worker.cli.message import Ended
    from worker.cli.notifier import Notifier
    from worker.config import Settings, Telling
    from worker.control import Progress
    from worker.metrics import Metrics
    from worker.models import Outcome
    from worker.ports import AttemptObserver
    from worker.tracing import Tracing

__all__ = ["Audience", "telling"]

_SPAN_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_FINISHED: Final = (0, 1)
"""Exit codes of runs whose rows are all settled."""


@contextlib.contextmanager
def telling(settings: Settings, name: str, subject: str) -> Iterator[Audience]:
    """Tell whoever the settings name of what happens in the block.

    Args:
        settings: of the command.
        name: of the run, in metrics and spans.
        subject: what is done, for a notification of a run that never was: `the run of jobs.csv`.

    Raises:
        UsageError: an extra is missing, or a URL, a port or a file cannot be used.
    """
    told, secrets = settings.telling, settings.secret_values()
    notifier = _open_notifier(told)
    try:
        with contextlib.ExitStack() as stack:
            audience = stack.enter_context(Audience(name, _open_metrics(told, name, stack), _open_tracing()))
            yield audience
    except BaseException as error:
        code, reason = exit_of(error)
        _notify(notifier, told, of_error(subject, reason, code), secrets)
        raise
    if audience.report is not None:
        _notify(notifier, told, of_ended(audience.report, subject), secrets)


class Audience:
    """Whoever listens to one execution, within a `with` block."""

    def __init__(self, name: str, metrics: Metrics | None, tracing: Tracing | None) -> None:
        self._name = name
        self._metrics = metrics
        self._tracing = tracing
        self.report: Ended | None = None
        """To be set when there is one."""

    @property
    def observers(self) -> tuple[AttemptObserver, ...]:
        """To be told of every call, and of every commit."""
        return tuple(observer for observer in (self._metrics, self._tracing) if observer is not None)

    def watch(self, progress: Progress) -> None:
        """Take note of how far the run is."""
        if self._metrics is not None:
            self._metrics.look(
                state=progress.phase,
                rows=progress.workspaces or ({None: progress.outcomes} if progress.outcomes else None),
                in_flight=progress.in_flight,
                rows_per_second=progress.rate,
                limit=progress.limit_rate,
            )

    def __enter__(self) -> Self:
        """Nothing was told yet."""
        return self

    def __exit__(
        self, _type: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Tell the end of it."""
        report = self.report
        code = exit_of(error)[0] if error is not None else report.exit_code if report is not None else 0
        if self._metrics is not None:
            state = "failed" if error is not None else "finished" if code in _FINISHED else "stopped"
            run = report if isinstance(report, RunReport) else None
            rows, pace = (None, None) if run is None else (_rows_of(run), run.rows_per_second)
            self._metrics.end(code, state=state, rows=rows, rows_per_second=pace or 0.0)
        if self._tracing is not None:
            self._tracing.end(_attributes_of(self._name, report, code), failed=code not in _FINISHED)
            if lost := self._tracing.close():
                get_logger().warning(f"{lost} spans could not be exported; the run is not affected")


def _open_notifier(told: Telling) -> Notifier | None:
    if not told.notify:
        return None
    from worker.cli.notifier import Notifier  # noqa: PLC0415 - few need it

    return Notifier(told.notify)


def _open_metrics(told: Telling, name: str, stack: contextlib.ExitStack) -> Metrics | None:
    if told.metrics_port is None and told.metrics_file is None:
        return None
    from worker.cli.exposing import kept_in_file, served  # noqa: PLC0415 - few need it
    from worker.metrics import Metrics, read_last_success  # noqa: PLC0415 - likewise

    file = told.metrics_file
    metrics = Metrics(name, last_success=None if file is None else read_last_success(file))
    if told.metrics_port is not None:
        stack.enter_context(served(metrics.registry, told.metrics_port))
    if file is not None:
        stack.enter_context(kept_in_file(metrics.registry, file))
    return metrics


def _open_tracing() -> Tracing | None:
    """The spans, where OpenTelemetry's variables ask for them and its packages are there."""
    wanted = any(os.environ.get(variable) for variable in _SPAN_ENDPOINTS)
    if not wanted or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    try:
        from worker.tracing import Tracing  # noqa: PLC0415 - optional
    except ImportError:
        get_logger().info("OpenTelemetry's variables name an endpoint; spans need the extra otel")
        return None
    # A collector that is away is one warning at the end, not one for each try.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL + 1)
    return Tracing("assign-worker")


def _notify(notifier: Notifier | None, told: Telling, message: Message, secrets: tuple[str, ...]) -> None:
    if notifier is None or (told.notify_on == "failure" and message.exit_code == 0):
        return
    # The title is all ours but for a file's name, which may look like a key and be none.
    title, body = mask_in(message.title, secrets) or "", mask_secrets(message.body, secrets)
    notifier.send(Message(title, body, message.exit_code))


def _rows_of(report: RunReport) -> Mapping[str | None, Mapping[Outcome, int]]:
    """The report's rows by workspace, those of no workspace too."""
    if not report.workspaces:
        return {None: report.outcomes}
    rows: dict[str | None, Mapping[Outcome, int]] = {place.workspace_id: place.outcomes for place in report.workspaces}
    rest = Counter(report.outcomes)
    for outcomes in rows.values():
        rest.subtract(outcomes)
    if +rest:
        rows[NOWHERE] = +rest
    return rows


def _attributes_of(name: str, report: Ended | None, exit_code: int) -> dict[str, str | int]:
    """What the run's span says of it."""
    attributes: dict[str, str | int] = {"assign_worker.name": name, "assign_worker.exit_code": exit_code}
    if isinstance(report, RunReport):
        attributes |= {"assign_worker.run_id": report.run_id, "assign_worker.rows": report.rows}
        attributes |= {f"assign_worker.rows.{outcome.value}": rows for outcome, rows in report.outcomes.items()}
    return attributes
