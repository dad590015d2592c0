"""A result that needs no sending: which columns it has, and what they say of sends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import literal

if TYPE_CHECKING:
    from sqlalchemy.sql.elements import ColumnElement

__all__ = ["DECIDED", "sentinel"]

DECIDED: Final = (
    "run_no",
    "row",
    "outcome",
    "detail",
    "finished_at",
    "attempts",
    "read_back",
    "details_due",
)
"""The columns of a row that is decided without sending."""


def sentinel(now: float) -> tuple[ColumnElement[Any], ...]:
    """The last columns of `DECIDED`, from `finished_at` on: nothing was sent."""
    return (literal(now), literal(0), literal(False), literal(False))  # noqa: FBT003 - SQL's false
