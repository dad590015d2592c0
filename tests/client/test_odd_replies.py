"""Replies that no service ought to give: what is kept of them can be stored and shown, and nothing raises."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.client.raw_server import reply, says, serving
from tests.client.test_wire import FULL, JOB, assign_at
from worker.models import Attempt, Call, Verdict
from worker.outcomes import assigned
from worker.replies import Reading, read_reply, tidy
from worker.retry import parse_retry_after

NOW = datetime(2026, 8, 21, 9, tzinfo=UTC)


async def test_a_request_id_that_is_no_text_can_be_stored() -> None:
    """A header is bytes of any kind; what stands in a result is UTF-8."""
    raw = reply(FULL).replace(b"\r\n\r\n", b"\r\nseam-request-id: r\xff\xfe-7\r\n\r\n", 1)
    async with serving(says(raw)) as server:
        attempt = await assign_at(server.url)
    assert attempt.verdict is Verdict.DONE
    assert (attempt.request_id or "").encode() == b"r -7"


@pytest.mark.parametrize("odd", [0xD800, 0xDCFF, 0xDFFF, 0xFEFF, 0x061C, 0x202E, 0, 0x9B])
def test_tidy_leaves_nothing_that_cannot_be_stored_or_shown(odd: int) -> None:
    """Lone surrogates have no UTF-8; a mark of direction or of byte order changes how a line is read."""
    assert tidy(f"a{chr(odd)}b") == "a b"


@pytest.mark.parametrize(
    "header",
    [
        "Wed, 21 Oct 2015 07:28:00 +99999999999999",
        "Wed, 21 Oct 2015 07:28:00 -99999999999999999999",
        "Sat, 01 Jan 10000000000000000000000 00:00:00 GMT",
        "1 Jan 2015 9999999999999999999999:00:00",
        "Wed, 21 Oct 99999 07:28:00 GMT",
        "nan",
        "1e400",
        "9" * 5000,
        "\udcff",
        "",
    ],
)
def test_a_retry_after_that_is_garbage_is_ignored(header: str) -> None:
    """Numbers beyond what a date can be are garbage too."""
    assert parse_retry_after(header, now=NOW) is None


def test_a_retry_after_that_is_a_date() -> None:
    """In any zone; one in the past asks for no wait."""
    later = (NOW + timedelta(seconds=90)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert parse_retry_after(later, now=NOW) == 90.0
    assert parse_retry_after("Fri, 21 Aug 2026 11:01:00 +0200", now=NOW) == 60.0
    assert parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT", now=NOW) == 0.0


def credential(**fields: object) -> dict[str, object]:
    """The credential of `JOB`, given to its person, with whatever else is to stand in it."""
    return {"acs_credential_id": JOB.acs_credential_id, "acs_user_id": JOB.user_id, **fields}


def read(call: Call, body: object, status: int = 200) -> Reading:
    """What a reply without a request id says."""
    return read_reply(call, status, json.dumps(body).encode(), has_request_id=False)


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"warnings": None, "errors": None}, {"warnings": (), "errors": ()}),
        ({"warnings": {"warning_code": "x"}, "errors": "none"}, {"warnings": (), "errors": ()}),
        ({"code": 1234, "card_number": 5.5}, {"code": "1234", "card_number": "5.5"}),
        ({"is_issued": "maybe", "issued_at": 17}, {"is_issued": None, "issued_at": "17"}),
        ({"display_name": ["x"], "access_method": True}, {"display_name": None, "access_method": None}),
        ({"visionline_metadata": [], "starts_at": {}}, {"visionline_metadata": None, "starts_at": None}),
        ({"display_name": "half a smile \ud83d"}, {"display_name": "half a smile \ufffd"}),
        ({"display_name": "a\0b", "access_method": "\0"}, {"display_name": "a\ufffdb", "access_method": "\ufffd"}),
    ],
)
@pytest.mark.parametrize("call", [Call.ASSIGN, Call.GET, Call.LIST])
def test_what_decides_nothing_fails_no_reply(call: Call, fields: dict[str, object], found: dict[str, object]) -> None:
    """A reply that names the credential and its owner says enough, whatever else stands in it."""
    one = credential(**fields)
    reading = read(call, {"acs_credentials": [one], "ok": True} if call is Call.LIST else {"acs_credential": one})
    assert reading.verdict is Verdict.DONE
    told = reading.credential or reading.credentials[0]
    assert (told.acs_credential_id, told.acs_user_id) == (JOB.acs_credential_id, JOB.user_id)
    assert {name: getattr(told, name) for name in found} == found


def test_odd_warnings_are_not_lost() -> None:
    """What cannot be read of one is left out, the warning itself is not."""
    odd = [{"warning_code": None, "message": None}, "x", None, {"warning_code": 5, "new_code": 1234, "message": "1234"}]
    told = read(Call.ASSIGN, {"acs_credential": credential(warnings=odd, errors=[{"error_code": 7}])}).credential
    assert told is not None
    assert [(each.warning_code, each.message) for each in told.warnings] == [
        ("unknown", ""),
        ("unknown", "x"),
        ("unknown", ""),
        ("5", "1234"),
    ]
    assert [each.error_code for each in told.errors] == ["7"]
    result = assigned(JOB, Attempt(Call.ASSIGN, Verdict.DONE, 1.0, 0.1, 200), told, include_codes=False)
    assert "1234" not in (result.warnings or "")


@pytest.mark.parametrize(
    "fields",
    [
        {"acs_credential_id": 7},
        {"acs_user_id": 7},
        {"acs_user_id": ["22222222-2222-2222-2222-222222222222"]},
        {"user_identity_id": {}},
        {"workspace_id": 7},
        {"acs_system_id": False},
    ],
)
def test_an_id_that_is_no_text_is_not_guessed(fields: dict[str, object]) -> None:
    """Whose the credential is must be told as it should be."""
    reading = read(Call.GET, {"acs_credential": credential(code=1234, **fields)})
    assert (reading.verdict, reading.error_type) == (Verdict.AMBIGUOUS, "unusable_reply")


def test_no_id_becomes_another_by_what_cannot_be_stored() -> None:
    """A NUL is replaced, not left out: else a stranger's id could become the row's."""
    told = read(Call.GET, {"acs_credential": credential(acs_user_id=JOB.user_id + "\0")}).credential
    assert told is not None
    assert told.acs_user_id == JOB.user_id + "\ufffd"


def test_a_result_holds_nothing_that_a_database_refuses() -> None:
    """PostgreSQL stores no NUL, wherever in a credential it stood."""
    texts = dict.fromkeys(("display_name", "access_method", "external_type", "starts_at"), "a\0b")
    odd = [{"warning_code": "a\0b", "message": "\0x", "a\0": "\0"}]
    one = credential(**texts, code="98\x0076", warnings=odd, errors=[{"error_code": "\0"}])
    reading = read(Call.ASSIGN, {"acs_credential": one})
    attempt = Attempt(Call.ASSIGN, Verdict.DONE, 1.0, 0.1, 200, credential=reading.credential)
    for include_codes in (False, True):
        result = assigned(JOB, attempt, reading.credential, include_codes=include_codes)
        assert result.display_name == "a\ufffdb"
        assert not any("\0" in value or "\\u0000" in value for value in result if isinstance(value, str))


@pytest.mark.parametrize(
    "error",
    [
        {"type": "acs_user_not_found", "message": None},
        {"type": "acs_user_not_found", "message": ["x"], "validation_errors": ["y"]},
        {"type": "acs_user_not_found", "message": "\udc80", "validation_errors": 5},
    ],
)
def test_an_error_of_odd_shape_is_seams_all_the_same(error: dict[str, object]) -> None:
    """A 404 without a request id, in Seam's form, is of the row and not of the URL."""
    reading = read(Call.ASSIGN, {"error": error}, 404)
    assert (reading.verdict, reading.error_type) == (Verdict.REFUSED, "acs_user_not_found")


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 100_000, b'{"acs_credential": ' + b"9" * 5000 + b"}"])
@pytest.mark.parametrize("call", list(Call))
def test_no_reply_is_too_odd_to_be_judged(call: Call, body: bytes) -> None:
    """However deep or long."""
    assert read_reply(call, 200, body, has_request_id=False).verdict is Verdict.AMBIGUOUS
    assert read_reply(call, 400, body, has_request_id=False).verdict is Verdict.REFUSED


@pytest.mark.parametrize("call", list(Call))
@pytest.mark.parametrize("error", [{"type": "x", "message": "not done"}, "x", {}, 0])
def test_a_success_that_tells_of_an_error_is_none(call: Call, error: object) -> None:
    """Whatever else it says: it contradicts itself, so nobody knows."""
    said = {
        "acs_credential": credential(),
        "acs_credentials": [credential()],
        "acs_user": {"acs_user_id": JOB.user_id},
        "ok": True,
    }
    assert read(call, said).verdict is Verdict.DONE
    assert read(call, {**said, "error": None}).verdict is Verdict.DONE
    reading = read(call, {**said, "error": error})
    assert (reading.verdict, reading.error_type) == (Verdict.AMBIGUOUS, "unusable_reply")
    assert read(call, {"ok": True, "error": error}).verdict is Verdict.AMBIGUOUS


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK\r\nConnection: close", b"HTTP/1.0 201 Created"])
async def test_a_success_cut_off_after_its_head_is_none(head: bytes) -> None:
    """Without a length, the end of the connection is the end of the body: of which there may have been one."""
    async with serving(says(head + b"\r\n\r\n", close=True)) as server:
        attempt = await assign_at(server.url)
    assert (attempt.verdict, attempt.error_type) == (Verdict.AMBIGUOUS, "reply_cut_short")


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n{}",
    ],
)
async def test_a_void_success_that_is_whole_is_one(raw: bytes) -> None:
    """It says that there is no body, or ends one in order."""
    async with serving(says(raw, close=True)) as server:
        attempt = await assign_at(server.url)
    assert attempt.verdict is Verdict.DONE


async def test_a_refusal_cut_off_after_its_head_is_a_refusal() -> None:
    """Its status says all."""
    async with serving(says(b"HTTP/1.1 401 Unauthorized\r\n\r\n", close=True)) as server:
        attempt = await assign_at(server.url)
    assert attempt.verdict is Verdict.HALT
