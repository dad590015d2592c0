"""What each thing that a network can do means: the verdict, and what the other side got to see."""

from __future__ import annotations

import asyncio
import gzip
import json
import resource
import ssl
from base64 import b64encode
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from tests.client.raw_server import RawServer, never, reply, says, serving
from worker.client import SeamClient
from worker.config import Settings
from worker.models import Attempt, Call, Job, StopCause, UserKey, Verdict
from worker.wire import LARGEST_BODY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

KEY = "seam_canary7key9value"
JOB = Job(1, 2, "11111111-1111-1111-1111-111111111111", UserKey.ACS_USER, "22222222-2222-2222-2222-222222222222")
FULL = (
    b'{"acs_credential": {"acs_credential_id": "11111111-1111-1111-1111-111111111111", "acs_user_id": '
    b'"22222222-2222-2222-2222-222222222222", "is_managed": true, "warnings": [], "errors": [], "new_field": 1, '
    b'"access_method": "telepathy"}, "ok": true}'
)


@asynccontextmanager
async def client_for(endpoint: str, *, deadline: float = 5.0, **options: Any) -> AsyncIterator[SeamClient]:
    """A client with the canary key."""
    settings = Settings.from_options(api_key=KEY, endpoint=endpoint, **options)
    async with SeamClient(settings.target, concurrency=4, timeout=deadline) as client:
        yield client


async def assign_at(endpoint: str, **options: Any) -> Attempt:
    """One assign call."""
    async with client_for(endpoint, **options) as client:
        return await client.assign(JOB)


async def test_calls_beyond_the_limit_of_connections_wait_for_others_to_end() -> None:
    """As where jobs of a fleet share them: none hangs until its deadline, and one that gives up holds up nobody."""
    async with serving(says(reply(FULL))) as server, client_for(server.url) as client:
        calls = [asyncio.ensure_future(client.assign(JOB)) for _ in range(40)]
        await asyncio.sleep(0)
        calls[10].cancel()
        done = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 2.5)
        await client.assign(JOB)
    assert isinstance(done.pop(10), asyncio.CancelledError)
    assert [attempt.verdict for attempt in done if isinstance(attempt, Attempt)] == [Verdict.DONE] * 39
    assert server.connections <= 4


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (FULL, "200 OK"),
        (b'{"ok": true}', "200 OK"),
        (b"{}", "200 OK"),
        (b"", "200 OK"),
        (b"", "204 No Content"),
        (b"{}", "201 Created"),
        (b' {"ok" : true}\n', "200 OK"),
    ],
)
async def test_what_counts_as_success(body: bytes, status: str) -> None:
    """A full body, `{"ok": true}`, `{}`, an empty body and 204."""
    async with serving(says(reply(body, status=status, headers="seam-request-id: r-1\r\n"))) as server:
        attempt = await assign_at(server.url)
    assert (attempt.verdict, attempt.request_id) == (Verdict.DONE, "r-1")
    assert (attempt.credential is not None) == (body is FULL)


@pytest.mark.parametrize(
    "body",
    [
        b'{"ok": false}',
        b'{"error": {"type": "internal_error", "message": "x"}}',
        b'{"message": "Service Unavailable"}',
        b'{"acs_credential": {"acs_credential_id": "x"}, "ok": false}',
        b"<html><body>Welcome</body></html>",
        b'{"acs_credential": {"acs_cred',
        b"[]",
        b'"ok"',
        b"null",
        b'{"acs_credential": 7}',
        b"\xff\xfe{}",
    ],
)
async def test_what_does_not(body: bytes) -> None:
    """A 2xx that says something else leaves it open whether it was applied."""
    async with serving(says(reply(body))) as server:
        attempt = await assign_at(server.url)
    assert (attempt.verdict, attempt.error_type) == (Verdict.AMBIGUOUS, "unusable_reply")


_ERROR = b'{"error": {"type": "some_type", "message": "Some message"}, "ok": false}'
_ID = "seam-request-id: r-2\r\n"


@pytest.mark.parametrize(
    ("status", "body", "headers", "verdict", "stop"),
    [
        ("400 Bad Request", _ERROR, _ID, Verdict.REFUSED, None),
        ("400 Bad Request", b"malformed", "", Verdict.REFUSED, None),
        ("401 Unauthorized", b"who?", "", Verdict.HALT, StopCause.KEY_REFUSED),
        ("401 Unauthorized", _ERROR, _ID, Verdict.HALT, StopCause.KEY_REFUSED),
        ("403 Forbidden", _ERROR, _ID, Verdict.FORBIDDEN, None),
        ("403 Forbidden", b"<html>no</html>", "", Verdict.HALT, StopCause.KEY_REFUSED),
        ("404 Not Found", _ERROR, _ID, Verdict.REFUSED, None),
        ("404 Not Found", b"Not Found", "", Verdict.HALT, StopCause.WRONG_URL),
        ("404 Not Found", b"<html>nginx</html>", "", Verdict.HALT, StopCause.WRONG_URL),
        ("405 Method Not Allowed", _ERROR, _ID, Verdict.REFUSED, None),
        ("408 Request Timeout", b"", "", Verdict.AMBIGUOUS, None),
        ("409 Conflict", _ERROR, _ID, Verdict.AMBIGUOUS, None),
        ("413 Payload Too Large", b"", "", Verdict.REFUSED, None),
        ("413 Payload Too Large", b"<html>too large</html>", "", Verdict.REFUSED, None),
        ("421 Misdirected Request", b"<html>elsewhere</html>", "", Verdict.HALT, StopCause.WRONG_URL),
        ("421 Misdirected Request", _ERROR, "", Verdict.REFUSED, None),
        ("422 Unprocessable", _ERROR, _ID, Verdict.REFUSED, None),
        ("422 Unprocessable", b"no", "", Verdict.REFUSED, None),
        ("429 Too Many Requests", b"<html>slow</html>", "", Verdict.LIMITED, None),
        ("451 Unavailable", b"blocked", "", Verdict.HALT, StopCause.WRONG_URL),
        ("451 Unavailable", b"blocked", _ID, Verdict.REFUSED, None),
        ("500 Internal Server Error", _ERROR, _ID, Verdict.AMBIGUOUS, None),
        ("502 Bad Gateway", b"<html>bad</html>", "", Verdict.AMBIGUOUS, None),
        ("503 Service Unavailable", b"", "", Verdict.AMBIGUOUS, None),
        ("599 Odd", b"", "", Verdict.AMBIGUOUS, None),
    ],
)
async def test_statuses(status: str, body: bytes, headers: str, verdict: Verdict, stop: StopCause | None) -> None:
    """DESIGN 7's table by status."""
    async with serving(says(reply(body, status=status, headers=headers))) as server:
        attempt = await assign_at(server.url)
    assert (attempt.verdict, attempt.stop, attempt.status) == (verdict, stop, int(status[:3]))


async def test_validation_errors_are_told() -> None:
    """The fields that Seam complains of stand in the message."""
    body = (
        b'{"error": {"type": "invalid_input", "message": "Invalid input", "validation_errors": '
        b'{"_errors": [], "acs_user_id": {"_errors": ["Invalid UUID"]}}}}'
    )
    async with serving(says(reply(body, status="400 Bad Request"))) as server:
        attempt = await assign_at(server.url)
    assert attempt.error_message == "Invalid input (acs_user_id: Invalid UUID)"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "an empty reply"),
        (b"<html><h1>Bad\r\nGateway</h1></html>", "Bad Gateway"),
        ("<html>Größe überschritten</html>".encode("latin-1"), "Gr\ufffd\ufffde \ufffdberschritten"),
        (b'[{"code": "1234"}]', "a reply of 18 bytes of JSON in no form of Seam's errors"),
        (b')]}\',\n{"code":"1234"}', "a reply of 21 bytes with JSON in it, in no form of Seam's errors"),
        (b'de":"1234","card_number":"5"}', "a reply of 29 bytes with JSON in it, in no form of Seam's errors"),
        (b'"{\\"code\\": \\"1234\\"}"', "a reply of 22 bytes with JSON in it, in no form of Seam's errors"),
        (b"{'code' : '1234'}"[1:], "a reply of 16 bytes with JSON in it, in no form of Seam's errors"),
        (b"<a href='/x'>Sorry: 12:34</a>", "Sorry: 12:34"),
        (b"\x1f\x8b\x08\x00" + b"\xc1\x31" * 20, "a reply of 44 bytes that is no text"),
        (b"\0" * 100, "a reply of 100 bytes that is no text"),
    ],
)
async def test_a_reply_that_is_not_seams_is_told_in_words(body: bytes, told: str) -> None:
    """Whatever a proxy says may help; bytes that are no text help nobody."""
    async with serving(says(reply(body, status="503 Service Unavailable"))) as server:
        attempt = await assign_at(server.url)
    assert attempt.error_message == told


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("Retry-After: 7\r\n", 7.0),
        ("Retry-After: soon\r\n", None),
        ("Retry-After: -3\r\n", None),
        ("Retry-After: 9999999999999999999\r\n", None),
        ("", None),
    ],
)
async def test_retry_after(header: str, seconds: float | None) -> None:
    """Seconds are taken, garbage is ignored."""
    async with serving(says(reply(b"", status="429 Slow", headers=header))) as server:
        attempt = await assign_at(server.url)
    assert attempt.retry_after == seconds


async def test_retry_after_as_a_date() -> None:
    """An HTTP date counts from now."""
    moment = datetime.now(UTC) + timedelta(seconds=60)
    header = f"Retry-After: {moment:%a, %d %b %Y %H:%M:%S} GMT\r\n"
    async with serving(says(reply(b"", status="429 Slow", headers=header))) as server:
        attempt = await assign_at(server.url)
    assert attempt.retry_after is not None
    assert 57.0 < attempt.retry_after <= 60.0


@pytest.mark.parametrize(
    ("answer", "kinds"),
    [
        (says(reset=True), {"connection_reset", "connection_closed"}),
        (says(close=True), {"connection_closed"}),
        (says(reply(FULL)[:90], close=True), {"reply_cut_short"}),
        (says(reply(FULL)[:90], reset=True), {"reply_cut_short", "connection_reset"}),
        (says(reply(FULL, length=len(FULL) + 50), close=True), {"reply_cut_short"}),
        (says(b"HTTP/1.1 200 OK\r\nContent-Le", close=True), {"connection_closed"}),
        (says(b"\x16\x03\x01 what is this\r\n\r\n", close=True), {"broken_reply"}),
        (says(b"HTTP/1.1 200 OK\r\nContent-Length: nine\r\n\r\n{}", close=True), {"broken_reply"}),
        (
            says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n"),
            {"reply_cut_short", "broken_reply"},
        ),
        (says(b"HTTP/1.1 100 Continue\r\n\r\n", reply(b"", status="502 Bad")), {"http_502"}),
    ],
)
async def test_broken_connections_are_ambiguous(answer: object, kinds: set[str]) -> None:
    """Sent, and cut off before a whole reply came: nobody knows."""
    async with serving(answer) as server:  # type: ignore[arg-type] # a parameter
        attempt = await assign_at(server.url)
    assert attempt.verdict is Verdict.AMBIGUOUS
    assert attempt.error_type in kinds


async def test_a_content_length_that_is_too_short_is_no_success() -> None:
    """Half of the JSON counts as nothing, and the rest does not become the next reply."""
    async with serving(says(reply(FULL, length=40))) as server, client_for(server.url) as client:
        first = await client.assign(JOB)
        second = await client.assign(JOB)
    assert first.verdict is Verdict.AMBIGUOUS
    assert second.verdict is Verdict.AMBIGUOUS


@pytest.mark.parametrize("how", ["silent", "drip"])
async def test_a_reply_that_never_ends_meets_the_deadline(how: str) -> None:
    """One deadline around the whole attempt: a byte now and then does not move it."""

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in reply(FULL):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.05)

    async with serving(never if how == "silent" else drip) as server:
        attempt = await assign_at(server.url, deadline=0.3)
    assert (attempt.verdict, attempt.error_type) == (Verdict.AMBIGUOUS, "timeout")
    assert 0.25 < attempt.duration < 2.0


async def test_http_1_0_and_stray_closes_do_no_harm() -> None:
    """A server that closes after each reply costs connections, not rows."""
    answer = says(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + FULL, close=True)
    async with serving(answer) as server, client_for(server.url) as client:
        verdicts = [(await client.assign(JOB)).verdict for _ in range(5)]
    assert verdicts == [Verdict.DONE] * 5
    assert server.connections == 5


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
async def test_redirects_are_not_followed(status: str) -> None:
    """The other host sees no request at all: no token, no body."""
    async with serving(says(reply())) as other:
        headers = f"Location: {other.url}/acs/credentials/assign\r\n"
        async with serving(says(reply(b"", status=status, headers=headers))) as server:
            attempt = await assign_at(server.url)
    assert (attempt.verdict, attempt.stop) == (Verdict.HALT, StopCause.WRONG_URL)
    assert other.connections == 0
    assert len(server.requests) == 1


async def test_what_is_sent() -> None:
    """Exactly the documented request: one user id, the key once, no compressed reply wanted."""
    async with serving(says(reply())) as server:
        await assign_at(server.url + "/")
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /acs/credentials/assign HTTP/1.1\r\n")
    assert head.count(KEY.encode()) == 1
    assert b"Authorization: Bearer " + KEY.encode() in head
    assert b"Accept-Encoding: identity" in head
    assert b"assign-worker/" in head
    assert body == (
        b'{"acs_credential_id":"11111111-1111-1111-1111-111111111111",'
        b'"acs_user_id":"22222222-2222-2222-2222-222222222222"}'
    )


async def test_a_gigabyte_is_not_read() -> None:
    """At most 1 MiB of a reply is taken, and memory stays flat."""

    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
        for _piece in range(1024):
            writer.write(b" " * 1048576)
            await writer.drain()

    async with serving(flood) as server:
        await assign_at(server.url)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        attempt = await assign_at(server.url)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (attempt.verdict, attempt.error_type) == (Verdict.AMBIGUOUS, "reply_too_large")
    assert str(LARGEST_BODY) in (attempt.error_message or "")
    assert after - before < 8 * 1024


async def test_a_compression_bomb_is_not_unpacked() -> None:
    """Nothing was asked to be compressed, so nothing is decompressed."""
    bomb = gzip.compress(b" " * (64 * 1024 * 1024))
    async with serving(says(reply(bomb, headers="Content-Encoding: gzip\r\n"))) as server:
        await assign_at(server.url)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        attempt = await assign_at(server.url)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert attempt.verdict is Verdict.AMBIGUOUS
    assert after - before < 8 * 1024


async def test_a_refused_port_was_never_sent() -> None:
    """No connection, nothing sent."""
    async with serving(never) as server:
        url = server.url
    attempt = await assign_at(url)
    assert (attempt.verdict, attempt.error_type) == (Verdict.NEVER_SENT, "connection_refused")


async def test_an_unknown_host_was_never_sent() -> None:
    """DNS failure: nothing sent."""
    attempt = await assign_at("https://no-such-host.invalid")
    assert (attempt.verdict, attempt.error_type) == (Verdict.NEVER_SENT, "dns_failed")


@pytest.mark.parametrize(
    ("status", "verdict", "stop"),
    [
        ("407 Proxy Authentication Required", Verdict.HALT, StopCause.PROXY),
        ("502 Bad Gateway", Verdict.NEVER_SENT, None),
    ],
)
async def test_a_proxy_that_does_not_connect(status: str, verdict: Verdict, stop: StopCause | None) -> None:
    """CONNECT was refused: the key never left for anywhere."""
    async with serving(says(reply(b"", status=status), close=True)) as proxy:
        attempt = await assign_at("https://connect.getseam.com", proxy=proxy.url)
    assert (attempt.verdict, attempt.stop) == (verdict, stop)
    assert proxy.requests[0].startswith(b"CONNECT connect.getseam.com:443 ")
    assert KEY.encode() not in b"".join(proxy.requests)


async def test_a_key_in_a_success_is_not_kept() -> None:
    """In a name, a warning or an error of the credential, which go into the ledger as they are."""
    said = json.loads(FULL)
    said["acs_credential"] |= {
        "display_name": f"opened by {KEY}",
        "warnings": [{"warning_code": "odd", "message": f"sent with {KEY}"}],
        "errors": [{"error_code": "odd", "message": f"sent with {KEY}"}],
    }
    async with serving(says(reply(json.dumps(said).encode()))) as server:
        attempt = await assign_at(server.url)
    assert attempt.verdict is Verdict.DONE
    assert attempt.credential is not None
    assert attempt.credential.display_name == "opened by ••••"
    assert KEY not in repr(attempt.credential)


@pytest.mark.parametrize("status", ["407 Who are %s", "403 No %s", "502 Bad %s"])
async def test_a_proxys_password_is_not_told(status: str) -> None:
    """Neither with the proxy's URL, in whatever spelling, nor in what it says itself."""
    spellings = ("canary%21word", "canary!word", "canary!Word", b64encode(b"bob:canary!word").decode())
    async with serving(says(reply(b"", status=status % " ".join(spellings)), close=True)) as proxy:
        url = proxy.url.replace("//", "//bob:canary%21word@")
        attempt = await assign_at("https://connect.getseam.com", proxy=url)
    assert attempt.error_type == f"proxy_{status[:3]}"
    assert attempt.error_message is not None
    assert attempt.error_message.startswith(f"{status[:3]} {status[4:-3]}")
    assert "canary" not in attempt.error_message.lower()
    assert "http" not in attempt.error_message
    assert spellings[-1][8:16] not in attempt.error_message


async def test_a_proxy_that_is_down() -> None:
    """The proxy's port is refused."""
    async with serving(never) as server:
        url = server.url
    attempt = await assign_at("https://connect.getseam.com", proxy=url)
    assert attempt.verdict is Verdict.NEVER_SENT


@pytest.mark.parametrize("fault", ["wrong_host", "expired", "self_signed"])
async def test_certificates_that_cannot_be_trusted(fault: str, tmp_path: Path) -> None:
    """TLS trouble ends the run; nothing was sent over that connection."""
    authority, other = trustme.CA(), trustme.CA()
    past = datetime.now(UTC) - timedelta(days=2)
    certificate = {
        "wrong_host": lambda: authority.issue_cert("elsewhere.example"),
        "expired": lambda: authority.issue_cert("localhost", not_after=past),
        "self_signed": lambda: other.issue_cert("localhost"),
    }[fault]()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    trusted = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(trusted))
    async with serving(says(reply()), context=context) as server:
        attempt = await assign_at(f"https://localhost:{server.port}", ca_file=trusted)
    assert (attempt.verdict, attempt.stop) == (Verdict.HALT, StopCause.TLS)
    assert server.requests == []


async def test_a_certificate_that_can(tmp_path: Path) -> None:
    """`--ca-file` names a private authority."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    trusted = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(trusted))
    async with serving(says(reply(FULL)), context=context) as server:
        attempt = await assign_at(f"https://localhost:{server.port}", ca_file=trusted)
    assert attempt.verdict is Verdict.DONE


async def test_an_echoed_key_is_masked() -> None:
    """A service that repeats the key in its message does not get it into our records."""
    body = b'{"error": {"type": "invalid_input", "message": "bad header Bearer ' + KEY.encode() + b'\\n\\u001b[31m"}}'
    async with serving(says(reply(body, status="400 Bad Request"))) as server:
        attempt = await assign_at(server.url)
    assert attempt.error_message is not None
    assert KEY not in attempt.error_message
    assert attempt.error_message.isprintable()


async def test_cookies_are_not_kept() -> None:
    """A session with the service has no memory but the key."""
    async with serving(says(reply(headers="Set-Cookie: a=b\r\n"))) as server, client_for(server.url) as client:
        await client.assign(JOB)
        await client.assign(JOB)
    assert b"cookie" not in server.requests[1].lower()


async def test_reading_calls() -> None:
    """get, list and users/get ask for what they should and read what they get."""
    page = (
        b'{"acs_credentials": [{"acs_credential_id": "A"}], "ok": true, '
        b'"pagination": {"next_page_cursor": "c", "has_next_page": true, "next_page_url": null}}'
    )
    user = b'{"acs_user": {"acs_user_id": "U", "acs_system_id": "s"}, "ok": true}'
    bodies = {b"/get": FULL, b"/list": page, b"users/get": user}

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = server.requests[-1].split(b" ")[1]
        writer.write(reply(next(body for end, body in reversed(bodies.items()) if path.endswith(end))))
        await writer.drain()

    server: RawServer
    async with serving(answer) as server, client_for(server.url) as client:
        read = await client.get(None, JOB.acs_credential_id)
        listed = await client.list_page(None, acs_system_id="s", page_cursor="p", limit=2)
        found = await client.find_user(None, user_identity_id="i", acs_system_id="s")
    assert read.call is Call.GET
    assert read.credential is not None
    assert listed.credentials[0].acs_credential_id == "a"
    assert listed.next_page_cursor == "c"
    assert found.user is not None
    assert found.user.acs_user_id == "u"
    assert server.requests[1].endswith(b'{"acs_system_id": "s", "limit": 2, "page_cursor": "p"}')
    assert server.requests[2].endswith(b'{"user_identity_id": "i", "acs_system_id": "s"}')
