"""A run and its retries as one: which of them has the last word on a row.

A chain is a run that has no parent (the root) and its retries, which name it as theirs. A retry holds some of
the root's rows, under the same numbers. The latest run that holds a row has the last word on it: its result, or
that it is still to be sent there. Undos of a run are no part of its chain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, case, func, or_, select

from worker.errors import LedgerHeldError
from worker.ledger.runs import RETRY, RUN, Run, as_run, get_run
from worker.ledger.tables import inputs, results, runs
from worker.models import Outcome

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, FromClause, Select
    from sqlalchemy.sql.elements import ColumnElement

__all__ = [
    "Chain",
    "chain_before",
    "chain_of",
    "find_chain",
    "is_doubtful",
    "last_words",
    "latest",
    "members",
    "require_same",
]


@dataclass(frozen=True)
class Chain:
    """A root and its retries, the earliest first."""

    root: Run
    retries: tuple[Run, ...] = ()

    @property
    def last(self) -> Run:
        """The latest of its runs."""
        return self.retries[-1] if self.retries else self.root

    @property
    def runs(self) -> tuple[Run, ...]:
        """All of them, the root first."""
        return (self.root, *self.retries)

    @property
    def numbers(self) -> list[int]:
        """The numbers of all of them."""
        return [run.run_no for run in self.runs]


def chain_of(engine: Engine, run_no: int) -> Chain:
    """The chain that a run belongs to; a run that is neither a root nor a retry stands for itself.

    Raises:
        RunNotFoundError: the ledger holds no such run.
    """
    return _chain_of(engine, get_run(engine, run_no))


def find_chain(engine: Engine, reference: str | None) -> Chain:
    """The chain of a run by its id or number; for None, the one of the latest run over a file, or retry of it.

    Raises:
        RunNotFoundError: there is none.
    """
    return _chain_of(engine, get_run(engine, reference, kinds=None if reference else (RUN, RETRY)))


def chain_before(engine: Engine, run: Run) -> Chain | None:
    """What a run is compared with: the latest finished run over a file before it, of its name and endpoint."""
    query = (
        select(runs)
        .where(
            runs.c.name == run.name,
            runs.c.endpoint == run.endpoint,
            runs.c.kind == RUN,
            runs.c.state == "finished",
            runs.c.run_no < run.run_no,
        )
        .order_by(runs.c.run_no.desc())
        .limit(1)
    )
    with engine.connect() as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else _chain_of(engine, as_run(row))


def _chain_of(engine: Engine, run: Run) -> Chain:
    root = get_run(engine, run.parent_no) if run.kind == RETRY and run.parent_no is not None else run
    with engine.connect() as connection:
        found = connection.execute(select(runs).where(_is_retry_of(root.run_no)).order_by(runs.c.run_no))
        return Chain(root, tuple(as_run(row) for row in found))


def latest(run_no: int) -> Select[Any]:
    """(run_no, row) for each row of the chain that `run_no` belongs to: which run has the last word on it.

    As many records as the root has rows. To be used as a subquery, joined with `results`, `inputs`, `unsettled` or
    `owners` on both columns: a row without a result there is still to be sent in that run.
    """
    words = last_words(_root_of(run_no)).subquery()
    return select(words.c.run_no, words.c.row)


_COLUMNS: Final = (
    inputs.c.row,
    inputs.c.line,
    inputs.c.shard,
    inputs.c.acs_credential_id,
    inputs.c.acs_user_id,
    inputs.c.user_identity_id,
    inputs.c.cells,
)


def last_words(root_no: Any) -> Select[Any]:  # noqa: ANN401 - a number, or an expression of SQL
    """The root's `inputs`, under the `run_no` of the run that has the last word on the row; `_COLUMNS` of them."""
    later = inputs.alias("later")
    retried = (
        select(func.max(later.c.run_no))
        .where(later.c.run_no.in_(select(runs.c.run_no).where(_is_retry_of(root_no))), later.c.row == inputs.c.row)
        .correlate(inputs)
        .scalar_subquery()
    )
    word = func.coalesce(retried, inputs.c.run_no).label("run_no")
    return select(word, *_COLUMNS).where(inputs.c.run_no == root_no)


def members(root_no: Any) -> Select[Any]:  # noqa: ANN401 - likewise
    """The numbers of all runs of a chain."""
    return select(runs.c.run_no).where(or_(runs.c.run_no == root_no, _is_retry_of(root_no)))


def require_same(connection: Connection, chain: Chain) -> None:
    """See that a chain is still what was looked at.

    Raises:
        LedgerHeldError: another process has retried or removed it since.
    """
    if set(connection.execute(members(chain.root.run_no)).scalars()) != set(chain.numbers):
        raise LedgerHeldError(
            f"another process has retried or removed run {chain.root.id} just now; `assign-worker runs` tells"
        )


def is_doubtful(word: FromClause = results) -> ColumnElement[bool]:
    """Of a result: its row was sent, and may have been applied although it is not `assigned`."""
    was_ambiguous = and_(word.c.outcome == Outcome.FAILED.value, word.c.read_back)
    return or_(word.c.outcome == Outcome.IN_DOUBT.value, was_ambiguous)


def _is_retry_of(root_no: Any) -> ColumnElement[bool]:  # noqa: ANN401 - likewise
    return and_(runs.c.parent_no == root_no, runs.c.kind == RETRY, runs.c.state != "staging")


def _root_of(run_no: int) -> Any:  # noqa: ANN401 - SQLAlchemy's scalar subquery
    own = runs.alias("own")
    return (
        select(case((own.c.kind == RETRY, own.c.parent_no), else_=own.c.run_no))
        .where(own.c.run_no == run_no)
        .scalar_subquery()
    )
