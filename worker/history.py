"""What a run brought against the one before of the same name: new, gone, changed, new warnings, worse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.ledger.comparisons import stream_differences
from worker.ledger.runs import RUN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Engine

    from worker.ledger.chains import Chain
    from worker.ledger.comparisons import Difference

__all__ = ["Change", "Comparison", "add_up", "compare"]


@dataclass(frozen=True)
class Change:
    """Rows that differ in one way."""

    rows: int = 0
    example_row: int | None = None
    """Of this run; of those that are gone, of the run before."""


@dataclass(frozen=True)
class Comparison:
    """This run against the latest finished one before of the same name; rows are matched by their credential."""

    run_id: str
    """Of the run before."""
    started_at: float | None
    """When that one was sent; Unix seconds."""
    new: Change = Change()
    """Credentials that were not there."""
    gone: Change = Change()
    """Credentials that are not there any more."""
    changed: Change = Change()
    """The same credential, for another person."""
    new_warnings: Change = Change()
    """In both, with a warning code that was not there."""
    worse: Change = Change()
    """Assigned or unchanged then, and now failed, invalid, in conflict or in doubt."""


def compare(engine: Engine, before: Chain | None, now: Chain) -> Comparison | None:
    """Compare a finished run with the one before, the retries of both included; None where that makes no sense.

    One sort on disk over the rows of both runs; memory does not grow with them.
    """
    if before is None or now.root.kind != RUN or any(run.state != "finished" for run in now.runs):
        return None
    return add_up(before.root.id, before.root.started_at, stream_differences(engine, before, now))


def add_up(run_id: str, started_at: float | None, differences: Iterable[Difference]) -> Comparison:
    """The comparison that these differences make."""
    changes: dict[str, Change] = {}

    def count(kind: str, difference: Difference) -> None:
        known = changes.get(kind, Change())
        example = min(difference.first_row, known.example_row or difference.first_row)
        changes[kind] = Change(known.rows + difference.credentials, example)

    for difference in differences:
        kinds = {
            "new": difference.is_new,
            "gone": difference.is_gone,
            "changed": difference.other_person,
            "new_warnings": bool(_codes(difference.codes_now) - _codes(difference.codes_before)),
            "worse": difference.worse,
        }
        for kind, holds in kinds.items():
            if holds:
                count(kind, difference)
    return Comparison(run_id, started_at, **changes)


def _codes(joined: str | None) -> set[str]:
    return set(joined.split(";")) if joined else set()
