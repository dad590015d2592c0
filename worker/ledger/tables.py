"""The ledger's tables (DESIGN 6): one definition for SQLite and PostgreSQL.

`run_no` is the ledger's own small number of a run; `runs.id` is what people see. Times are Unix seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    Text,
    and_,
    false,
    literal_column,
)

from worker.ledger.mode import ModeText
from worker.models import Result

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, FromClause

__all__ = [
    "DETAIL_COLUMNS",
    "RESULT_COLUMNS",
    "SCHEMA_VERSION",
    "inputs",
    "metadata",
    "owners",
    "results",
    "runs",
    "same_row",
    "same_shard",
    "shards",
    "unsettled",
    "verifications",
    "word_of",
]

SCHEMA_VERSION: Final = 2

metadata = MetaData()

_RunNumber = Integer().with_variant(BigInteger, "postgresql")

runs = Table(
    "runs",
    metadata,
    Column("run_no", _RunNumber, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False, comment="run; or retry or undo of parent_no; plan never leaves staging"),
    Column("parent_no", _RunNumber, ForeignKey("runs.run_no")),
    Column("state", Text, nullable=False, comment="staging, open, finished, superseded"),
    Column("name", Text, nullable=False, comment="what history compares by"),
    Column("input_name", Text, nullable=False),
    Column("input_sha256", Text, comment="of the bytes as stored; null while staging"),
    Column("input_format", Text, nullable=False),
    Column("header", Text, comment="a JSON array for CSV, null for JSONL"),
    Column(
        "parse_options",
        Text,
        nullable=False,
        comment="JSON: how the file was read; of a retry, which rows were chosen",
    ),
    Column("mode", ModeText, nullable=False, comment="plain, sync, fleet or undo, with the takeover rule"),
    Column("endpoint", Text, nullable=False),
    Column("workspace_id", Text, comment="of the API key, as learned from the service"),
    Column("settings", Text, nullable=False, comment="JSON, without secrets"),
    Column("rows", Integer, nullable=False, default=0),
    Column("created_at", Float, nullable=False),
    Column("staged_at", Float),
    Column("started_at", Float, comment="when the latest execution began to send"),
    Column("stopped_at", Float, comment="when the latest execution ended"),
    Column("sending_seconds", Float, nullable=False, default=0.0, comment="over all executions"),
    Column("stop_cause", Text, comment="why the latest execution ended early"),
    Column("stop_message", Text),
)

shards = Table(
    "shards",
    metadata,
    Column("run_no", _RunNumber, ForeignKey("runs.run_no", ondelete="CASCADE"), primary_key=True),
    Column("shard", Integer, primary_key=True),
    Column("workspace_id", Text, comment="null: the API key's own"),
    Column("rows", Integer, nullable=False, default=0),
    Column("epoch", Integer, nullable=False, default=0, comment="the fence: a claim adds one"),
    Column("holder", Text, comment="JSON: host, pid and process start of the claim"),
    Column("lease_until", Float, comment="by the database server's clock; null on SQLite"),
    Column("dispatched_through", Integer, nullable=False, default=0, comment="no row beyond it was ever sent"),
)

inputs = Table(
    "inputs",
    metadata,
    Column("run_no", _RunNumber, ForeignKey("runs.run_no", ondelete="CASCADE"), primary_key=True),
    Column("row", Integer, primary_key=True),
    Column("line", Integer, nullable=False),
    Column("shard", Integer, comment="null: rejected when read"),
    Column("acs_credential_id", Text),
    Column("acs_user_id", Text),
    Column("user_identity_id", Text),
    Column("workspace_id", Text),
    Column("cells", Text, nullable=False, comment="JSON: the row as it stood in the file"),
    Column(
        "unassign",
        Boolean,
        nullable=False,
        server_default=false(),
        comment="of an undo: take the credential from this person",
    ),
    CheckConstraint("shard IS NULL OR (acs_user_id IS NULL) <> (user_identity_id IS NULL)", name="one_user"),
    sqlite_with_rowid=False,
)
Index("inputs_by_shard", inputs.c.run_no, inputs.c.shard, inputs.c.row)

_RESULT_TYPES: Final[dict[str, type]] = {
    "row": Integer,
    "retryable": Boolean,
    "http_status": SmallInteger,
    "attempts": Integer,
    "read_back": Boolean,
    "is_issued": Boolean,
    "is_synced_with_provider": Boolean,
    "started_at": Float,
    "finished_at": Float,
    "duration_ms": BigInteger,
    "details_due": Boolean,
}
"""Columns that are not text."""
_RESULT_REQUIRED: Final = frozenset({"row", "outcome", "attempts", "read_back", "details_due"})

RESULT_COLUMNS: Final[tuple[str, ...]] = Result._fields
DETAIL_COLUMNS: Final = (
    "assigned_acs_user_id",
    "assigned_user_identity_id",
    "acs_system_id",
    "credential_workspace_id",
    "access_method",
    "external_type",
    "display_name",
    "is_issued",
    "issued_at",
    "starts_at",
    "ends_at",
    "is_synced_with_provider",
    "warning_codes",
    "warnings",
    "credential_errors",
    "code",
    "card_number",
)
"""What a credential tells of itself: in a result, and where it was only read."""

results = Table(
    "results",
    metadata,
    Column("run_no", _RunNumber, ForeignKey("runs.run_no", ondelete="CASCADE"), primary_key=True),
    *(
        Column(
            name,
            _RESULT_TYPES.get(name, Text),
            primary_key=name == "row",
            nullable=name not in _RESULT_REQUIRED,
        )
        for name in RESULT_COLUMNS
    ),
    sqlite_with_rowid=False,
)
Index(
    "results_details_due",
    results.c.run_no,
    results.c.row,
    sqlite_where=results.c.details_due,
    postgresql_where=results.c.details_due,
)

Index(
    "results_in_doubt",
    results.c.run_no,
    results.c.row,
    sqlite_where=results.c.outcome == "in_doubt",
    postgresql_where=results.c.outcome == "in_doubt",
)

unsettled = Table(
    "unsettled",
    metadata,
    Column("run_no", _RunNumber, ForeignKey("runs.run_no", ondelete="CASCADE"), primary_key=True),
    Column("row", Integer, primary_key=True),
    Column("maybe_applied", Boolean, nullable=False, comment="true: read back before sending"),
    Column("attempts", Integer, nullable=False, default=0, comment="assign calls made so far"),
    sqlite_with_rowid=False,
    comment="what is known of rows without a result: within the mark but not executed, or in doubt",
)


def _readings(name: str, comment: str) -> Table:
    return Table(
        name,
        metadata,
        Column("run_no", _RunNumber, ForeignKey("runs.run_no", ondelete="CASCADE"), primary_key=True),
        Column("row", Integer, primary_key=True),
        Column("read_at", Float, nullable=False),
        Column("state", Text, nullable=False, comment="owned, unowned, missing, unknown"),
        Column("detail", Text, comment="why it is unknown"),
        Column("is_mine", Boolean, comment="whether the owner is the row's own person; null: it cannot be told"),
        Column("being_deleted", Boolean, nullable=False),
        Column("parent_acs_credential_id", Text, comment="of a phone's part of a multi-phone credential"),
        *(Column(column, _RESULT_TYPES.get(column, Text)) for column in DETAIL_COLUMNS),
        sqlite_with_rowid=False,
        comment=comment,
    )


owners = _readings("owners", "whom a credential belonged to before the run wrote; never overwritten once it was sent")
verifications = _readings("verifications", "how the latest `verify` found a row's credential")


def same_row(one: FromClause, other: FromClause) -> ColumnElement[bool]:
    """Both are of one row of one run."""
    return and_(one.c.run_no == other.c.run_no, one.c.row == other.c.row)


def same_shard(one: FromClause, other: FromClause) -> ColumnElement[bool]:
    """Both are of one shard of one run."""
    return and_(one.c.run_no == other.c.run_no, one.c.shard == other.c.shard)


def word_of(text: str) -> ColumnElement[str]:
    """One of our own words in the SQL itself: PostgreSQL takes no parameter in what it groups by."""
    return literal_column("'" + text.replace("'", "''") + "'", Text)
