"""How a chain's assigned rows were found when they were last read back, added up and row by row."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import and_, case, delete, exists, false, func, literal, or_, select, true

from worker.ledger.chains import last_words, latest
from worker.ledger.queries import ExportRow
from worker.ledger.tables import DETAIL_COLUMNS, inputs, results, same_row, verifications, word_of
from worker.models import Outcome, Result

if TYPE_CHECKING:
    from collections.abc import Generator

    from sqlalchemy import Engine, Select
    from sqlalchemy.sql.elements import ColumnElement

__all__ = [
    "Finding",
    "FoundGroup",
    "count_unverified",
    "forget_unsettled",
    "forget_verifications",
    "group_findings",
    "stream_findings",
    "wanted_by_verify",
]


class Finding(StrEnum):
    """What a reading says of a row that was assigned."""

    CONFIRMED = "confirmed"
    """The person has it, and nothing is waited for."""
    WAITING = "waiting"
    """The person has it; the provider has not followed yet, or the card is not encoded."""
    OTHER_OWNER = "other_owner"
    """Somebody else has it."""
    NO_OWNER = "no_owner"
    """Nobody has it."""
    GONE = "gone"
    """Seam knows no such credential any more."""
    UNREADABLE = "unreadable"


class FoundGroup(NamedTuple):
    """Rows that were found alike."""

    finding: Finding
    synced: bool | None
    """With the lock maker's system; None: Seam did not say."""
    card: bool
    issued: bool | None
    """Encoded onto the card; None: Seam did not say."""
    warning_codes: str | None
    """`;`-joined."""
    rows: int
    first_row: int


_of = verifications.c
_IS_CARD: Final = func.coalesce(_of.access_method == "card", false())
_WAITS: Final = or_(
    func.coalesce(_of.is_synced_with_provider, true()) == false(),
    and_(_IS_CARD, func.coalesce(_of.is_issued, true()) == false()),
    (literal(";") + func.coalesce(_of.warning_codes, "") + literal(";")).contains(";waiting_to_be_issued;"),
)
_FINDING: Final = case(
    (_of.state == word_of("missing"), word_of(Finding.GONE)),
    (and_(_of.is_mine, _WAITS), word_of(Finding.WAITING)),
    (_of.is_mine, word_of(Finding.CONFIRMED)),
    (_of.state == word_of("unowned"), word_of(Finding.NO_OWNER)),
    (and_(_of.state == word_of("owned"), _of.is_mine.is_not(None)), word_of(Finding.OTHER_OWNER)),
    else_=word_of(Finding.UNREADABLE),
)


def _assigned(root_no: int, *columns: ColumnElement[Any]) -> Select[Any]:
    """`columns` over the root's `inputs` whose person has the credential by the chain's last word."""
    words = latest(root_no).subquery("words")
    return (
        select(*columns)
        .join(words, words.c.row == inputs.c.row)
        .join(results, same_row(results, words))
        .where(
            inputs.c.run_no == root_no,
            results.c.outcome.in_([Outcome.ASSIGNED.value, Outcome.UNCHANGED.value]),
        )
    )


def wanted_by_verify(root_no: int) -> Select[Any]:
    """What is to be read of a chain: all that is assigned and has no verification; for `Readings`."""
    unread = ~exists().where(_of.run_no == inputs.c.run_no, _of.row == inputs.c.row)
    return _assigned(
        root_no,
        inputs.c.row,
        inputs.c.line,
        inputs.c.shard,
        inputs.c.workspace_id,
        inputs.c.acs_credential_id,
        inputs.c.acs_user_id,
        inputs.c.user_identity_id,
    ).where(unread)


def count_unverified(engine: Engine, root_no: int) -> int:
    """Assigned rows of a chain that were not read."""
    query = select(func.count()).select_from(wanted_by_verify(root_no).subquery())
    with engine.connect() as connection:
        return int(connection.execute(query).scalar_one())


def forget_verifications(engine: Engine, root_no: int) -> None:
    """Begin anew: what an earlier verification found is not what is so."""
    with engine.begin() as connection:
        connection.execute(delete(verifications).where(_of.run_no == root_no))


def forget_unsettled(engine: Engine, root_no: int) -> int:
    """Have all that is waited for, or could not be read, read once more; how many rows that is."""
    with engine.begin() as connection:
        done = connection.execute(
            delete(verifications).where(
                _of.run_no == root_no, _FINDING.in_([word_of(Finding.WAITING), word_of(Finding.UNREADABLE)])
            )
        )
    return int(done.rowcount)


def group_findings(engine: Engine, root_no: int) -> list[FoundGroup]:
    """The verified rows of a chain by what was found."""
    keys = (
        _FINDING.label("finding"),
        _of.is_synced_with_provider,
        _IS_CARD.label("card"),
        _of.is_issued,
        _of.warning_codes,
    )
    each = select(*keys, _of.row).where(_of.run_no == root_no).subquery()
    columns = tuple(each.c[:5])
    query = select(*columns, func.count(), func.min(each.c.row)).group_by(*columns)
    with engine.connect() as connection:
        return [
            FoundGroup(Finding(finding), synced, bool(card), issued, codes, rows, first)
            for finding, synced, card, issued, codes, rows, first in map(tuple, connection.execute(query))
        ]


_SENTENCES: Final[dict[Finding, str]] = {
    Finding.CONFIRMED: "the person has it",
    Finding.WAITING: "the person has it; its sync, or its card, is still waited for. Verify again later",
    Finding.OTHER_OWNER: "somebody else has it now; look at it in Seam, or assign it again",
    Finding.NO_OWNER: "nobody has it now; assign it again",
    Finding.GONE: "Seam knows no such credential any more",
    Finding.UNREADABLE: "whose it is could not be read; verify again",
}
_PAGE: Final = 1_000


def stream_findings(engine: Engine, root_no: int, run_id: str) -> Generator[ExportRow]:
    """The verified rows in input order, as a results file has them: `outcome` is the finding."""
    words = last_words(root_no).subquery("words")
    query = (
        select(
            _FINDING.label("finding"),
            _of.row,
            _of.read_at,
            _of.detail,
            words.c.line,
            words.c.cells,
            *(_of[name] for name in DETAIL_COLUMNS),
        )
        .join(words, words.c.row == _of.row)
        .where(_of.run_no == root_no)
        .order_by(_of.row)
    )
    with engine.connect() as connection:
        for record in connection.execution_options(yield_per=_PAGE).execute(query):
            detail = record.detail or _SENTENCES[Finding(record.finding)]
            result = Result(
                record.row,
                record.finding,
                detail=detail,
                read_back=True,
                finished_at=record.read_at,
                **{name: getattr(record, name) for name in DETAIL_COLUMNS},
            )
            yield ExportRow(record.line, record.cells, result, run_id)
