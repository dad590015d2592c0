"""The key, PINs and card numbers, over a mix of faults: nowhere, unless codes were asked for (DESIGN 5, 11)."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from tests.client.raw_server import reply, says, serving
from tests.secrets.canaries import (
    CARD,
    CODES,
    HOOK,
    KEY,
    PASSWORD,
    Said,
    environ,
    found_in,
    found_under,
    said_by,
    start,
)
from tests.soak.ground import make_input
from tests.telling.listener import Listener
from worker.replies import LONGEST_MESSAGE
from worker.seam import AssignReply, UserReply

if TYPE_CHECKING:
    from tests.client.raw_server import RawServer
    from tests.secrets.conftest import Case

QUICK = ["--timeout", "0.5", "--concurrency", "32"]


@pytest.mark.parametrize("source", ["jsonl", "csv"])
@pytest.mark.parametrize("log_format", ["console", "json"])
def test_nothing_is_told(source: str, log_format: str, case: Case) -> None:
    """Every log line at level debug, stdout, the ledger with its WAL, the lock, the export."""
    jobs = case.jsonl if source == "jsonl" else case.csv
    more = ["--json"] if log_format == "json" else []
    command: list[object] = ["run", jobs, *QUICK, "--log-level", "debug", "--log-format", log_format, *more]
    said = said_by(command, environ(case.url), case.folder)
    assert said.code in {0, 1}, said.err[-500:]
    assert said.err.count("attempt") > 100, "the log is to be full"
    assert found_in(said.out) == []
    assert found_in(said.err) == []
    assert found_under(case.folder) == {}
    results = (case.folder / f"jobs.results.{source}").read_text()
    assert "requested_code_unavailable" in results
    assert "••••" in results


def test_nothing_is_left_by_a_kill(case: Case) -> None:
    """Killed in the middle, so that the WAL stays; the list of processes before it."""
    command: list[object] = ["run", case.jsonl, *QUICK, "--rate", "100", "--log-level", "debug"]
    process = start(command, environ(case.url), case.folder)
    wal = case.folder / "assign-ledger.db-wal"
    until = time.monotonic() + 30
    while not (wal.exists() and wal.stat().st_size > 60_000):
        assert time.monotonic() < until, "the run did not get going"
        time.sleep(0.01)
    shown = Path(f"/proc/{process.pid}/cmdline").read_bytes()
    process.send_signal(signal.SIGKILL)
    out, err = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGKILL
    assert wal.stat().st_size > 60_000
    assert b"assign" in shown
    assert [found_in(text) for text in (shown, out, err)] == [[], [], []]
    assert found_under(case.folder) == {}


def test_codes_where_they_were_asked_for(case: Case) -> None:
    """`--include-codes`: in the export and the ledger, not in a log; a later export without it masks them again."""
    command: list[object] = ["run", case.csv, *QUICK, "--include-codes", "--log-level", "debug"]
    said = said_by(command, environ(case.url), case.folder)
    assert said.code in {0, 1}, said.err[-500:]
    assert found_in(said.out + said.err) == []
    results = (case.folder / "jobs.results.csv").read_bytes()
    assert found_in(results) == list(CODES)
    assert found_under(case.folder, codes=False) == {}
    for name, option, expected in [("masked", [], []), ("open", ["--include-codes"], list(CODES))]:
        export: list[object] = ["results", "-o", f"{name}.csv", *option]
        said = said_by(export, environ(case.url), case.folder)
        assert said.code == 0, said.err
        assert found_in((case.folder / f"{name}.csv").read_bytes()) == expected
        assert found_in(said.out + said.err) == []
    for shown in (["show"], ["show", "--json"], ["runs", "--json"]):
        assert found_in(said_by([*shown], environ(case.url), case.folder).out) == []


_BREAK_OUTCOMES = """
import worker.outcomes
def broken(credential, secrets, **more):
    pin = credential.code
    raise RuntimeError("broken on purpose")
worker.outcomes._warnings = broken
"""
_BREAK_LEDGER = """
import worker.ledger.sqlite_store
def broken(self, cursor, rows):
    raise RuntimeError("broken on purpose")
worker.ledger.sqlite_store._Bulk.many = broken
"""


@pytest.mark.parametrize("prelude", [_BREAK_OUTCOMES, _BREAK_LEDGER])
@pytest.mark.parametrize("level", ["warning", "debug"])
def test_a_defect_of_ours_tells_nothing(prelude: str, level: str, case: Case) -> None:
    """A traceback through frames full of secrets shows none of them, in whatever form it comes."""
    command: list[object] = ["run", case.jsonl, *QUICK, "--include-codes", "--log-level", level]
    said = said_by(command, environ(case.url), case.folder, prelude=prelude)
    assert said.code in {3, 70}
    assert "broken on purpose" in said.err
    assert ("Traceback" in said.err) == (level == "debug" and said.code == 70)
    assert found_in(said.out + said.err) == []


def test_an_error_of_the_driver_shows_no_row(case: Case) -> None:
    """What the database says when it refuses a row of secrets, with them in its parameters."""
    prelude = """
import worker.ledger.writing
def broken(self, batch):
    rows = [(1, repr(result)) for result in batch.results] or [(1, "mark")]
    self._session._connection.cursor().executemany("INSERT INTO results (run_no, outcome) VALUES (?, ?)", rows)
worker.ledger.writing.ShardWriter.write = broken
"""
    command: list[object] = ["run", case.jsonl, *QUICK, "--include-codes", "--log-level", "debug"]
    said = said_by(command, environ(case.url), case.folder, prelude=prelude)
    assert said.code == 3
    assert "the ledger could not be written" in said.err
    assert found_in(said.out + said.err) == []


@pytest.mark.parametrize("status", ["400 Bad Request", "500 Oops", "401 Unauthorized", "302 Found"])
def test_a_key_that_the_service_repeats(status: str, tmp_path: Path) -> None:
    """In its message, its type and its request id: masked wherever the run tells of them."""
    said_of_it = {KEY: {"_errors": [KEY]}}
    cut_short = "x" * (LONGEST_MESSAGE - 30 - len(KEY)) + KEY
    echoed = {"error": {"type": f"bad_{KEY}", "message": f"Bearer {KEY}: {cut_short}", "validation_errors": said_of_it}}

    async def main() -> list[str]:
        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = f"seam-request-id: {KEY}\r\nRetry-After: {KEY}\r\nLocation: http://x/{KEY}\r\n"
            listing = server.requests[-1].startswith(b"POST /acs/credentials/list ") and status[0] not in "43"
            page = b'{"acs_credentials": [], "pagination": {"has_next_page": false}, "ok": true}'
            writer.write(reply(page) if listing else reply(json.dumps(echoed).encode(), status=status, headers=head))
            await writer.drain()

        server: RawServer
        async with serving(answer) as server:
            make_input(tmp_path / "jobs.jsonl", 5, seed=1)
            command: list[object] = ["run", "jobs.jsonl", "--log-level", "debug", "--json", "--timeout", "0.5"]
            command += ["--outage-patience", "1", "--max-attempts", "2"]
            said = await asyncio.to_thread(said_by, command, environ(server.url), tmp_path)
        assert said.code in {1, 3}, said.err
        assert any(KEY.encode() in request for request in server.requests), "the service was to get the key"
        return [said.out, said.err]

    for text in asyncio.run(main()):
        assert found_in(text) == []
    assert found_under(tmp_path) == {}


@pytest.mark.parametrize("status", ["407 Who", "403 No", "502 Bad"])
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_proxys_password_is_told_nowhere(status: str, more: list[str], tmp_path: Path) -> None:
    """Of a proxy that does not connect: its answer is told, its URL is not."""

    async def main() -> Said:
        async with serving(says(reply(b"", status=status), close=True)) as proxy:
            make_input(tmp_path / "jobs.jsonl", 3, seed=1)
            command: list[object] = ["run", "jobs.jsonl", "--log-level", "debug", "--outage-patience", "0.2s", *more]
            command += ["--proxy", proxy.url.replace("//", f"//bob:{PASSWORD}%21@")]
            return await asyncio.to_thread(said_by, command, environ("https://connect.example"), tmp_path)

    said = asyncio.run(main())
    assert said.code == 3, said.err
    assert status.partition(" ")[0] in said.out
    assert found_in(said.out + said.err) == []
    assert found_under(tmp_path) == {}


@pytest.mark.parametrize("model", [AssignReply, UserReply])
def test_models_hide_what_they_refuse(model: type[AssignReply | UserReply]) -> None:
    """A reply that does not fit is told without its content."""
    body = json.dumps({"acs_credential": {"code": CARD, "acs_credential_id": [CARD]}, "acs_user": [CARD], "ok": CARD})
    with pytest.raises(ValidationError) as refused:
        model.model_validate_json(body)
    assert CARD not in str(refused.value)
    assert CARD not in repr(refused.value)


def test_a_key_in_a_wrong_setting_is_not_repeated(case: Case) -> None:
    """Whatever is refused on the way in is refused without the key."""
    for variables in (
        environ(f"http://{KEY}@example.com"),
        environ(case.url, ASSIGN_WORKER_TIMEOUT=KEY),
        environ(case.url, SEAM_PERSONAL_ACCESS_TOKEN=KEY),
        environ(case.url, SEAM_API_KEY=f"{KEY}\n"),
    ):
        said = said_by(["run", case.jsonl, "--timeout", "0.5"], variables, case.folder)
        assert found_in(said.out + said.err) == []


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("place", ["flag", "variable", "file"])
def test_a_notify_url_is_kept_secret(place: str, status: int, case: Case) -> None:
    """Its password and its token, wherever it came from; and no other secret is in what it carries away."""
    more: list[object] = ["--log-level", "debug", "--json", "--metrics-file", "m.prom", "--max-failures", "0"]
    with Listener(status) as hook:
        url = f"json://bell:{PASSWORD}@127.0.0.1:{hook.port}/{HOOK}"
        variables = environ(case.url)
        if place == "flag":
            more += ["--notify", url]
        elif place == "variable":
            variables["ASSIGN_WORKER_NOTIFY"] = url
        else:
            (case.folder.parent / "settings.toml").write_text(f'[telling]\nnotify = "{url}"\n')
            more += ["--config", "../settings.toml"]
        said = said_by(["run", case.csv, *QUICK, *more], variables, case.folder)
    assert said.code == 3, said.err[-500:]
    assert found_in(said.out + said.err) == []
    assert ("could not be sent" in said.err) == (status == 500)
    assert found_under(case.folder) == {}
    (heard,) = hook.heard
    assert HOOK in heard.path
    assert found_in(heard.body) == []
    assert ("--notify 'json://***'" in heard.body.decode()) == (place == "flag")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--notify", "{url}", "--concurrency", "0"],
        ["--notify", "json:/bell:{secrets}"],
        ["--notify", "nonsense://bell:{secrets}@host/{secrets}"],
        ["--notify", "{url}", "--metrics-file", "absent/m.prom"],
        ["--notify", "{url}", "--ledger", "../jobs.csv/ledger.db"],
    ],
)
def test_a_notify_url_is_not_repeated(arguments: list[str], case: Case) -> None:
    """Whatever else is wrong with the command."""
    secrets = f"{PASSWORD}{HOOK}"
    url = f"json://bell:{PASSWORD}@127.0.0.1:1/{HOOK}"
    said = said_by(
        ["run", case.csv, *(word.format(url=url, secrets=secrets) for word in arguments)],
        environ(case.url),
        case.folder,
    )
    assert said.code == 2
    assert found_in(said.out + said.err) == []


def test_no_core_is_written(case: Case) -> None:
    """Where cores are allowed, an abort of a process that holds the key leaves none."""

    def allow() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    command: list[object] = ["run", case.jsonl, "--rate", "5"]
    process = start(command, environ(case.url), case.folder, preexec_fn=allow)
    ledger = case.folder / "assign-ledger.db-wal"
    until = time.monotonic() + 30
    while not ledger.exists():
        assert time.monotonic() < until, "the run did not get going"
        time.sleep(0.01)
    limits = Path(f"/proc/{process.pid}/limits").read_text()
    (cores,) = (line for line in limits.splitlines() if line.startswith("Max core file size"))
    process.send_signal(signal.SIGABRT)
    _, status = os.waitpid(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    assert cores.split()[4:6] == ["0", "0"]
    assert (os.WTERMSIG(status), os.WCOREDUMP(status)) == (signal.SIGABRT, False)
    assert [path for path in case.folder.iterdir() if path.name.startswith("core")] == []
