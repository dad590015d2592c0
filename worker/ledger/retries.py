"""A retry in the ledger: a run of its own over some rows of a finished chain, under the same numbers (DESIGN 11.12)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, exists, false, func, insert, literal, or_, select, update

from worker.ledger.chains import is_doubtful, latest, members, require_same
from worker.ledger.children import fill_shards, open_child
from worker.ledger.decided import decide, sentinel
from worker.ledger.doubts import mark_doubtful
from worker.ledger.fences import fenced
from worker.ledger.repeats import disputed
from worker.ledger.runs import insert_run, worked_until
from worker.ledger.store import store_of
from worker.ledger.tables import RESULT_COLUMNS, inputs, results, runs, same_row, same_shard, shards, unsettled
from worker.models import Outcome

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Select
    from sqlalchemy.sql.elements import ColumnElement

    from worker.claim import Claim
    from worker.ledger.chains import Chain
    from worker.ledger.runs import Run, RunSpec

__all__ = [
    "RETRIABLE",
    "Choice",
    "Chosen",
    "count_chosen",
    "create_retry",
    "find_elsewhere",
    "leave_claimed",
    "recall_owners",
]

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
        require_same(connection, chain)
        run = insert_run(connection, spec, now=now)
        chosen = _unclaimed(connection, chain, choice).subquery()
        columns = [column.name for column in inputs.columns if column.name != "run_no"]
        connection.execute(
            insert(inputs).from_select(
                ["run_no", *columns],
                select(literal(run.run_no), *(inputs.c[name] for name in columns)).join(
                    chosen, same_row(chosen, inputs)
                ),
            )
        )
        store_of(connection.dialect).note_sizes(connection)
        fill_shards(connection, chain.root, run)
        _mark(connection, run, chosen)
        mark_doubtful(connection, run)
        return open_child(connection, chain.root, run, now=now)


def _choose(chain: Chain, choice: Choice) -> Select[Any]:
    """(run_no, row, acs_credential_id) of the chosen rows, by the run that has the last word."""
    words = latest(chain.root.run_no).subquery()
    here = same_row(inputs, words)
    there = same_row(results, words)
    return (
        select(words.c.run_no, words.c.row, inputs.c.acs_credential_id)
        .join(results, there)
        .join(inputs, here)
        .where(_wanted(choice, chain.root))
    )


def _wanted(choice: Choice, root: Run) -> ColumnElement[bool]:
    outcome = results.c.outcome
    if not choice:
        retryable = and_(outcome == Outcome.FAILED.value, results.c.retryable)
        return or_(retryable, outcome == Outcome.IN_DOUBT.value)
    wanted = [outcome == word.value for word in choice.outcomes if word is not Outcome.CONFLICT]
    if Outcome.CONFLICT in choice.outcomes:
        in_dispute = (
            select(inputs.c.acs_credential_id)
            .where(inputs.c.run_no == root.run_no, inputs.c.shard.is_not(None))
            .group_by(inputs.c.acs_credential_id)
            .having(disputed(root.workspace_id))
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
    chosen = _choose(chain, choice)
    claimed = _claimed(connection, chain)
    return chosen if claimed is None else chosen.where(inputs.c.acs_credential_id.not_in(claimed))


def _claimed(connection: Connection, chain: Chain) -> Select[Any] | None:
    """The credentials that runs after this chain's root have taken in hand; None where there is no such run.

    A run that was made before the root, and gone on with after the root had ended, has those that it has written since.
    """
    root = chain.root
    ended_at = root.stopped_at or root.created_at
    is_later = runs.c.run_no > root.run_no
    meant = and_(
        or_(is_later, worked_until() > ended_at),
        runs.c.run_no.not_in(chain.numbers),
        runs.c.endpoint == root.endpoint,
        runs.c.started_at.is_not(None),
    )
    if not connection.execute(select(exists().where(meant))).scalar():
        return None
    other, word = inputs.alias(), results.alias()
    was_written = word.c.outcome.in_([Outcome.ASSIGNED.value, Outcome.IN_DOUBT.value])
    return (
        select(other.c.acs_credential_id)
        .join(runs, runs.c.run_no == other.c.run_no)
        .outerjoin(word, same_row(word, other))
        .where(meant, other.c.shard.is_not(None), or_(is_later, and_(was_written, word.c.finished_at > ended_at)))
    )


def leave_claimed(engine: Engine, chain: Chain, *, recover: bool, now: float, claim: Claim | None = None) -> int:
    """Of a retry, decide the rows whose credential a later run has taken in hand since; how many.

    A row that was not sent again keeps the word that it had before the retry; of one that may have been sent nobody
    can tell any more if it was applied.

    Args:
        engine: the ledger, held by this process.
        chain: its last run is the retry.
        recover: the ledger's marks are not to be trusted: any open row may have been sent.
        now: Unix seconds.
        claim: that keeps others off it; None where nobody can take it.

    Raises:
        FenceLostError: the claim is gone; nothing was decided.
    """
    retry = chain.last
    with fenced(engine, claim) as connection:
        claimed = _claimed(connection, chain)
        if claimed is None:
            return 0
        open_rows = (
            select(inputs.c.row)
            .join(shards, same_shard(shards, inputs))
            .outerjoin(results, same_row(results, inputs))
            .where(inputs.c.run_no == retry.run_no, results.c.row.is_(None), inputs.c.acs_credential_id.in_(claimed))
        )
        beyond = false() if recover else inputs.c.row > shards.c.dispatched_through
        left = _keep_words(connection, chain, open_rows.where(beyond))
        return left + _leave_in_doubt(connection, retry, open_rows, now=now)


_CLAIMED: Final = "a later run has the credential in hand, and what that one says goes"


def _keep_words(connection: Connection, chain: Chain, rows: Select[Any]) -> int:
    """The word from before the retry as the retry's own."""
    *earlier, retry = chain.runs
    before = inputs.alias()
    last = (
        select(func.max(before.c.run_no))
        .where(before.c.run_no.in_([run.run_no for run in earlier]), before.c.row == results.c.row)
        .scalar_subquery()
    )
    columns = {name: results.c[name] for name in RESULT_COLUMNS} | {
        "detail": literal(f"{_CLAIMED}; nothing was sent again. Before: ") + func.coalesce(results.c.detail, "")
    }
    done = connection.execute(
        insert(results)
        .from_select(
            ["run_no", *columns],
            select(literal(retry.run_no), *columns.values()).where(results.c.run_no == last, results.c.row.in_(rows)),
        )
        .execution_options(preserve_rowcount=True)
    )
    return int(done.rowcount)


def _leave_in_doubt(connection: Connection, retry: Run, rows: Select[Any], *, now: float) -> int:
    open_rows = rows.subquery()
    *_, never_read_back, no_details = sentinel(now)
    return decide(
        connection,
        select(
            literal(retry.run_no),
            open_rows.c.row,
            literal(Outcome.IN_DOUBT.value),
            literal(f"it may have been sent and applied, and {_CLAIMED}; look at whose it is in Seam"),
            literal(now),
            func.coalesce(unsettled.c.attempts, 0),
            never_read_back,
            no_details,
        ).outerjoin(unsettled, and_(unsettled.c.run_no == retry.run_no, unsettled.c.row == open_rows.c.row)),
    )


def recall_owners(engine: Engine, retry: Run, *, claim: Claim | None = None) -> int:
    """Where a retry proved an earlier send of its chain, whose the credential was before that send; of how many rows.

    The retry itself cannot know: it read the row when it had been applied already.

    Raises:
        FenceLostError: the claim, where there is one, is gone; nothing was written.
    """
    earlier = results.alias()
    known = (
        earlier.c.run_no.in_(members(retry.parent_no)),
        earlier.c.run_no < retry.run_no,
        earlier.c.row == results.c.row,
        earlier.c.previous_owner_state.in_(["known", "none"]),
        is_doubtful(earlier),
    )
    first = select(earlier).where(*known).order_by(earlier.c.run_no).limit(1)
    with fenced(engine, claim) as connection:
        done = connection.execute(
            update(results)
            .where(
                results.c.run_no == retry.run_no,
                results.c.outcome == Outcome.ASSIGNED.value,
                results.c.read_back,
                func.coalesce(results.c.previous_owner_state, "unknown") == "unknown",
                exists().where(*known),
            )
            .values(
                previous_acs_user_id=first.with_only_columns(earlier.c.previous_acs_user_id).scalar_subquery(),
                previous_owner_state=first.with_only_columns(earlier.c.previous_owner_state).scalar_subquery(),
            )
        )
    return int(done.rowcount)


def _count(connection: Connection, query: Select[Any]) -> int:
    return int(connection.execute(select(func.count()).select_from(query.subquery())).scalar_one())


def _mark(connection: Connection, run: Run, chosen: Any) -> None:  # noqa: ANN401 - SQLAlchemy's subquery
    """Have rows read back whose last send may have been applied; the count of their sends goes on."""
    connection.execute(
        insert(unsettled).from_select(
            ["run_no", "row", "maybe_applied", "attempts"],
            select(literal(run.run_no), results.c.row, literal(True), results.c.attempts)  # noqa: FBT003 - SQL's true
            .join(chosen, same_row(chosen, results))
            .where(is_doubtful()),
        )
    )
