"""SQL built once with SQLAlchemy and run through the driver, for the statements that run once per row.

A `Statement` keeps its text and the order of its parameters; the driver gets plain tuples. SQLAlchemy's own
execution costs some 9 µs a row, the driver's 1 to 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Dialect
    from sqlalchemy.sql.expression import ClauseElement

__all__ = ["Bulk", "Statement"]


class Bulk(Protocol):
    """Inserts many rows of plain values, by whatever way is the database's quickest."""

    def many(self, cursor: Any, rows: Iterable[Sequence[object]]) -> None:  # noqa: ANN401 - any DBAPI cursor
        """Insert the rows as they come, their values in the order of the columns that it was made for."""
        ...


@dataclass(frozen=True)
class Statement:
    """One statement in the driver's own words."""

    text: str
    parameters: tuple[str, ...]
    """Names of the bound parameters, in the order in which the driver wants their values."""
    constants: Mapping[str, object]
    """Values that the clause itself carries."""

    @classmethod
    def build(cls, clause: ClauseElement, dialect: Dialect) -> Statement:
        """Compile `clause` for a dialect with positional parameters."""
        compiled: Any = clause.compile(dialect=dialect)
        names = tuple(compiled.positiontup or ())
        given = {name: value for name in names if (value := compiled.params.get(name)) is not None}
        return cls(str(compiled), names, given)

    def many(self, cursor: Any, rows: Sequence[Sequence[object]]) -> None:  # noqa: ANN401 - any DBAPI cursor
        """Run once per row of values, in `parameters` order, constants included."""
        cursor.executemany(self.text, rows)

    def one(self, cursor: Any, **values: object) -> int:  # noqa: ANN401 - any DBAPI cursor
        """Run once with named values; the number of rows changed."""
        cursor.execute(self.text, self.ordered(values))
        return int(cursor.rowcount)

    def fetch(self, cursor: Any, **values: object) -> list[tuple[Any, ...]]:  # noqa: ANN401 - any DBAPI cursor
        """Run once with named values; all rows."""
        cursor.execute(self.text, self.ordered(values))
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows

    def stream(self, cursor: Any, **values: object) -> Iterable[tuple[Any, ...]]:  # noqa: ANN401 - any DBAPI cursor
        """Run once with named values; the rows as they come."""
        cursor.execute(self.text, self.ordered(values))
        rows: Iterable[tuple[Any, ...]] = cursor
        return rows

    def ordered(self, values: Mapping[str, object]) -> list[object]:
        """The values in the driver's order."""
        known = {**self.constants, **values}
        return [known[name] for name in self.parameters]
