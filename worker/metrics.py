"""A run as Prometheus metrics: an observer of attempts and commits, and what the run says of itself.

All names begin with `assign_worker_` and stand in one registry per object; nothing is global. Every sample carries
the run's `name`, so that the files of several jobs can lie in one folder of a textfile collector. A figure that is
not known yet is absent.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from worker.models import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from worker.models import Attempt, Call, Verdict

__all__ = ["OTHER", "OWN", "STATES", "Metrics", "read_last_success"]

STATES: Final = (
    *("starting", "staging", "connecting", "reading", "confirming", "sending", "exporting"),
    *("finished", "stopped", "failed"),
)
"""What a run is doing, or how it ended: all rows settled, stopped before that, or ended by an error."""
MOST_WORKSPACES: Final = 100
"""Workspaces with a label of their own, the first ones that come; the rows of all others are counted together."""
OTHER: Final = "other"
OWN: Final = "default"
"""The workspace of rows that name none."""
LAST_SUCCESS: Final = "assign_worker_last_success_timestamp_seconds"

_CALL_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_COMMIT_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


@dataclass(frozen=True)
class _Standing:
    """How the run stands at a moment; replaced as a whole, since other threads read it."""

    state: str = "starting"
    rows: Mapping[str | None, Mapping[Outcome, int]] = field(default_factory=dict)
    in_flight: int = 0
    rows_per_second: float = 0.0
    limit: float | None = None
    exit_code: int | None = None


class Metrics:
    """The metrics of one run; give it to the run among its observers.

    Args:
        name: what the run is compared by, a label of every sample.
        last_success: Unix time of the last run that ended with exit code 0, where it is known.
    """

    def __init__(self, name: str, *, last_success: float | None = None) -> None:
        self.name = name
        self._standing = _Standing()
        self._workspaces: dict[str, str] = {}
        self._calls: dict[tuple[Call, Verdict], Counter] = {}
        self._durations: dict[Call, Histogram] = {}
        plain = CollectorRegistry()
        self._rows = Gauge(
            "assign_worker_rows", "Rows of the run by their outcome.", ("workspace", "outcome"), registry=plain
        )
        self._attempts = Counter(
            "assign_worker_attempts",
            "HTTP calls by what they proved; `limited` is 429.",
            ("route", "verdict"),
            registry=plain,
        )
        self._seconds = Histogram(
            "assign_worker_attempt_duration_seconds",
            "Time from a call to the end of its reply.",
            ("route",),
            registry=plain,
            buckets=_CALL_SECONDS,
        )
        self._in_flight = Gauge("assign_worker_requests_in_flight", "Requests on their way.", registry=plain)
        self._rate = Gauge(
            "assign_worker_rows_per_second",
            "Rows settled a second: over the last seconds; after the end, over the run.",
            registry=plain,
        )
        self._limit = Gauge(
            "assign_worker_limit_requests_per_second",
            "Requests a second that the service was found to take; absent while no limit was met.",
            registry=plain,
        )
        self._commits = Histogram(
            "assign_worker_ledger_commit_duration_seconds",
            "Time of a group commit to the ledger.",
            registry=plain,
            buckets=_COMMIT_SECONDS,
        )
        self._state = Gauge("assign_worker_run_state", "1 for what the run is doing.", ("state",), registry=plain)
        self._exit_code = Gauge("assign_worker_exit_code", "Of the run; absent while it works.", registry=plain)
        self._last_success = Gauge(LAST_SUCCESS, "When a run last ended with exit code 0.", registry=plain)
        self._last_success.set(math.nan if last_success is None else last_success)
        self.registry = CollectorRegistry()
        """What is served or written."""
        self.registry.register(_Named(self, plain))

    def __call__(self, _run_id: str, _row: int | None, _number: int, attempt: Attempt) -> None:
        """`AttemptObserver`: count a call."""
        call, verdict = attempt.call, attempt.verdict
        counter = self._calls.get((call, verdict))
        if counter is None:
            counter = self._calls[call, verdict] = self._attempts.labels(call.value, verdict.value)
            self._durations[call] = self._seconds.labels(call.value)
        counter.inc()
        self._durations[call].observe(attempt.duration)

    def committed(self, seconds: float) -> None:
        """`CommitObserver`: a commit took so long."""
        self._commits.observe(seconds)

    def look(
        self,
        *,
        state: str,
        rows: Mapping[str | None, Mapping[Outcome, int]] | None,
        in_flight: int,
        rows_per_second: float,
        limit: float | None,
    ) -> None:
        """Take note of how far the run is; costs next to nothing.

        Args:
            state: one of `STATES`.
            rows: workspace (None: that of the API key) -> rows by outcome; None: as last told.
            in_flight: requests on their way.
            rows_per_second: over the last seconds.
            limit: requests a second that the service was found to take.
        """
        rows = self._standing.rows if rows is None else rows
        self._standing = _Standing(state, rows, in_flight, rows_per_second, limit)

    def end(
        self,
        exit_code: int,
        *,
        state: str,
        rows: Mapping[str | None, Mapping[Outcome, int]] | None,
        rows_per_second: float,
    ) -> None:
        """Take note of the end; arguments as for `look`, with the rate over the whole run."""
        self.look(state=state, rows=rows, in_flight=0, rows_per_second=rows_per_second, limit=self._standing.limit)
        self._standing = replace(self._standing, exit_code=exit_code)
        if exit_code == 0:
            self._last_success.set(time.time())

    def refresh(self) -> None:
        """Bring the gauges up to the present standing."""
        now = self._standing
        for state in STATES:
            self._state.labels(state).set(state == now.state)
        self._rows.clear()  # a run may learn later that its rows are of several workspaces
        sums: dict[tuple[str, Outcome], int] = {}
        for workspace, outcomes in now.rows.items():
            label = self._label(OWN if workspace is None else workspace)
            for outcome in Outcome:
                sums[label, outcome] = sums.get((label, outcome), 0) + outcomes.get(outcome, 0)
        for (label, outcome), rows in sums.items():
            self._rows.labels(label, outcome.value).set(rows)
        self._in_flight.set(now.in_flight)
        self._rate.set(now.rows_per_second)
        self._limit.set(math.nan if now.limit is None else now.limit)
        self._exit_code.set(math.nan if now.exit_code is None else now.exit_code)

    def _label(self, workspace: str) -> str:
        if workspace not in self._workspaces:
            if len(self._workspaces) >= MOST_WORKSPACES:
                return OTHER
            self._workspaces[workspace] = workspace
        return self._workspaces[workspace]


class _Named(Collector):
    """The families of a registry, each sample with the run's name; without what is unknown or of no use."""

    def __init__(self, metrics: Metrics, plain: CollectorRegistry) -> None:
        self._metrics = metrics
        self._plain = plain
        self._lock = threading.Lock()

    def collect(self) -> Iterable[Metric]:
        """The metrics of now."""
        with self._lock:  # the port and the file may ask at once
            self._metrics.refresh()
            families = list(self._plain.collect())
        name = {"name": self._metrics.name}
        for family in families:
            named = Metric(family.name, family.documentation, family.type, family.unit)
            named.samples = [
                sample._replace(labels={**name, **sample.labels})
                for sample in family.samples
                if not math.isnan(sample.value) and not sample.name.endswith("_created")
            ]
            yield named

    def describe(self) -> Iterator[Metric]:
        """The names, for the registry."""
        return iter(self._plain.collect())


def read_last_success(path: Path) -> float | None:
    """The last success that an earlier run left in its file of metrics; None where there is none to be read."""
    try:
        text = path.read_text(encoding="utf-8")
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == LAST_SUCCESS:
                    return sample.value
    except (OSError, ValueError):
        return None
    return None
