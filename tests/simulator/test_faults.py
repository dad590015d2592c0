"""Every fault of assign does on the wire what its name says, and applies what it should."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib

import aiohttp
import pytest

from tests.simulator.calls import ASSIGN, Caller, a_user, an_id, running, split_reply, whole
from worker.simulator import Fault
from worker.simulator.exchange import pre_gzipped_spaces

BODY = {"acs_credential_id": an_id(1), "acs_user_id": a_user(1)}


def ordered(fault: Fault, **more: object) -> dict[str, object]:
    """Settings in which every credential is hit once."""
    return {"shares": {fault.value: 1}, **more}


async def is_applied(caller: Caller) -> bool:
    """Whether the log says so, and whether a read agrees."""
    owner = (await caller.get(1)).credential.get("acs_user_id")
    assert (owner == a_user(1)) == bool(caller.applied())
    return bool(caller.applied())


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault.HTTP_500, 500),
        (Fault.HTTP_502, 502),
        (Fault.HTTP_503, 503),
        (Fault.HTTP_504, 504),
        (Fault.CONFLICT_409, 409),
        (Fault.TIMEOUT_408, 408),
        (Fault.NOT_OK, 200),
        (Fault.HTML_200, 200),
    ],
)
async def test_status_faults_apply_by_their_switch(fault: Fault, status: int, *, applied: bool) -> None:
    """The status is the fault's; whether it was applied first is `applied_share`; the next request works."""
    async with running(faults=ordered(fault, applied_share=float(applied))) as caller:
        answer = await caller.assign(1)
        assert answer.status == status
        assert await is_applied(caller) is applied
        again = await caller.assign(1)
        assert (again.status, again.credential["acs_user_id"]) == (200, a_user(1))


async def test_not_ok_and_html_say_what_they_say() -> None:
    """`ok` is false; the page is no JSON and has no request id."""
    async with running(faults=ordered(Fault.NOT_OK)) as caller:
        assert (await caller.assign(1)).json == {"ok": False}
    async with running(faults=ordered(Fault.HTML_200)) as caller:
        answer = await caller.assign(1)
        assert (answer.body[:15], "seam-request-id" in answer.headers) == (b"<!DOCTYPE html>", False)


@pytest.mark.parametrize(
    ("form", "kind", "start"),
    [
        ("json", "application/json; charset=utf-8", b'{"error"'),
        ("html", "text/html; charset=utf-8", b"<!DOCTYPE html>"),
        ("text", "text/plain; charset=utf-8", b"Bad Gateway"),
        ("empty", None, b""),
    ],
)
async def test_forms_of_a_5xx(form: str, kind: str | None, start: bytes) -> None:
    """Only JSON is Seam's own and has a request id."""
    async with running(faults=ordered(Fault.HTTP_502, error_form=form)) as caller:
        answer = await caller.assign(1)
        assert answer.headers.get("Content-Type") == kind
        assert answer.body.startswith(start)
        assert bool(answer.body) is (form != "empty")
        assert ("seam-request-id" in answer.headers) is (form == "json")


async def test_mixed_forms_come_all() -> None:
    """By hash, all four."""
    async with running(faults=ordered(Fault.HTTP_500, error_form="mixed")) as caller:
        answers = [await caller.assign(number) for number in range(40)]
        assert len({answer.headers.get("Content-Type") for answer in answers}) == 4


async def test_forbidden_is_seams_and_not_applied() -> None:
    """403 with a request id."""
    async with running(faults=ordered(Fault.FORBIDDEN_403, applied_share=1)) as caller:
        answer = await caller.assign(1)
        assert (answer.status, answer.error) == (403, "forbidden")
        assert not await is_applied(caller)


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault.REDIRECT_301, 301),
        (Fault.REDIRECT_302, 302),
        (Fault.REDIRECT_303, 303),
        (Fault.REDIRECT_307, 307),
        (Fault.REDIRECT_308, 308),
    ],
)
async def test_redirects(fault: Fault, status: int) -> None:
    """To the URL that was set, and nothing is applied."""
    faults = ordered(fault, redirect_to="https://elsewhere.example/x", applied_share=1)
    async with running(faults=faults) as caller:
        answer = await caller.assign(1)
        assert (answer.status, answer.headers["Location"]) == (status, "https://elsewhere.example/x")
        assert not await is_applied(caller)


@pytest.mark.parametrize(("fault", "applied"), [(Fault.RESET_BEFORE, False), (Fault.RESET_AFTER, True)])
async def test_resets_without_a_byte(fault: Fault, *, applied: bool) -> None:
    """RST, not FIN, and no reply before it."""
    async with running(faults=ordered(fault, applied_share=float(not applied))) as caller:
        assert await caller.wire(ASSIGN, BODY) == (b"", "reset")
        assert await is_applied(caller) is applied


async def test_reset_in_the_middle_of_the_body() -> None:
    """Half of the body comes, then RST; it was applied."""
    async with running(faults=ordered(Fault.RESET_MID_BODY)) as caller:
        wire, end = await caller.wire(ASSIGN, BODY)
        _, headers, rest = split_reply(wire)
        assert (end, len(rest)) == ("reset", int(headers["content-length"]) // 2)
        assert await is_applied(caller)


@pytest.mark.parametrize("applied", [False, True])
async def test_reply_that_never_comes(*, applied: bool) -> None:
    """Not a byte until the caller goes; then it is no longer in flight."""
    async with running(faults=ordered(Fault.NEVER, applied_share=float(applied))) as caller:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await caller.wire(ASSIGN, BODY)
        assert await is_applied(caller) is applied
        async with asyncio.timeout(5):
            while caller.server.stats()["in_flight"]:  # noqa: ASYNC110 - counts have no event
                await asyncio.sleep(0.01)


async def test_drip() -> None:
    """One byte at a time; it was applied."""
    async with running(faults=ordered(Fault.DRIP, drip_interval=0.001)) as caller:
        loop = asyncio.get_running_loop()
        began = loop.time()
        wire, _ = await caller.wire(ASSIGN, BODY, until=whole)
        _, headers, rest = split_reply(wire)
        assert loop.time() - began >= 0.001 * int(headers["content-length"])
        assert json.loads(rest)["acs_credential"]["acs_user_id"] == a_user(1)


async def test_truncated_json() -> None:
    """The reply is complete, the JSON in it is not."""
    async with running(faults=ordered(Fault.TRUNCATED_JSON)) as caller:
        answer = await caller.assign(1)
        assert answer.status == 200
        with pytest.raises(json.JSONDecodeError):
            answer.json  # noqa: B018 - decoding is what fails
        assert await is_applied(caller)


async def test_wrong_type() -> None:
    """Valid JSON under the name of HTML."""
    async with running(faults=ordered(Fault.WRONG_TYPE)) as caller:
        answer = await caller.assign(1)
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.credential["acs_user_id"] == a_user(1)


async def test_huge_body() -> None:
    """As many bytes as were ordered, and still JSON."""
    async with running(faults=ordered(Fault.HUGE_BODY, huge_bytes=3_000_000)) as caller:
        answer = await caller.assign(1)
        assert len(answer.body) == 3_000_000
        assert answer.credential["acs_user_id"] == a_user(1)


async def test_huge_body_waits_for_the_caller() -> None:
    """A caller that hangs up early ends it, a gibibyte or not; the service goes on."""
    async with running(faults=ordered(Fault.HUGE_BODY)) as caller:
        wire, end = await caller.wire(ASSIGN, BODY, until=lambda seen: len(seen) > 200_000)
        _, headers, _ = split_reply(wire)
        assert (end, headers["content-length"]) == ("open", str(1024**3))
        assert await is_applied(caller)


async def test_gzip_bomb() -> None:
    """Few bytes on the wire become many, and still JSON."""
    size = 40 * 1024 * 1024
    async with running(faults=ordered(Fault.GZIP_BOMB, huge_bytes=size)) as caller:
        answer = await caller.assign(1)
        assert answer.headers["Content-Encoding"] == "gzip"
        assert len(answer.body) < size / 500
        unzipped = gzip.decompress(answer.body)
        assert len(unzipped) == size
        assert json.loads(unzipped)["ok"] is True
        assert await is_applied(caller)


def test_gzip_bomb_is_one_valid_stream() -> None:
    """A decompressor without gzip's tolerance for more members takes it whole, checksum and length too."""
    inflate = zlib.decompressobj(31)
    out = inflate.decompress(pre_gzipped_spaces(b'{"ok":true}', 33 * 1024 * 1024))
    assert (len(out), inflate.eof, inflate.unused_data) == (33 * 1024 * 1024, True, b"")


async def test_length_too_long() -> None:
    """More is promised than comes, then the connection closes."""
    async with running(faults=ordered(Fault.LENGTH_TOO_LONG)) as caller:
        wire, end = await caller.wire(ASSIGN, BODY)
        _, headers, rest = split_reply(wire)
        assert (end, int(headers["content-length"]) - len(rest)) == ("closed", 64)
        assert await is_applied(caller)


async def test_length_too_short() -> None:
    """More comes than was said, and the connection stays open."""
    async with running(faults=ordered(Fault.LENGTH_TOO_SHORT)) as caller:
        wire, end = await caller.wire(ASSIGN, BODY, until=lambda seen: seen.endswith(b'"ok":true}'))
        _, headers, rest = split_reply(wire)
        assert (end, len(rest) - int(headers["content-length"])) == ("open", 64)
        assert await is_applied(caller)


async def test_http10_close() -> None:
    """No length; the end of the connection ends the body, which is whole."""
    async with running(faults=ordered(Fault.HTTP10_CLOSE)) as caller:
        wire, end = await caller.wire(ASSIGN, BODY)
        status, headers, rest = split_reply(wire)
        assert (status, end, "content-length" in headers) == ("HTTP/1.0 200 OK", "closed", False)
        assert json.loads(rest)["ok"] is True


async def test_stray_close() -> None:
    """A good reply that does not speak of closing; then the connection closes."""
    async with running(faults=ordered(Fault.STRAY_CLOSE)) as caller:
        wire, end = await caller.wire(ASSIGN, BODY)
        _, headers, rest = split_reply(wire)
        assert (end, "connection" in headers, json.loads(rest)["ok"]) == ("closed", False, True)


async def test_unasked_continue() -> None:
    """`100 Continue` first, then the good reply."""
    async with running(faults=ordered(Fault.UNASKED_CONTINUE)) as caller:
        wire, _ = await caller.wire(ASSIGN, BODY, until=lambda seen: seen.endswith(b'"ok":true}'))
        first, _, second = wire.partition(b"\r\n\r\n")
        assert (first, split_reply(second)[0]) == (b"HTTP/1.1 100 Continue", "HTTP/1.1 200 OK")


async def test_late_execution() -> None:
    """No reply; a read-back says not yet; then it is applied all the same."""
    async with running(faults=ordered(Fault.LATE, late_after=0.4)) as caller:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await caller.wire(ASSIGN, BODY)
        assert not await is_applied(caller)
        async with asyncio.timeout(5):
            while not caller.applied():  # noqa: ASYNC110 - the log has no event
                await asyncio.sleep(0.02)
        assert await is_applied(caller)


async def test_replies_that_name_another() -> None:
    """The right thing is applied; the reply names another credential, or another user."""
    async with running(faults=ordered(Fault.OTHER_CREDENTIAL)) as caller:
        told = (await caller.assign(1)).credential
        assert (told["acs_credential_id"] == an_id(1), told["acs_user_id"]) == (False, a_user(1))
        assert await is_applied(caller)
    async with running(faults=ordered(Fault.OTHER_USER)) as caller:
        told = (await caller.assign(1)).credential
        assert (told["acs_credential_id"], told["acs_user_id"] == a_user(1)) == (an_id(1), False)
        assert await is_applied(caller)
    async with running(faults=ordered(Fault.OTHER_USER)) as caller:
        told = (await caller.assign_identity(1, 1)).credential
        assert told["user_identity_id"] != (await caller.get(1)).credential["user_identity_id"]


def test_every_fault_is_tested_here() -> None:
    """A fault without a test of its wire is not yet a fault."""
    source = (__import__("pathlib").Path(__file__)).read_text("utf-8")
    assert [fault.name for fault in Fault if f"Fault.{fault.name}" not in source] == []


async def test_times_and_shares() -> None:
    """A share of credentials is hit, each as often as ordered; 0 is always; a seed hits the same again."""
    hit: list[list[int]] = []
    for _ in range(2):
        async with running(seed=5, faults={"shares": {"http_500": 0.3, "http_503": 0.3}, "times": 2}) as caller:
            rounds = [[(await caller.assign(n)).status for n in range(100)] for _ in range(3)]
            assert rounds[0] == rounds[1]
            assert set(rounds[2]) == {200}
            assert 15 <= rounds[0].count(500) <= 45
            assert 15 <= rounds[0].count(503) <= 45
            hit.append(rounds[0])
    assert hit[0] == hit[1]
    async with running(faults=ordered(Fault.HTTP_500, times=0)) as caller:
        assert {(await caller.assign(1)).status for _ in range(5)} == {500}


@pytest.mark.parametrize(
    ("form", "status", "body"),
    [
        ("ok_only", 200, b'{"ok":true}'),
        ("empty_object", 200, b"{}"),
        ("empty_body", 200, b""),
        ("no_content_204", 204, b""),
    ],
)
async def test_void_successes(form: str, status: int, body: bytes) -> None:
    """Applied, and the reply carries no credential; the connection is good for the next request."""
    async with running(void={form: 1}) as caller:
        answer = await caller.assign(1)
        assert (answer.status, answer.body) == (status, body)
        assert await is_applied(caller)


@pytest.mark.parametrize("handled", [True, False])
async def test_expect_continue(*, handled: bool) -> None:
    """The caller is told to go on, or waits in vain."""
    async with running(expect_continue=handled) as caller:
        headers = {"Authorization": f"Bearer {caller.server.api_key}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            sending = session.post(caller.server.url + ASSIGN, json=BODY, expect100=True)
            if handled:
                async with sending as reply:
                    assert reply.status == 200
            else:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.2):
                        await sending
        assert await is_applied(caller) is handled
