"""PINs, card numbers and keys in other people's words, in whatever form they stand there."""

from __future__ import annotations

import json
from base64 import b64encode
from urllib.parse import quote

import pytest

from worker.masking import MASK, is_secret, mask_in, mask_spelt, secrets_of, spellings_of, warning_record
from worker.models import Outcome, Result
from worker.results.safety import mask_result
from worker.seam import AcsCredential

KEY = "seam_canary7key9/value+x"
CARD = "04a1b2c3d4e5f6"


@pytest.mark.parametrize(
    "name",
    [
        "code",
        "pin",
        "new_pin",
        "requested_access_code",
        "newCode",
        "PIN",
        "pin_code",
        "pin-code",
        "cardNumber",
        "card_number",
    ],
)
def test_fields_that_are_secret_by_their_name(name: str) -> None:
    """What no schema knows yet, too: nothing of it is kept, or told in another text."""
    warning = {"warning_code": "odd", "message": "553311 was taken", name: 553311}
    credential = AcsCredential.model_validate({"acs_credential_id": "c", "warnings": [warning]})
    secrets = secrets_of(credential)
    assert secrets == ("553311",)
    kept = warning_record(credential.warnings[0], secrets, include_codes=False)
    assert kept == {"warning_code": "odd", "message": f"{MASK} was taken", name: None}
    open_record = warning_record(credential.warnings[0], secrets, include_codes=True)
    masked = mask_result(Result(1, Outcome.ASSIGNED, warnings=json.dumps([open_record])))
    assert masked.warnings == json.dumps([kept], ensure_ascii=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [("warning_code", "1234"), ("errorCode", "1234"), ("status_code", 404), ("has_code", True), ("barcodes", "1")],
)
def test_fields_that_are_not_secret(name: str, value: object) -> None:
    """Codes that name a thing, and whether there is one."""
    assert not is_secret(name, value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"card {CARD}", f"card {MASK}"),
        (f"card {CARD.upper()}.", f"card {MASK}."),
        ("card 04:A1:B2:C3:D4:E5:F6 is", f"card {MASK} is"),
        ("card 04-a1-b2-c3 d4 e5 f6 is", f"card {MASK} is"),
        ("739 152 and 739-152", f"{MASK} and {MASK}"),
        ("on 2026-03-01 at 12:34", "on 2026-03-01 at 12:34"),
        ("1234 at 12:34", f"{MASK} at 12:34"),
    ],
)
def test_a_number_in_parts(text: str, told: str) -> None:
    """As lock makers write card numbers; a short PIN is looked for as a whole only."""
    assert mask_in(text, (CARD, "739152", "1234", "0301")) == told


def test_a_number_that_comes_in_parts_itself() -> None:
    """And stands whole elsewhere."""
    assert mask_in("04A1B2C3D4E5F6", ("04:a1:b2:c3:d4:e5:f6",)) == MASK


@pytest.mark.parametrize(
    "spelt",
    [
        KEY,
        KEY.upper(),
        quote(KEY, safe=""),
        quote(KEY, safe="").replace("_", "%5F").lower(),
        b64encode(KEY.encode()).decode(),
        b64encode(f"{KEY}:".encode()).decode(),
        b64encode(f"x:{KEY}".encode()).decode(),
        b64encode(f"bob:{KEY}\n".encode(), altchars=b"-_").decode(),
    ],
)
def test_a_key_in_another_spelling(spelt: str) -> None:
    """All of it, but what belongs to its neighbours in base64 as well."""
    told = mask_spelt(f"not for {spelt}!", spellings_of([KEY]))
    assert told.startswith("not for ")
    assert MASK in told
    assert len(told) <= len(f"not for {MASK}!") + 12
    assert "canary" not in told.lower()


def test_a_short_password_is_not_looked_for() -> None:
    """It would blank half of each message."""
    assert mask_spelt("a proxy", spellings_of(["a", "pr"])) == "a proxy"
