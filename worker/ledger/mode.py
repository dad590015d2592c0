"""How a run sends its rows: the meaning of `runs.mode`, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from sqlalchemy import Text
from sqlalchemy.types import TypeDecorator

if TYPE_CHECKING:
    from sqlalchemy import Dialect

__all__ = ["PLAIN", "UNDOING", "How", "Mode", "ModeText", "Takeover"]

Takeover = Literal["allow", "refuse"]
"""What becomes of a credential that somebody else has."""


class How(StrEnum):
    """What a run does with its rows."""

    PLAIN = "plain"
    """Sends them as the file says."""
    SYNC = "sync"
    """Reads the present owners first, and sends only what differs."""
    FLEET = "fleet"
    """As plain, by many machines; what is retried of it one process sends."""
    UNDO = "undo"
    """Gives back what another run has assigned, under no rule of takeover."""


@dataclass(frozen=True)
class Mode:
    """How a run sends, and under which rule."""

    how: How
    takeover: Takeover | None = None
    """None: there is no such rule."""

    def __str__(self) -> str:
        return self.how if self.takeover is None else f"{self.how}:{self.takeover}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The mode that `str` gave.

        Raises:
            ValueError: none did.
        """
        how, _, rule = text.partition(":")
        if rule not in {"", "allow", "refuse"}:
            raise ValueError(f"no rule of takeover: {rule!r}")
        return cls(How(how), "allow" if rule == "allow" else "refuse" if rule else None)

    @property
    def knows_owners(self) -> bool:
        """Whether whose the credentials are is in the ledger before anything is sent."""
        return self.how in {How.SYNC, How.UNDO}

    @property
    def takeover_refused(self) -> bool:
        """Whether a credential with another owner is left alone."""
        return self.takeover == "refuse"


PLAIN: Final = Mode(How.PLAIN, "allow")
UNDOING: Final = Mode(How.UNDO)


class ModeText(TypeDecorator[Mode]):
    """A mode, in a column of text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ANN401 - SQLAlchemy's own signature
        """As text."""
        del dialect
        return None if value is None else str(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Mode | None:  # noqa: ANN401 - likewise
        """As a mode."""
        del dialect
        return None if value is None else Mode.parse(value)
