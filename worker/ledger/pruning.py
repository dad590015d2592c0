"""Which old runs may go from a ledger, and how they go.

A family is a run over a file with all that refers to it: its retries and undos. It goes whole or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, exists, func, or_, select, true

from worker.ledger.chains import latest
from worker.ledger.runs import RETRY, RUN, as_run, delete_run
from worker.ledger.store import store_of
from worker.ledger.tables import inputs, results, runs, same_row, same_shard, shards, unsettled
from worker.models import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Engine, Select

    from worker.ledger.runs import Run

__all__ = ["Family", "Pruning", "choose_prunable", "remove"]

_ENDED = frozenset({"finished", "superseded"})
_LOOKED_AT = (Outcome.ASSIGNED, Outcome.UNASSIGNED, Outcome.UNCHANGED, Outcome.FAILED, Outcome.IN_DOUBT)
"""Outcomes before which a row that was in doubt is read back, whatever came of that."""


@dataclass(frozen=True)
class Family:
    """A run and all that refers to it, in the order of their making."""

    runs: tuple[Run, ...]

    @property
    def root(self) -> Run:
        """What the others refer to."""
        return self.runs[0]

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it can go on."""
        return all(run.state in _ENDED for run in self.runs)

    @property
    def ended_at(self) -> float:
        """When the last of it ended; Unix seconds."""
        return max(run.stopped_at or run.staged_at or run.created_at for run in self.runs)


@dataclass(frozen=True)
class Pruning:
    """What would go, and what stays although it is old enough."""

    removable: tuple[Family, ...]
    in_doubt: tuple[Family, ...]
    """They hold rows in doubt that no later run has looked at: one of the same credentials has to know of these."""
    in_hand: tuple[Family, ...] = ()
    """They have the last word on credentials that a run before them could still send, carry over or retry."""


def choose_prunable(engine: Engine, *, ended_before: float) -> Pruning:
    """The families that have ended before a moment (Unix seconds) and that nothing needs any more.

    Of each name and endpoint two stay in any case: the latest, and the latest in which no row failed or is in doubt.
    """
    by_name: dict[tuple[str, str], list[Family]] = {}
    for family in _families(engine):
        by_name.setdefault((family.root.name, family.root.endpoint), []).append(family)
    old: list[Family] = []
    kept: list[Family] = []
    for families in by_name.values():
        stay = {families[0].root.run_no, _last_good(engine, families)}
        for family in families:
            may_go = family.has_ended and family.ended_at < ended_before and family.root.run_no not in stay
            (old if may_go else kept).append(family)
    in_doubt = [family for family in old if _is_in_doubt(engine, family)]
    kept += in_doubt
    removable: list[Family] = []
    in_hand: list[Family] = []
    users = [family for family in kept if _is_of_use(engine, family)]
    for family in reversed(_in_order(family for family in old if family not in in_doubt)):
        if any(_overtakes(engine, family, earlier, kept) for earlier in users):
            in_hand.append(family)
            kept.append(family)
            users += [family] if _is_of_use(engine, family) else []
        else:
            removable.append(family)
    return Pruning(_in_order(removable), _in_order(in_doubt), _in_order(in_hand))


def _overtakes(engine: Engine, family: Family, earlier: Family, kept: Sequence[Family]) -> bool:
    """Whether it alone, of what is kept, says of a credential that an earlier run is not to use it any more."""
    if earlier.root.endpoint != family.root.endpoint or not any(_is_later(run, earlier) for run in family.runs):
        return False
    others = [run.run_no for other in kept for run in other.runs if _is_later(run, earlier)]
    other = inputs.alias()
    said_by_others = select(other.c.acs_credential_id).where(other.c.run_no.in_(others), other.c.shard.is_not(None))
    mine = inputs.alias()
    query = select(mine.c.row).where(
        mine.c.run_no.in_([run.run_no for run in family.runs if _is_later(run, earlier)]),
        mine.c.shard.is_not(None),
        mine.c.acs_credential_id.in_(_usable(earlier)),
        mine.c.acs_credential_id.not_in(said_by_others),
    )
    with engine.connect() as connection:
        return connection.execute(query.limit(1)).first() is not None


def _is_later(run: Run, family: Family) -> bool:
    """Whether it was begun after the root of a family that it is no part of, or gone on with after that."""
    if run in family.runs or run.started_at is None:
        return False
    read_at = family.root.staged_at or family.root.created_at
    return run.run_no > family.root.run_no or (run.stopped_at or run.started_at) >= read_at


def _is_of_use(engine: Engine, family: Family) -> bool:
    """Whether a run may still send, carry over or retry anything."""
    root = family.root
    was_taken_over = root.state == "superseded" and not any(run.kind == RETRY for run in family.runs)
    if root.kind != RUN or was_taken_over:
        return any(run.state == "open" for run in family.runs)
    with engine.connect() as connection:
        return connection.execute(_usable(family).limit(1)).first() is not None


def _usable(family: Family) -> Select[Any]:
    """The credentials that a run may still send, carry over into a changed file or retry.

    All of one that is not finished, else those of rows that a retry may choose.
    """
    root = family.root
    if any(run.state == "open" for run in family.runs):
        return select(inputs.c.acs_credential_id).where(inputs.c.run_no == root.run_no, inputs.c.shard.is_not(None))
    words = latest(root.run_no).subquery()
    unwell = [outcome.value for outcome in (Outcome.FAILED, Outcome.IN_DOUBT, Outcome.CONFLICT)]
    return (
        select(inputs.c.acs_credential_id)
        .join(words, same_row(words, inputs))
        .join(results, same_row(results, inputs))
        .where(
            inputs.c.shard.is_not(None),
            or_(results.c.outcome.in_(unwell), func.coalesce(results.c.warning_codes, "") != ""),
        )
    )


def remove(engine: Engine, family: Family) -> bool:
    """Remove a family, in one transaction; not one to which a retry or an undo came since it was looked at."""
    numbers = [run.run_no for run in family.runs]
    with engine.begin() as connection:
        store_of(engine.dialect).take_turns(connection)
        heirs = select(runs.c.run_no).where(runs.c.parent_no.in_(numbers), runs.c.run_no.not_in(numbers))
        if connection.execute(heirs.limit(1)).first() is not None:
            return False
        for number in reversed(numbers):
            delete_run(connection, number)
    return True


def _in_order(families: Iterable[Family]) -> tuple[Family, ...]:
    return tuple(sorted(families, key=lambda family: family.root.run_no))


def _families(engine: Engine) -> Iterator[Family]:
    """All of them, the latest root first; what is being read, or was left half-read, is no run yet."""
    is_run = runs.c.state != "staging"
    with engine.connect() as connection:
        every = [as_run(row) for row in connection.execute(select(runs).where(is_run).order_by(runs.c.run_no))]
    children: dict[int | None, list[Run]] = {}
    for run in every:
        children.setdefault(run.parent_no, []).append(run)
    for root in reversed(children.get(None, [])):
        yield Family(tuple(sorted(_with_heirs(root, children), key=lambda run: run.run_no)))


def _with_heirs(run: Run, children: dict[int | None, list[Run]]) -> Iterator[Run]:
    yield run
    for child in children.get(run.run_no, ()):
        yield from _with_heirs(child, children)


def _last_good(engine: Engine, families: Sequence[Family]) -> int | None:
    """The number of the latest root over a file that came to its end without a row failed or in doubt."""
    bad = (Outcome.FAILED, Outcome.IN_DOUBT)
    for family in families:
        finished = all(run.state == "finished" for run in family.runs)
        if finished and family.root.kind == RUN and not _ended_so(engine, family.root, bad):
            return family.root.run_no
    return None


def _is_in_doubt(engine: Engine, family: Family) -> bool:
    """Whether the last word on any row is that it may have been sent, and no later run has looked at its credential."""
    later = inputs.alias("later")
    since = max(max(run.stopped_at or 0.0, run.started_at or 0.0) for run in family.runs)
    looked_at = (
        select(later.c.acs_credential_id)
        .join(results, same_row(results, later))
        .join(runs, runs.c.run_no == later.c.run_no)
        .where(
            runs.c.run_no.not_in([run.run_no for run in family.runs]),
            runs.c.endpoint == family.root.endpoint,
            results.c.finished_at >= since,
            or_(results.c.outcome != Outcome.UNCHANGED.value, results.c.read_back),  # not carried over unread
            results.c.outcome.in_([outcome.value for outcome in _LOOKED_AT]),
        )
    )
    with engine.connect() as connection:
        return any(
            connection.execute(
                select(_doubtful(run.run_no).where(inputs.c.acs_credential_id.not_in(looked_at)).exists())
            ).scalar()
            for run in family.runs
            if run.kind != RETRY
        )


def _doubtful(run_no: int) -> Select[Any]:
    """The credentials of rows whose last word is in doubt, with a result that says so or without one."""
    words = latest(run_no).subquery()
    within_mark = and_(
        results.c.row.is_(None),
        inputs.c.row <= shards.c.dispatched_through,
        func.coalesce(unsettled.c.maybe_applied, true()),
    )
    return (
        select(inputs.c.acs_credential_id)
        .join(words, same_row(words, inputs))
        .join(shards, same_shard(shards, inputs))
        .outerjoin(results, same_row(results, inputs))
        .outerjoin(unsettled, same_row(unsettled, inputs))
        .where(or_(results.c.outcome == Outcome.IN_DOUBT.value, within_mark))
    )


def _ended_so(engine: Engine, run: Run, outcomes: Sequence[Outcome]) -> bool:
    """Whether the last word on any row of a run, its retries included, is one of these."""
    words = latest(run.run_no).subquery()
    found = exists().where(
        same_row(results, words),
        results.c.outcome.in_([outcome.value for outcome in outcomes]),
    )
    with engine.connect() as connection:
        return bool(connection.execute(select(found)).scalar())
