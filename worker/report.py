"""What a run came to: counts, failures with an example each, latencies, how to go on, and the exit code."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from worker.advice import next_steps
from worker.guards import NEEDS_A_FLAG
from worker.history import Comparison, compare
from worker.ledger.chains import chain_before, chain_of
from worker.ledger.plans import count_drift
from worker.ledger.queries import count_replaced, fetch_examples, fetch_workspaces, group_rows, stream_latencies
from worker.models import NOT_WELL, Outcome, Stop, StopCause

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Engine

    from worker.ledger.chains import Chain
    from worker.ledger.queries import Group
    from worker.ledger.runs import Run, RunState

__all__ = ["Failure", "Latency", "RunReport", "WorkspaceCounts", "build_report", "exit_code_of"]

MOST_FAILURES: Final = 50
"""Kinds of failure in a report, the most frequent ones; the service may invent any number of them."""
_EXIT_OF_SIGNAL: Final = {StopCause.SIGINT: 130, StopCause.SIGTERM: 143}
_EXIT_HELD: Final = 4
_EXIT_STOPPED: Final = 3
_EXIT_NOT_WELL: Final = 1


@dataclass(frozen=True)
class Failure:
    """Rows that ended alike, and one of them."""

    outcome: Outcome
    error_type: str | None
    """Seam's, or a word of ours for what the network did; None where nothing was sent."""
    rows: int
    example_row: int
    message: str | None
    """Of the example: what the service said, else `detail`."""
    detail: str | None
    """Of the example: what to do."""
    retryable: bool | None = None
    """None where nothing was sent."""


@dataclass(frozen=True)
class Latency:
    """Milliseconds from the first send of a row to its result, retries and waiting included."""

    p50: int
    p90: int
    p99: int
    max: int


@dataclass(frozen=True)
class WorkspaceCounts:
    """The rows of one workspace."""

    workspace_id: str | None
    """None: the API key's own; rows that were rejected when read are in no workspace."""
    outcomes: Mapping[Outcome, int]


@dataclass(frozen=True)
class RunReport:
    """One run with its retries, as its ledger has them now: the last word on each row counts."""

    run_id: str
    name: str
    state: RunState
    """`open` too while a retry is unfinished."""
    rows: int
    outcomes: Mapping[Outcome, int]
    """Rows by outcome, those with none left out."""
    warnings: Mapping[str, int]
    """Rows by warning code, the most frequent first."""
    failures: tuple[Failure, ...]
    """The most frequent first, at most `MOST_FAILURES`."""
    latency: Latency | None
    """None where nothing was sent."""
    attempts: int
    """Assign calls, over all executions."""
    retried_rows: int
    """Rows sent more than once, by the run or by its retries."""
    sending_seconds: float
    """Over all executions."""
    rows_per_second: float | None
    """Rows sent, by `sending_seconds`; None where nothing was sent."""
    workspaces: tuple[WorkspaceCounts, ...]
    """Empty where the run has but one."""
    stops: tuple[Stop, ...]
    """Why it ended early, where it did."""
    ledger: str
    results: str | None
    exit_code: int
    next_steps: tuple[str, ...] = ()
    """What to do now, a sentence or command each; empty where nothing is to do."""
    notes: tuple[str, ...] = field(default=())
    """What is special about this run, a sentence each."""
    rehearsal: bool = False
    retries: tuple[str, ...] = ()
    """Ids of the retries of this run, the earliest first."""
    since: Comparison | None = None
    """Against the run before of the same name; None where there is none, or this one is unfinished."""
    drifted: int | None = None
    """Of a sync: rows that were right after the last run of this name, and not when their owners were read."""

    def as_dict(self) -> dict[str, Any]:
        """The report for `--json`: names as above, every outcome present, enums as their words."""
        report = asdict(self)
        report["outcomes"] = {outcome.value: self.outcomes.get(outcome, 0) for outcome in Outcome}
        report["failures"] = [asdict(failure) | {"outcome": failure.outcome.value} for failure in self.failures]
        report["workspaces"] = [
            {
                "workspace_id": workspace.workspace_id,
                "outcomes": {outcome.value: workspace.outcomes.get(outcome, 0) for outcome in Outcome},
            }
            for workspace in self.workspaces
        ]
        report["stops"] = [stop.as_dict() for stop in self.stops]
        return report


def exit_code_of(
    outcomes: Mapping[Outcome, int], causes: Iterable[StopCause], *, finished: bool = True, held: bool = False
) -> int:
    """The exit code of DESIGN 3; where several hold: 130 or 143, then 4, 3, 1.

    Args:
        outcomes: rows by outcome.
        causes: why the run, or a workspace of it, stopped early.
        finished: every row has its result.
        held: another process holds the run.
    """
    causes = tuple(causes)
    for cause in causes:
        if cause in _EXIT_OF_SIGNAL:
            return _EXIT_OF_SIGNAL[cause]
    if held:
        return _EXIT_HELD
    if causes or not finished or outcomes.get(Outcome.PENDING):
        return _EXIT_STOPPED
    return _EXIT_NOT_WELL if any(outcomes.get(outcome) for outcome in NOT_WELL) else 0


_Kind = tuple[Outcome, str | None, bool | None]
"""Outcome, error type, retryable: rows that share them ended alike. A file that wants a credential for two people and
a takeover that was refused are both conflicts, and two kinds."""


class _Sums:
    """Groups of rows, added up."""

    def __init__(self, groups: Iterable[Group]) -> None:
        self.outcomes: Counter[Outcome] = Counter()
        self.warnings: Counter[str] = Counter()
        self.failures: Counter[_Kind] = Counter()
        self.examples: dict[_Kind, int] = {}
        self.by_shard: dict[int, Counter[Outcome]] = {}
        self.attempts = self.sent = self.retried = self.retryable = 0
        for group in groups:
            self._add(group)

    def _add(self, group: Group) -> None:
        self.outcomes[group.outcome] += group.rows
        for code in group.warning_codes.split(";") if group.warning_codes else ():
            self.warnings[code] += group.rows
        if group.outcome in NOT_WELL:
            kind = (group.outcome, group.error_type, group.retryable)
            self.failures[kind] += group.rows
            self.examples[kind] = min(group.first_row, self.examples.get(kind, group.first_row))
        if group.shard is not None:
            self.by_shard.setdefault(group.shard, Counter())[group.outcome] += group.rows
        self.attempts += group.attempts * group.rows
        self.sent += group.rows if group.attempts else 0
        self.retried += group.rows if group.attempts > 1 else 0
        if group.outcome is Outcome.IN_DOUBT or (group.outcome is Outcome.FAILED and group.retryable):
            self.retryable += group.rows


def build_report(  # noqa: PLR0913 - what the ledger does not know
    engine: Engine,
    run: Run,
    *,
    ledger: str,
    results: str | None = None,
    stops: Sequence[Stop] = (),
    at_work: str | None = None,
    note: str | None = None,
    rehearsal: bool = False,
    command: Sequence[str] = (),
) -> RunReport:
    """Add a run and its retries up, in two scans of the rows, and compare it with the run before.

    Args:
        engine: the ledger.
        run: any of them, in whatever state.
        ledger: where it is, for people.
        results: where its rows were exported to.
        stops: why this execution ended early; without any, an open run tells its last stop.
        at_work: which other process sends the run just now.
        note: a sentence to say on top.
        rehearsal: nothing went to Seam.
        command: argv that started the run, to be told as the way to go on.
    """
    chain = chain_of(engine, run.run_no)
    root, last = chain.root, chain.last
    before = chain_before(engine, root)
    sums = _Sums(group_rows(engine, chain))
    replaced = count_replaced(engine, chain)
    seconds = sum(each.sending_seconds for each in chain.runs)
    sent = sums.sent + replaced.sent
    finished, held = last.state != "open", at_work is not None
    if not stops and not finished and last.stop_cause is not None:
        stops = (Stop(StopCause(last.stop_cause), last.stop_message or ""),)
    given: Sequence[str] | None = command if run.run_no == last.run_no else ()
    if any(stop.cause in NEEDS_A_FLAG for stop in stops):
        given = None
    return RunReport(
        run_id=root.id,
        name=root.name,
        state=root.state if finished else last.state,
        rows=sums.outcomes.total(),
        outcomes=sums.outcomes,
        warnings=dict(sums.warnings.most_common()),
        failures=_failures(engine, chain, sums),
        latency=_latency(stream_latencies(engine, chain)),
        attempts=sums.attempts + replaced.attempts,
        retried_rows=sums.retried + replaced.again,
        sending_seconds=round(seconds, 3),
        rows_per_second=round(sent / seconds, 1) if sent and seconds else None,
        workspaces=_workspaces(engine, root.run_no, sums) if len(sums.by_shard) > 1 else (),
        stops=tuple(stops),
        ledger=ledger,
        results=results,
        exit_code=exit_code_of(sums.outcomes, (stop.cause for stop in stops), finished=finished, held=held),
        next_steps=()
        if held
        else tuple(
            next_steps(
                chain,
                sums.outcomes,
                sums.retryable,
                command=given,
                ledger=ledger,
                results=results,
                rehearsal=rehearsal,
            )
        ),
        notes=tuple(filter(None, (note, at_work and f"{at_work}, is at work on it; rows in doubt are on their way"))),
        rehearsal=rehearsal,
        retries=tuple(retry.id for retry in chain.retries),
        since=compare(engine, before, chain),
        drifted=count_drift(engine, root.run_no, [] if before is None else before.numbers)[0] if root.is_sync else None,
    )


def _failures(engine: Engine, chain: Chain, sums: _Sums) -> tuple[Failure, ...]:
    kinds = sums.failures.most_common(MOST_FAILURES)
    told = fetch_examples(engine, chain, [sums.examples[kind] for kind, _ in kinds])
    return tuple(
        Failure(outcome, error_type, rows, row, message or detail, detail, retryable)
        for (outcome, error_type, retryable), rows in kinds
        for row in (sums.examples[outcome, error_type, retryable],)
        for message, detail in (told[row],)
    )


def _workspaces(engine: Engine, run_no: int, sums: _Sums) -> tuple[WorkspaceCounts, ...]:
    names = fetch_workspaces(engine, run_no)
    return tuple(WorkspaceCounts(names[shard], dict(counts)) for shard, counts in sorted(sums.by_shard.items()))


def _latency(histogram: Iterable[tuple[int, int]]) -> Latency | None:
    """Percentiles by nearest rank, from (milliseconds, rows) in ascending order."""
    values, counts = array("q"), array("q")
    for milliseconds, rows in histogram:
        values.append(milliseconds)
        counts.append(rows)
    if not values:
        return None
    reached = array("q", accumulate(counts))
    p50, p90, p99 = (values[bisect_left(reached, reached[-1] * share / 100)] for share in (50, 90, 99))
    return Latency(p50, p90, p99, values[-1])
