"""What the commands of the fleet have in common: their ledger is a PostgreSQL URL, and their extra is installed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from worker.errors import UsageError

if TYPE_CHECKING:
    from worker.config import Settings

__all__ = ["ledger_of", "require_extra"]


def require_extra() -> None:
    """See that the fleet's libraries are there.

    Raises:
        UsageError: they are not.
    """
    if find_spec("procrastinate") is None:
        raise UsageError("a fleet needs its libraries: pip install '.[fleet]' in a checkout, then run it again")


def ledger_of(settings: Settings) -> str:
    """The URL of the fleet's ledger.

    Raises:
        UsageError: none is given, or it is no PostgreSQL server; or the extra is missing.
    """
    require_extra()
    url = settings.output.ledger
    if url is None or url.partition("://")[0] not in {"postgresql", "postgres"}:
        raise UsageError(
            "a fleet shares a ledger on a PostgreSQL server: give --ledger postgresql://USER@HOST/DATABASE, or set "
            "ASSIGN_WORKER_LEDGER"
        )
    return url
