"""Four cells to a `Job`, or to a `RejectedRow` with the sentence that says why not."""

from __future__ import annotations

from typing import Final

from worker.models import Job, RejectedRow, UserKey
from worker.readers.options import CREDENTIAL, IDENTITY, USER, WORKSPACE, ReadOptions

__all__ = ["Judge", "shown"]

_EXAMPLE: Final = "0f8fad5b-d9cb-469f-a165-70867728950e"
_LENGTH: Final = 36
_DIGITS: Final = 32
# Every hexadecimal digit becomes 0, so that one comparison proves the form; four times quicker than a regex.
_TO_SHAPE: Final = bytes.maketrans(b"123456789abcdefABCDEF", b"0" * 21)
_SHAPE: Final = b"00000000-0000-0000-0000-000000000000"
_TWO_SHAPES: Final = _SHAPE * 2
_THREE_SHAPES: Final = _SHAPE * 3

# Skip the keyword handling of a named tuple's own constructor: a third of its time, once a row.
_new = tuple.__new__


class Judge:
    """Decides row by row; knows the columns by their names in the file, for the sentences."""

    def __init__(self, options: ReadOptions) -> None:
        self._credential = shown(options.column(CREDENTIAL))
        self._user = shown(options.column(USER))
        self._identity = shown(options.column(IDENTITY))
        self._workspace = shown(options.column(WORKSPACE))

    def judge(  # noqa: PLR0913, PLR0917 - a row's place and its cells, without a wrapper on the quick path
        self, row: int, line: int, credential: str, user: str, identity: str, workspace: str
    ) -> Job | RejectedRow:
        """One row; an empty cell is an absent one."""
        if identity:
            key, one, other = UserKey.USER_IDENTITY, identity, user
        else:
            key, one, other = UserKey.ACS_USER, user, identity
        if (
            not other
            and len(credential) == len(one) == _LENGTH
            and (credential + one + workspace).encode("ascii", "replace").translate(_TO_SHAPE)
            == (_THREE_SHAPES if workspace else _TWO_SHAPES)
        ):
            return _new(Job, (row, line, credential.lower(), key, one.lower(), workspace.lower() or None, False))
        return self._closely(row, line, credential, user, identity, workspace)

    def _closely(self, row: int, line: int, *cells: str) -> Job | RejectedRow:
        credential, user, identity, workspace = (cell.strip() for cell in cells)
        if not credential:
            return RejectedRow(row, line, f"{self._credential} is missing.")
        if user and identity:
            reason = f"Both {self._user} and {self._identity} are given; a row may have only one of them."
            return RejectedRow(row, line, reason)
        if not (user or identity):
            reason = f"Neither {self._user} nor {self._identity} is given; a row needs one of them."
            return RejectedRow(row, line, reason)
        person = (self._identity, identity) if identity else (self._user, user)
        for column, text in ((self._credential, credential), person, (self._workspace, workspace)):
            if text and not _is_uuid(text):
                return RejectedRow(row, line, f"{column} is {_no_uuid(text)}")
        return Job(
            row,
            line,
            credential.lower(),
            UserKey.USER_IDENTITY if identity else UserKey.ACS_USER,
            (identity or user).lower(),
            workspace.lower() or None,
        )


def _is_uuid(text: str) -> bool:
    return text.encode("ascii", "replace").translate(_TO_SHAPE) == _SHAPE


def shown(text: str, limit: int = 40) -> str:
    """A text from a file made fit for a sentence: one line, printable, and short."""
    head = text[: limit + 1]
    if not head.isprintable():
        head = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in head)
    return head if len(head) <= limit else head[: limit - 1] + "…"


def _no_uuid(text: str) -> str:
    digits = text.lower().removeprefix("urn:uuid:").strip("{}()").replace("-", "")
    if len(digits) == _DIGITS and all(digit in "0123456789abcdef" for digit in digits):
        return f'"{shown(text)}": write the UUID in 36 characters with hyphens alone, as in {_EXAMPLE}.'
    return f'"{shown(text)}", which is no UUID of 36 characters, as in {_EXAMPLE}.'
