"""Whether a request goes wrong, and how: the same seed, id and count give the same answer."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Generic, TypeVar

from worker.simulator.fault_settings import ErrorForm, Fault

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ALWAYS_APPLIED", "NEVER_APPLIED", "Picker", "error_form"]

Kind = TypeVar("Kind")

_RANGE = 2.0**32
_FORMS = (ErrorForm.JSON, ErrorForm.HTML, ErrorForm.TEXT, ErrorForm.EMPTY)

NEVER_APPLIED = frozenset(
    {
        Fault.FORBIDDEN_403,
        Fault.RESET_BEFORE,
        Fault.LATE,
        Fault.REDIRECT_301,
        Fault.REDIRECT_302,
        Fault.REDIRECT_303,
        Fault.REDIRECT_307,
        Fault.REDIRECT_308,
    }
)
"""Nothing is done before the fault."""

ALWAYS_APPLIED = frozenset(
    {
        Fault.RESET_AFTER,
        Fault.RESET_MID_BODY,
        Fault.DRIP,
        Fault.TRUNCATED_JSON,
        Fault.WRONG_TYPE,
        Fault.HUGE_BODY,
        Fault.GZIP_BOMB,
        Fault.LENGTH_TOO_LONG,
        Fault.LENGTH_TOO_SHORT,
        Fault.HTTP10_CLOSE,
        Fault.STRAY_CLOSE,
        Fault.UNASKED_CONTINUE,
        Fault.OTHER_CREDENTIAL,
        Fault.OTHER_USER,
    }
)
"""What was asked for is done before the fault. The kinds in neither set go by `Faults.applied_share`."""


class Picker(Generic[Kind]):
    """Maps a 32-bit number onto kinds by their shares, for the first `times` requests of a key."""

    def __init__(self, shares: Mapping[Kind, float], times: int) -> None:
        self._kinds = [kind for kind, share in shares.items() if share > 0]
        self._times = times
        self._bounds: list[float] = []
        total = 0.0
        for kind in self._kinds:
            total += shares[kind]
            self._bounds.append(total * _RANGE)
        self._hits: dict[bytes, int] = {}

    def kind_of(self, number: int) -> Kind | None:
        """The kind whose share holds the number, not counting."""
        place = bisect_right(self._bounds, number)
        return self._kinds[place] if place < len(self._kinds) else None

    def pick(self, key: bytes, number: int) -> Kind | None:
        """The fault of this request, counted against the key's `times`; None where it goes well."""
        if not self._kinds:
            return None
        kind = self.kind_of(number)
        if kind is None or self._times == 0:
            return kind
        hits = self._hits.get(key, 0)
        if hits >= self._times:
            return None
        self._hits[key] = hits + 1
        return kind


def error_form(form: ErrorForm, number: int) -> ErrorForm:
    """One of the four plain forms; `mixed` goes by the number."""
    return _FORMS[number % len(_FORMS)] if form is ErrorForm.MIXED else form
