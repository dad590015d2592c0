"""`check`: what is wrong with a file of jobs, found without a key and without a ledger (DESIGN 4).

with check_input(Path("jobs.csv"), ReadOptions()) as report:
    print(report.rows, report.sendable)
    for problem in report.problems(limit=20):
        ...
"""

from __future__ import annotations

import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from worker.errors import InterruptedEarlyError
from worker.ledger.mode import PLAIN
from worker.ledger.queries import count_decided, fetch_workspaces, stream_decided
from worker.ledger.runs import RunSpec, create_run
from worker.ledger.scratch import open_scratch
from worker.ledger.staging import stage
from worker.models import InputRow, Outcome
from worker.readers import FIELDS, open_input

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import Engine

    from worker.readers import ReadOptions

__all__ = ["CheckReport", "Problem", "check_input"]

_VERBS: Final = (" is ", " holds ")
"""What follows a column's name at the head of a reader's sentence."""


class Problem(NamedTuple):
    """One row that will not be sent."""

    row: int
    """Data rows count from 1."""
    line: int
    """The physical line on which the row starts, from 1."""
    kind: Outcome
    """`invalid`, `duplicate` or `conflict`."""
    column: str | None
    """The one at fault, by its name in the file; None where it is the row as a whole."""
    sentence: str


@dataclass(frozen=True)
class CheckReport:
    """What `check` found; it can be asked for problems as long as `check_input` is open."""

    rows: int
    sendable: int
    """Rows that would be sent."""
    invalid: int
    duplicate: int
    conflict: int
    workspaces: int
    """Distinct ones; rows that leave it to the API key count as one more."""
    columns: tuple[str, ...] | None
    """Of a CSV file."""
    sha256: str
    _engine: Engine
    _run_no: int
    _names: Sequence[str]
    _credential: str

    @property
    def exit_code(self) -> int:
        """0 if every row can be sent or repeats one that can; else 1."""
        return 1 if self.invalid or self.conflict else 0

    def problems(self, limit: int | None = None) -> Iterator[Problem]:
        """The rows that will not be sent, in input order; read from disk as they are asked for."""
        with closing(stream_decided(self._engine, self._run_no, limit=limit)) as decided:
            for row, line, outcome, detail in decided:
                kind = Outcome(outcome)
                column = self._column_in(detail) if kind is Outcome.INVALID else self._credential
                yield Problem(row, line, kind, column, detail)

    def _column_in(self, sentence: str) -> str | None:
        named = (name for name in self._names if any(sentence.startswith(name + verb) for verb in _VERBS))
        return max(named, key=len, default=None)

    def as_dict(self) -> dict[str, Any]:
        """The counts for `--json`; the problems are the caller's to add."""
        return {
            "rows": self.rows,
            "sendable": self.sendable,
            "invalid": self.invalid,
            "duplicate": self.duplicate,
            "conflict": self.conflict,
            "workspaces": self.workspaces,
            "columns": None if self.columns is None else list(self.columns),
            "sha256": self.sha256,
            "exit_code": self.exit_code,
        }


@contextmanager
def check_input(
    path: Path | None, options: ReadOptions, *, keep_going: Callable[[], bool] = lambda: True
) -> Iterator[CheckReport]:
    """Read a whole file and find every malformed row, duplicate and conflict, in bounded memory.

    Args:
        path: None is standard input.
        options: how it is read.
        keep_going: asked now and then; False ends the check.

    Raises:
        InputError: it cannot be read as jobs at all.
        LedgerError: there is no place for temporary files.
        InterruptedEarlyError: `keep_going` said no.
    """
    now = time.time()
    with open_scratch() as engine:
        with open_input(path, options) as source:
            run = create_run(engine, _spec(source.header), now=now)
            rows = _Rows(source)
            if not stage(engine, run, rows, now=now, keep_going=keep_going):
                raise InterruptedEarlyError("stopped while the input was being read")
            columns, sha256 = source.header, source.sha256
        counts = count_decided(engine, run.run_no)
        fields = tuple(options.column(field) for field in FIELDS)
        yield CheckReport(
            rows=rows.count,
            sendable=rows.count - counts.total(),
            invalid=counts[Outcome.INVALID],
            duplicate=counts[Outcome.DUPLICATE],
            conflict=counts[Outcome.CONFLICT],
            workspaces=len(fetch_workspaces(engine, run.run_no)),
            columns=columns,
            sha256=sha256,
            _engine=engine,
            _run_no=run.run_no,
            _names=(*fields, *(columns or ())),
            _credential=fields[0],
        )


class _Rows:
    """Rows without what stood in the file, which is of no use here and half of what there would be to write."""

    def __init__(self, source: Iterable[InputRow]) -> None:
        self._source = source
        self.count = 0

    def __iter__(self) -> Iterator[InputRow]:
        for parsed, _ in self._source:
            self.count += 1
            yield InputRow(parsed, "")


def _spec(header: tuple[str, ...] | None) -> RunSpec:
    """A run that nobody will ask for again."""
    return RunSpec(
        name="check",
        input_name="check",
        input_format="jsonl" if header is None else "csv",
        header=header,
        parse_options="{}",
        mode=PLAIN,
        endpoint="",
        workspace_id=None,
        settings="{}",
    )
