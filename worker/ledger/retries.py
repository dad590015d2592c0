"""A retry in the ledger: a run of its own over some rows of a finished chain, under the same numbers (DESIGN 11.12)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, exists, func, insert, literal, or_, select

from worker.errors import LedgerHeldError
from worker.ledger.chains import is_doubtful, latest
from worker.ledger.children import fill_shards, open_child
from worker.ledger.opening import mark_doubtful
from worker.ledger.runs import RETRY, insert_run
from worker.ledger.staging import disputed
from worker.ledger.store import store_of
from worker.ledger.tables import inputs, results, runs, unsettled
from worker.models import Outcome

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Select
    from sqlalchemy.sql.elements import ColumnElement

    from worker.ledger.chains import Chain
    from worker.ledger.runs import Run, RunSpec

__all__ = ["RETRIABLE", "Choice", "Chosen", "count_chosen", "create_retry", "find_elsewhere"]

RETRIABLE: Final = (Outcome.FAILED, Outcome.IN_DOUBT, Outcome.CONFLICT)
"""What may be asked for by outcome; rows that nobody may send, or that are well, are not among them."""


@dataclass(frozen=True)
class Choice:
    """Which rows of a chain are sent again; by default those that failed and may succeed now, or are in doubt."""

    outcomes: tuple[Outcome, ...] = ()
    """Of `RETRIABLE`: all rows that ended so."""
    warnings: tuple[str, ...] = ()
    """Codes: all rows whose person has the credential, with such a warning."""

    def __bool__(self) -> bool:
        """Whether anything was chosen by name."""
        return bool(self.outcomes or self.warnings)


@dataclass(frozen=True)
class Chosen:
    """How many rows a choice comes to."""

    rows: int
    left_alone: int
    """More of them, whose credential a later run holds: what that one says goes."""


def count_chosen(engine: Engine, chain: Chain, choice: Choice) -> Chosen:
    """Count the rows that a retry would send, and those that it would leave to a later run."""
    with engine.connect() as connection:
        all_rows = _count(connection, _choose(chain, choice))
        rows = _count(connection, _unclaimed(connection, chain, choice)) if all_rows else 0
    return Chosen(rows, all_rows - rows)


def find_elsewhere(engine: Engine, chain: Chain, choice: Choice, workspace_id: str) -> tuple[int, str] | None:
    """(row, workspace) of a chosen row that names another workspace than this one, if any does."""
    with engine.connect() as connection:
        chosen = _unclaimed(connection, chain, choice)
        query = chosen.with_only_columns(inputs.c.row, inputs.c.workspace_id)
        found = connection.execute(query.where(inputs.c.workspace_id != workspace_id).limit(1)).one_or_none()
    return None if found is None else (found.row, found.workspace_id)


def create_retry(engine: Engine, chain: Chain, choice: Choice, spec: RunSpec, *, now: float) -> Run:
    """Make the retry, open for sending, in one transaction.

    Its inputs are those of the latest word on each chosen row. Rows that an earlier send may have applied are marked,
    so that they are read back before anything is sent.

    Args:
        engine: the ledger, held by this process.
        chain: finished, with no retry under way.
        choice: which of its rows.
        spec: of kind `retry`, its parent the root.
        now: Unix seconds.

    Raises:
        LedgerHeldError: another process has retried or removed it since it was looked at.
    """
    with engine.begin() as connection:
        store_of(engine.dialect).take_turns(connection)
        _require_same(connection, chain)
        run = insert_run(connection, spec, now=now)
        chosen = _unclaimed(connection, chain, choice).subquery()
        columns = [column.name for column in inputs.columns if column.name != "run_no"]
        connection.execute(
            insert(inputs).from_select(
                ["run_no", *columns],
                select(literal(run.run_no), *(inputs.c[name] for name in columns)).join(
                    chosen, and_(chosen.c.run_no == inputs.c.run_no, chosen.c.row == inputs.c.row)
                ),
            )
        )
        store_of(connection.dialect).note_sizes(connection)
        fill_shards(connection, chain.root, run)
        _mark(connection, run, chosen)
        mark_doubtful(connection, run)
        return open_child(connection, chain.root, run, now=now)


def _require_same(connection: Connection, chain: Chain) -> None:
    root_no = chain.root.run_no
    is_retry = and_(runs.c.parent_no == root_no, runs.c.kind == RETRY, runs.c.state != "staging")
    present = select(runs.c.run_no).where(or_(runs.c.run_no == root_no, is_retry))
    if set(connection.execute(present).scalars()) != set(chain.numbers):
        raise LedgerHeldError(
            f"another process has retried or removed run {chain.root.id} just now; `assign-worker runs` tells"
        )


def _choose(chain: Chain, choice: Choice) -> Select[Any]:
    """(run_no, row, acs_credential_id) of the chosen rows, by the run that has the last word."""
    words = latest(chain.root.run_no).subquery()
    here = and_(inputs.c.run_no == words.c.run_no, inputs.c.row == words.c.row)
    there = and_(results.c.run_no == words.c.run_no, results.c.row == words.c.row)
    return (
        select(words.c.run_no, words.c.row, inputs.c.acs_credential_id)
        .join(results, there)
        .join(inputs, here)
        .where(_wanted(choice, chain.root.run_no))
    )


def _wanted(choice: Choice, root_no: int) -> ColumnElement[bool]:
    outcome = results.c.outcome
    if not choice:
        retryable = and_(outcome == Outcome.FAILED.value, results.c.retryable)
        return or_(retryable, outcome == Outcome.IN_DOUBT.value)
    wanted = [outcome == word.value for word in choice.outcomes if word is not Outcome.CONFLICT]
    if Outcome.CONFLICT in choice.outcomes:
        in_dispute = (
            select(inputs.c.acs_credential_id)
            .where(inputs.c.run_no == root_no, inputs.c.shard.is_not(None))
            .group_by(inputs.c.acs_credential_id)
            .having(disputed())
            .correlate(None)
        )
        wanted.append(and_(outcome == Outcome.CONFLICT.value, inputs.c.acs_credential_id.not_in(in_dispute)))
    codes = literal(";") + results.c.warning_codes + literal(";")
    wanted += [
        and_(
            outcome.in_([Outcome.ASSIGNED.value, Outcome.UNCHANGED.value]), codes.contains(f";{code};", autoescape=True)
        )
        for code in choice.warnings
    ]
    return or_(*wanted)


def _unclaimed(connection: Connection, chain: Chain, choice: Choice) -> Select[Any]:
    """The chosen rows without those whose credential a later run has taken in hand."""
    root_no = chain.root.run_no
    of_chain = [run.run_no for run in chain.runs]
    is_later = and_(
        runs.c.run_no > root_no,
        runs.c.run_no.not_in(of_chain),
        runs.c.endpoint == chain.root.endpoint,
        runs.c.started_at.is_not(None),
    )
    chosen = _choose(chain, choice)
    if not connection.execute(select(exists().where(is_later))).scalar():
        return chosen
    other = inputs.alias()
    held = (
        select(other.c.acs_credential_id)
        .join(runs, runs.c.run_no == other.c.run_no)
        .where(is_later, other.c.shard.is_not(None))
    )
    return chosen.where(inputs.c.acs_credential_id.not_in(held))


def _count(connection: Connection, query: Select[Any]) -> int:
    return int(connection.execute(select(func.count()).select_from(query.subquery())).scalar_one())


def _mark(connection: Connection, run: Run, chosen: Any) -> None:  # noqa: ANN401 - SQLAlchemy's subquery
    """Have rows read back whose last send may have been applied; the count of their sends goes on."""
    connection.execute(
        insert(unsettled).from_select(
            ["run_no", "row", "maybe_applied", "attempts"],
            select(literal(run.run_no), results.c.row, literal(True), results.c.attempts)  # noqa: FBT003 - SQL's true
            .join(chosen, and_(chosen.c.run_no == results.c.run_no, chosen.c.row == results.c.row))
            .where(is_doubtful()),
        )
    )
