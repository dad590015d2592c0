"""Control characters of a service's words cannot forge a line of the log or drive a terminal."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.client.raw_server import reply, serving
from tests.secrets.canaries import environ, said_by
from tests.soak.ground import make_input
from worker.models import Attempt, Call, Job, UserKey, Verdict
from worker.outcomes import Tries, changed, conflict

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.client.raw_server import RawServer
    from tests.secrets.canaries import Said
    from worker.models import Result

FORGED = "2026-01-01T00:00:00Z [error    ] forged"
WORDS = f"no\n{FORGED}\r\n{FORGED}\u2028{FORGED}\x1b[2J\x1b]0;title\x07\x9b31m\x7f\x00\u202egnp"


def run_against(words: str, folder: Path, *options: str) -> Said:
    """A run whose every row is refused in these words."""
    error = {"type": words, "message": words, "validation_errors": {words: {"_errors": [words]}}}
    page = b'{"acs_credentials": [], "pagination": {"has_next_page": false}, "ok": true}'

    async def main() -> Said:
        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            listing = server.requests[-1].startswith(b"POST /acs/credentials/list ")
            body = json.dumps({"error": error}).encode()
            writer.write(reply(page) if listing else reply(body, status="422 Unprocessable"))
            await writer.drain()

        server: RawServer
        async with serving(answer) as server:
            make_input(folder / "jobs.jsonl", 5, seed=1)
            command: list[object] = ["run", "jobs.jsonl", "--log-level", "debug", *options]
            return await asyncio.to_thread(said_by, command, environ(server.url), folder)

    return asyncio.run(main())


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_no_line_is_forged(log_format: str, tmp_path: Path) -> None:
    """Each line of stderr is a line of ours, in one piece; stdout and results hold no control character."""
    said = run_against(WORDS, tmp_path, "--log-format", log_format)
    assert said.code == 1
    lines = said.err.splitlines()
    assert len([line for line in lines if "forged" in line]) >= 5
    if log_format == "json":
        assert all(isinstance(json.loads(line), dict) for line in lines)
    else:
        assert all(re.match(r"\d{4}-\d\d-\d\dT\S+Z \[", line) for line in lines)
        assert not [line for line in lines if line.startswith(FORGED)]
    for text in (said.out, said.err, (tmp_path / "jobs.results.jsonl").read_text()):
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]", text)
    assert not [line for line in said.out.splitlines() if line.startswith(FORGED)]


@pytest.mark.parametrize("outcome", [conflict, changed])
def test_whose_it_is_forges_nothing(outcome: Callable[..., Result]) -> None:
    """The id of an owner is the service's word as well, and may be of any length."""
    job = Job(1, 2, "c", UserKey.ACS_USER, "u")
    attempt = Attempt(Call.GET, Verdict.DONE, 0.0, 0.1)
    told = outcome(job, attempt, Tries(), owner=WORDS + "y" * 100_000).detail
    assert told is not None
    assert "user no 2026-01-01" in told
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u202e]", told)
    assert len(told) < 1000
