"""Cells that a spreadsheet would run, and secrets in what was recorded."""

from __future__ import annotations

import json

import pytest

from worker.masking import MASK
from worker.models import Outcome, Result
from worker.results.safety import PLAIN_FIRST, defuse, mask_result


@pytest.mark.parametrize(
    "cell",
    [
        "=1+1",
        "+cmd|' /C calc'!A0",
        "-2+3=x",
        "@SUM(A1)",
        "\t=1",
        "\tplain",
        "\rplain",
        "\nplain",
        "  =HYPERLINK()",
        "\u00a0=1",
        "\u200b=1",
        "\ufeff@x",
        "\x00=1",
        "--x",
    ],
)
def test_running_cells_are_defused(cell: str) -> None:
    """What would run gets a leading quote, and is looked at a second time at all."""
    assert defuse(cell) == "'" + cell
    assert cell[:1] not in PLAIN_FIRST


@pytest.mark.parametrize(
    "cell", ["", "Ann", "'=1", "+49 (30) 123-45.6", "-5", " - 7", "a=b", "mail@example.org", "[1]", "•", "  x", "é=1"]
)
def test_harmless_cells_stay(cell: str) -> None:
    """Phone numbers, negative numbers and text with such signs further on are left alone."""
    assert defuse(cell) == cell


def test_masked_result_is_the_same_object() -> None:
    """Where nothing is to be masked, nothing is made anew."""
    result = Result(1, Outcome.ASSIGNED, code=MASK, warnings='[{"warning_code": "x", "original_code": null}]')
    assert mask_result(result) is result


def test_recorded_secrets_are_masked_everywhere() -> None:
    """A ledger that was filled with codes gives none away: not in warnings, nor in any text that repeats one."""
    warning = {
        "warning_code": "requested_code_unavailable",
        "message": "4711 was taken, 4712 is used",
        "original_code": "4711",
        "new_code": "4712",
    }
    result = Result(
        1,
        Outcome.ASSIGNED,
        detail="code 1234",
        error_message="1234 again",
        display_name="Door 987654",
        warning_codes="requested_code_unavailable",
        warnings=json.dumps([warning]),
        credential_errors='[{"error_code": "e", "message": "4712 bad"}]',
        code="1234",
        card_number="987654",
    )
    masked = mask_result(result)
    assert (masked.code, masked.card_number) == (MASK, MASK)
    told = json.dumps(masked, ensure_ascii=False)
    assert not [secret for secret in ("1234", "987654", "4711", "4712") if secret in told]
    assert masked.warnings is not None
    assert json.loads(masked.warnings)[0] | {"message": ""} == {
        "warning_code": "requested_code_unavailable",
        "message": "",
        "original_code": None,
        "new_code": None,
    }


def test_pin_of_a_warning_alone_is_found() -> None:
    """A secret that stands in no column but inside the warnings is masked too."""
    result = Result(1, Outcome.ASSIGNED, warnings='[{"warning_code": "w", "message": "m", "pin": 4711}]')
    assert "4711" not in (mask_result(result).warnings or "")
