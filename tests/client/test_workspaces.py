"""Every attempt names the workspace that it was for, however it ended."""

from __future__ import annotations

import pytest

from tests.client.raw_server import RawServer, reply, says, serving
from tests.client.test_wire import JOB
from worker.client import SeamClient
from worker.config import Settings
from worker.models import Verdict
from worker.wire import LARGEST_BODY

HERE, ELSEWHERE = "11111111-aaaa-4111-8111-111111111111", "22222222-aaaa-4222-8222-222222222222"


async def verdict_of(server: RawServer | None, workspace: str | None, expected: str | None) -> Verdict:
    """One assign call for a workspace; how it ended."""
    endpoint = "http://127.0.0.1:1" if server is None else server.url
    settings = Settings.from_options(endpoint=endpoint, workspace_keys={HERE: "seam_canary7key9value"})
    async with SeamClient(settings.target, concurrency=1, timeout=5.0) as client:
        attempt = await client.assign(JOB._replace(workspace_id=workspace))
    assert attempt.workspace_id == expected
    return attempt.verdict


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (reply(), Verdict.DONE),
        (reply(b'{"error": {"type": "a", "message": "b"}}', status="400 Bad Request"), Verdict.REFUSED),
        (reply(b"x" * (LARGEST_BODY + 1)), Verdict.AMBIGUOUS),
        (b"nonsense\r\n\r\n", Verdict.AMBIGUOUS),
    ],
)
async def test_of_a_reply(answer: bytes, verdict: Verdict) -> None:
    """Good, refused, too large, broken."""
    async with serving(says(answer)) as server:
        assert await verdict_of(server, HERE, HERE) is verdict


async def test_without_a_reply() -> None:
    """Nobody listens there; there is no key for it; the key itself says which it is."""
    assert await verdict_of(None, HERE, HERE) is Verdict.NEVER_SENT
    assert await verdict_of(None, ELSEWHERE, ELSEWHERE) is Verdict.HALT
    assert await verdict_of(None, None, None) is Verdict.HALT
