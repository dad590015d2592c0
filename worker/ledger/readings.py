"""Credentials as they were read: which are still to be read, and where what was read goes.

A survey asks for rows shard by shard and hands in whatever credentials it came by, in whatever order; what nobody
looks for is dropped here. Memory does not grow with the rows: they wait in a temporary table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal,
    null,
    select,
    type_coerce,
    update,
)

from worker.ledger.store import store_of
from worker.ledger.tables import DETAIL_COLUMNS
from worker.models import Job, UserKey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Engine, Insert, Row, Select, Update

__all__ = ["Found", "Readings", "Sought", "Unsure"]

_sought = Table(
    "sought",
    MetaData(),
    Column("acs_credential_id", Text, primary_key=True),
    Column("row", Integer, nullable=False),
    Column("line", Integer, nullable=False),
    Column("shard", Integer, nullable=False),
    Column("workspace_id", Text),
    Column("acs_user_id", Text),
    Column("user_identity_id", Text),
    Column("owner", Text, comment="set where it was read, but does not tell if it is the row's identity"),
    Column("acs_system_id", Text),
    prefixes=["TEMPORARY"],
)
_by_shard = Index("sought_by_shard", _sought.c.shard, _sought.c.row)


class Sought(NamedTuple):
    """One shard of what is to be read."""

    shard: int
    workspace_id: str | None
    rows: int


class Unsure(NamedTuple):
    """A row by identity whose credential has an owner without one."""

    job: Job
    acs_user_id: str
    acs_system_id: str | None


class Found(NamedTuple):
    """One credential as the service told it."""

    acs_credential_id: str
    read_at: float
    state: str
    """`owned`, `unowned`, `missing` or `unknown`."""
    detail: str | None
    is_mine: bool | None
    """Where the reading itself settled it; None leaves it to a comparison of ids."""
    being_deleted: bool
    parent_acs_credential_id: str | None
    details: Mapping[str, Any]
    """By `DETAIL_COLUMNS`."""


class Readings:
    """The readings of one survey, on a connection of its own; used by one thread at a time. Close it at the end.

    Args:
        engine: the ledger.
        run_no: whose readings they are.
        target: `owners` or `verifications`.
        wanted: what is to be read, as a query of row, line, shard, workspace_id, acs_credential_id, acs_user_id and
            user_identity_id (either of the two, or both, is the row's person); no credential twice.
    """

    def __init__(self, engine: Engine, run_no: int, target: Table, wanted: Select[Any]) -> None:
        self._run_no = run_no
        self._target = target
        self._connection = engine.connect()
        try:
            with self._connection.begin():  # what is sought is what four tables lack, however they were filled
                store_of(self._connection.dialect).note_sizes(self._connection)
            with self._connection.begin():
                _sought.drop(self._connection, checkfirst=True)
                _sought.create(self._connection)
                names = ("row", "line", "shard", "workspace_id", "acs_credential_id", "acs_user_id", "user_identity_id")
                self._connection.execute(insert(_sought).from_select(names, wanted))
        except BaseException:
            self._connection.close()
            raise
        self._take = _take_statement(run_no, target)
        self._set_aside = _set_aside_statement(run_no, target)

    def close(self) -> None:
        """Forget what was still sought, and give the connection back."""
        with self._connection.begin():
            _sought.drop(self._connection, checkfirst=True)
            store_of(self._connection.dialect).note_sizes(self._connection)
        self._connection.close()

    def shards(self) -> list[Sought]:
        """What is to be read, by shard."""
        query = select(_sought.c.shard, func.max(_sought.c.workspace_id), func.count()).group_by(_sought.c.shard)
        with self._connection.begin():
            return [Sought(*record) for record in self._connection.execute(query.order_by(_sought.c.shard))]

    def next(self, shard: int, limit: int) -> list[Job]:
        """The first rows of a shard that are still to be read, in input order."""
        query = select(_sought).where(_sought.c.shard == shard, _sought.c.owner.is_(None))
        with self._connection.begin():
            return [_job(record) for record in self._connection.execute(query.order_by(_sought.c.row).limit(limit))]

    def unsure(self, shard: int, limit: int) -> list[Unsure]:
        """The first rows of a shard that were read, but of whose owner another question is to be asked."""
        query = select(_sought).where(_sought.c.shard == shard, _sought.c.owner.is_not(None))
        with self._connection.begin():
            return [
                Unsure(_job(record), record.owner, record.acs_system_id)
                for record in self._connection.execute(query.order_by(_sought.c.row).limit(limit))
            ]

    def take(self, found: Sequence[Found]) -> int:
        """Record, in one commit, those credentials that were sought; how many they were."""
        if not found:
            return 0
        found = list({each.acs_credential_id: each for each in found}.values())  # a page may hold one twice
        values = [
            {
                "of": each.acs_credential_id,
                "read_at": each.read_at,
                "state": each.state,
                "detail": each.detail,
                "told": each.is_mine,
                "being_deleted": each.being_deleted,
                "parent": each.parent_acs_credential_id,
                **each.details,
            }
            for each in found
        ]
        with self._connection.begin():
            self._connection.execute(self._take, values)
            ids = [each.acs_credential_id for each in found]
            done = self._connection.execute(self._set_aside, {"ids": ids}).rowcount
            return (
                done
                + self._connection.execute(
                    delete(_sought).where(_sought.c.acs_credential_id.in_(ids), _sought.c.owner.is_(None))
                ).rowcount
            )

    def settle(self, job: Job, *, is_mine: bool | None, detail: str | None) -> None:
        """Note whether the owner of an unsure row is its person, or why nobody can tell."""
        target = self._target
        with self._connection.begin():
            self._connection.execute(
                update(target)
                .where(target.c.run_no == self._run_no, target.c.row == job.row)
                .values(is_mine=is_mine, detail=detail)
            )
            self._connection.execute(delete(_sought).where(_sought.c.acs_credential_id == job.acs_credential_id))


def _job(record: Row[Any]) -> Job:
    by_identity = record.user_identity_id is not None
    return Job(
        record.row,
        record.line,
        record.acs_credential_id,
        UserKey.USER_IDENTITY if by_identity else UserKey.ACS_USER,
        record.user_identity_id if by_identity else record.acs_user_id,
        record.workspace_id,
    )


def _set_aside_statement(run_no: int, target: Table) -> Update:
    """Keep among what is sought, with its owner, what a reading left unsure.

    By scalar subqueries alone, each a look-up of one row: a join's plan would hang on what the database believes of a
    table that is just being filled.
    """
    is_unsure = and_(target.c.state == "owned", target.c.is_mine.is_(None), target.c.detail.is_(None))
    reading = (target.c.run_no == run_no, target.c.row == _sought.c.row)
    unsure, owner, system = (
        select(column).where(*reading).scalar_subquery()
        for column in (is_unsure, target.c.assigned_acs_user_id, target.c.acs_system_id)
    )
    return (
        update(_sought)
        .where(
            _sought.c.acs_credential_id.in_(bindparam("ids", expanding=True)),
            _sought.c.owner.is_(None),
            unsure,
        )
        .values(owner=owner, acs_system_id=system)
    )


def _take_statement(run_no: int, target: Table) -> Insert:
    owner = bindparam("assigned_acs_user_id", type_=Text)
    identity = bindparam("assigned_user_identity_id", type_=Text)
    compared = case(
        (owner == _sought.c.acs_user_id, literal(True)),  # noqa: FBT003 - SQL's true
        (_sought.c.user_identity_id.is_(None), literal(False)),  # noqa: FBT003 - SQL's false
        (identity.is_not(None), identity == _sought.c.user_identity_id),
        (owner.is_(None), literal(False)),  # noqa: FBT003 - SQL's false
        else_=type_coerce(null(), Boolean),
    )
    columns: dict[str, Any] = {
        "run_no": literal(run_no),
        "row": _sought.c.row,
        "read_at": bindparam("read_at", type_=Float),
        "state": bindparam("state", type_=Text),
        "detail": bindparam("detail", type_=Text),
        "is_mine": func.coalesce(bindparam("told", type_=Boolean), compared),
        "being_deleted": bindparam("being_deleted", type_=Boolean),
        "parent_acs_credential_id": bindparam("parent", type_=Text),
        **{name: bindparam(name, type_=target.c[name].type) for name in DETAIL_COLUMNS},
    }
    return insert(target).from_select(
        list(columns),
        select(*columns.values()).where(_sought.c.acs_credential_id == bindparam("of"), _sought.c.owner.is_(None)),
    )
