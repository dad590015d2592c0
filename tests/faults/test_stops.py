"""What is the run's fault and not a row's: exit 3, every row pending, and nothing goes astray (DESIGN 7)."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import trustme

from tests.client.raw_server import never, reply, says, serving
from tests.faults.ground import ROWS, TIMEOUT, meanwhile, run_at
from worker.simulator import Fault

if TYPE_CHECKING:
    from pathlib import Path

    from tests.client.raw_server import RawServer
    from tests.faults.ground import Place

REDIRECTS = [
    Fault.REDIRECT_301,
    Fault.REDIRECT_302,
    Fault.REDIRECT_303,
    Fault.REDIRECT_307,
    Fault.REDIRECT_308,
]
_NO_PAGE = b'{"acs_credentials": [], "pagination": {"has_next_page": false}, "ok": true}'


def outcomes(results: list[dict[str, object]]) -> set[object]:
    """Which outcomes there are."""
    return {result["outcome"] for result in results}


@pytest.mark.parametrize("fault", REDIRECTS)
async def test_the_other_host_hears_nothing(fault: Fault, place: Place) -> None:
    """Not one connection goes where a redirect points; once it is gone, the same run ends well."""
    async with serving(says(reply())) as elsewhere:
        place.fault(fault, times=0, redirect_to=f"{elsewhere.url}/acs/credentials/assign")
        ran = await place.run()
    assert ran.findings.clean, ran.findings
    assert (ran.report.exit_code, ran.causes, ran.outcomes) == (3, ["wrong_url"], {"pending": ROWS})
    assert (elsewhere.connections, elsewhere.requests) == (0, [])
    place.fault()
    ran = await place.run()
    assert ran.findings.clean, ran.findings
    assert (ran.report.exit_code, ran.outcomes) == (0, {"assigned": ROWS})


async def test_a_key_that_is_revoked(place: Place) -> None:
    """401 in the middle: what was assigned stays so, the rest is pending, and the key's return ends it."""
    place.configure(latency={"median": 0.05})
    revoking = meanwhile(place, 10, "settings", {"access": {"refused_keys": [place.ground.server.api_key]}})
    ran, _ = await asyncio.gather(place.run(concurrency=5), revoking)
    assert ran.findings.clean, ran.findings
    assert (ran.report.exit_code, ran.causes) == (3, ["key_refused"])
    assert set(ran.outcomes) == {"assigned", "pending"}
    place.configure(access={"refused_keys": []})
    ran = await place.run()
    assert ran.findings.clean, ran.findings
    assert (ran.report.exit_code, ran.outcomes, ran.sends()) == (0, {"assigned": ROWS}, ROWS)


async def test_a_url_that_is_not_seams(place: Place) -> None:
    """404 in plain text."""
    ran = await place.run(endpoint=f"{place.ground.server.url}/elsewhere")
    assert (ran.report.exit_code, ran.causes, ran.outcomes) == (3, ["wrong_url"], {"pending": ROWS})
    assert ran.sends() == 0


def error(kind: str) -> bytes:
    """Seam's shape."""
    return json.dumps({"error": {"type": kind, "message": "No."}, "ok": False}).encode()


@pytest.mark.parametrize(
    "status",
    ["400 Bad Request", "404 Not Found", "405 Method Not Allowed", "413 Content Too Large", "422 Unprocessable"],
)
async def test_a_refusal_is_the_rows_own(status: str, tmp_path: Path) -> None:
    """Each row is sent once and fails."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_list = server.requests[-1].startswith(b"POST /acs/credentials/list ")
        writer.write(reply(_NO_PAGE) if is_list else reply(error("refused"), status=status))
        await writer.drain()

    server: RawServer
    async with serving(answer) as server:
        report, results = await run_at(tmp_path, server.url)
    assert (report.exit_code, outcomes(results)) == (1, {"failed"})
    assert len(server.requests) == ROWS + 1
    assert {result["http_status"] for result in results} == {int(status[:3])}


@pytest.mark.parametrize(
    ("status", "body"), [("403 Forbidden", error("forbidden")), ("403 Forbidden", b"<html>"), ("401 No", b"")]
)
async def test_a_key_that_may_do_nothing(status: str, body: bytes, tmp_path: Path) -> None:
    """Neither assign nor list: the run stops after a handful of calls, no row failed."""
    async with serving(says(reply(body, status=status))) as server:
        report, results = await run_at(tmp_path, server.url)
    assert (report.exit_code, outcomes(results)) == (3, {"pending"})
    assert [stop.cause.value for stop in report.stops] == ["key_refused"]
    assert len(server.requests) < ROWS


@pytest.mark.parametrize("fault", ["wrong_host", "expired", "self_signed"])
async def test_a_certificate_that_cannot_be_trusted(fault: str, tmp_path: Path) -> None:
    """The run ends before a byte of it is sent."""
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
        report, results = await run_at(tmp_path, f"https://localhost:{server.port}", ca_file=trusted)
    assert (report.exit_code, outcomes(results)) == (3, {"pending"})
    assert [stop.cause.value for stop in report.stops] == ["tls"]
    assert server.requests == []


async def test_a_name_that_is_not_known(tmp_path: Path) -> None:
    """DNS: never sent, tried for as long as the patience lasts."""
    report, results = await run_at(tmp_path, "https://service.invalid", outage_patience=0.5)
    assert (report.exit_code, outcomes(results)) == (3, {"pending"})
    assert [stop.cause.value for stop in report.stops] == ["outage"]


async def test_a_port_that_is_refused(tmp_path: Path) -> None:
    """Likewise."""
    async with serving(never) as server:
        url = server.url
    report, results = await run_at(tmp_path, url, outage_patience=0.5)
    assert (report.exit_code, outcomes(results)) == (3, {"pending"})
    assert [stop.cause.value for stop in report.stops] == ["outage"]


async def test_a_connection_that_is_never_made(tmp_path: Path) -> None:
    """A host that takes no more connections: the connect timeout, and so never sent."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for one in (first, second):
            one.settimeout(0)
            one.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        report, results = await run_at(tmp_path, url, timeout=TIMEOUT, outage_patience=0.5)
    assert (report.exit_code, outcomes(results)) == (3, {"pending"})
    assert [stop.cause.value for stop in report.stops] == ["outage"]
    assert "connect_timeout" in report.stops[0].message


@pytest.mark.parametrize(
    ("status", "cause"), [("407 Proxy Authentication Required", "proxy"), ("502 Bad Gateway", "outage")]
)
async def test_a_proxy_that_does_not_connect(status: str, cause: str, tmp_path: Path) -> None:
    """The key never leaves this machine."""
    async with serving(says(reply(b"", status=status), close=True)) as proxy:
        report, results = await run_at(tmp_path, "https://connect.getseam.com", proxy=proxy.url, outage_patience=0.5)
    assert (report.exit_code, outcomes(results)) == (3, {"pending"})
    assert [stop.cause.value for stop in report.stops] == [cause]
    assert b"seam_key" not in b"".join(proxy.requests)
