"""Replies that no service ought to give: what is kept of them can be stored and shown, and nothing raises."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.client.raw_server import reply, says, serving
from tests.client.test_wire import FULL, assign_at
from worker.models import Verdict
from worker.replies import tidy
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
