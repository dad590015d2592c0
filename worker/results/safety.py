"""What must not stand in a results file: cells that a spreadsheet would run, and secrets nobody asked for."""

from __future__ import annotations

import json
import re
from string import ascii_letters, digits
from typing import TYPE_CHECKING, Final

from worker.masking import MASK, mask_in, secrets_of, warning_record
from worker.seam import AcsCredential

if TYPE_CHECKING:
    from worker.models import Result

__all__ = ["PLAIN_FIRST", "defuse", "mask_result"]

PLAIN_FIRST: Final = frozenset(("", *ascii_letters, *digits, *"[{•"))
"""A cell whose first character (or emptiness) is in here needs no second look."""

_RUNS: Final = re.compile(
    r"[\t\r\n]"
    # White space, control and format characters that a spreadsheet may skip in front of a formula.
    r"|[\s\x00-\x1f\x7f-\x9f\xad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]*[=+\-@]"
)
_NUMBER: Final = re.compile(r"[0-9 +\-.()]*")


def defuse(cell: str) -> str:
    """The cell with a leading `'` where a spreadsheet would run it; phone numbers stay (DESIGN 11.16)."""
    if _RUNS.match(cell) and not _NUMBER.fullmatch(cell):
        return "'" + cell
    return cell


_SECRET_VALUE: Final = re.compile(r'"(?!warning_code")[^"]*(?:code|pin|card_?number)": ?[^n ]', re.IGNORECASE)
"""A secret field of a warning that is not null; it may find too much, never too little."""


def mask_result(result: Result) -> Result:
    """The result without PINs and card numbers, in whatever way they were recorded."""
    code, card_number, warnings = result.code, result.card_number, result.warnings
    if (
        (code is None or code == MASK)
        and (card_number is None or card_number == MASK)
        and (warnings is None or not _SECRET_VALUE.search(warnings))
    ):
        return result
    credential = AcsCredential(
        acs_credential_id="",
        code=None if code == MASK else code,
        card_number=None if card_number == MASK else card_number,
        warnings=json.loads(warnings or "[]"),
    )
    secrets = secrets_of(credential)
    records = [warning_record(warning, secrets, include_codes=False) for warning in credential.warnings]
    return result._replace(
        code=MASK if code else None,
        card_number=MASK if card_number else None,
        warnings=json.dumps(records, ensure_ascii=False) if warnings else None,
        detail=mask_in(result.detail, secrets),
        error_message=mask_in(result.error_message, secrets),
        display_name=mask_in(result.display_name, secrets),
        credential_errors=mask_in(result.credential_errors, secrets),
    )
