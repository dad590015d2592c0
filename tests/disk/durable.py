"""What the ledger reported as durable, told at the moment of the report and compared later."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.ledger.writing import ShardWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from worker.claim import Batch

__all__ = ["Durable", "missing", "report_durable"]


@dataclass
class Durable:
    """The sum of all reports."""

    outcomes: dict[int, str] = field(default_factory=dict)
    """By row."""
    mark: int = 0

    @classmethod
    def of(cls, reports: Iterable[str]) -> Durable:
        """Add them up."""
        durable = cls()
        for report in reports:
            told = json.loads(report)
            durable.outcomes |= {int(row): outcome for row, outcome in told["outcomes"].items()}
            durable.mark = max(durable.mark, told["mark"])
        return durable


def report_durable(tell: Callable[[str], object]) -> None:
    """Have every commit of this process told once it has returned: what a run goes on by from then on."""
    write = ShardWriter.write

    def told(self: ShardWriter, batch: Batch) -> None:
        write(self, batch)
        outcomes = {result.row: result.outcome.value for result in batch.results}
        tell(json.dumps({"outcomes": outcomes, "mark": max(batch.marks.values(), default=0)}))

    ShardWriter.write = told  # type: ignore[method-assign] # in a forked child, which ends soon


def missing(ledger: Path, durable: Durable) -> list[str]:
    """What was reported and is not in the ledger, or what else is wrong with it."""
    with closing(sqlite3.connect(ledger)) as connection:
        (sound,) = connection.execute("PRAGMA integrity_check").fetchone()
        held = dict(connection.execute("SELECT row, outcome FROM results").fetchall())
        (mark,) = connection.execute("SELECT coalesce(max(dispatched_through), 0) FROM shards").fetchone()
    problems = [] if sound == "ok" else [f"the database is not sound: {sound}"]
    problems += [
        f"row {row} was reported {outcome}, and is {held.get(row)}"
        for row, outcome in durable.outcomes.items()
        if held.get(row) != outcome
    ]
    if mark < durable.mark:
        problems.append(f"rows through {durable.mark} were allowed, and the mark is {mark}")
    return problems
