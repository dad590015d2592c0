"""The log chain: what is written, and that neither a secret nor a control character gets through."""

from __future__ import annotations

import io
import json
import logging
import os
import pty
import re
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from worker.logs import LogAttempts, configure_logging, escape_controls, get_logger, mask_secrets
from worker.models import Attempt, Call, StopCause, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "seam_canary_0123456789"
PIN = "739152"


@pytest.fixture(autouse=True)
def _untouched_logging() -> Iterator[None]:
    """Each test leaves structlog and the root logger as it found them."""
    root = logging.getLogger()
    handlers = list(root.handlers)
    yield
    for handler in set(root.handlers) - set(handlers):
        root.removeHandler(handler)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def records(stream: io.StringIO) -> list[dict[str, Any]]:
    """The JSON lines written so far."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def library_logs(message: str, *args: object) -> None:
    """A library's warning, to our handler alone: pytest's own, on the same root, chokes on what we test."""
    record = logging.LogRecord("lib", logging.WARNING, __file__, 1, message, args, None)
    logging.getLogger().handlers[-1].handle(record)


def fail(error: Exception) -> None:
    """Raise, in a frame of its own whose locals hold the error."""
    raise error


def attempt(verdict: Verdict, **changes: Any) -> Attempt:
    """One attempt of a verdict."""
    return Attempt(Call.ASSIGN, verdict, 0.0, 0.12345, **changes)


def test_json_is_one_object_a_line_with_its_context() -> None:
    """Time in UTC, level and bound context stand on each line."""
    stream = io.StringIO()
    configure_logging("json", "info", stream)
    structlog.contextvars.bind_contextvars(run="r1", workspace="w1")
    structlog.get_logger().info("run started", rows=3)
    structlog.get_logger().debug("not this one")
    (record,) = records(stream)
    assert record.pop("timestamp").endswith("Z")
    assert record == {"event": "run started", "rows": 3, "run": "r1", "workspace": "w1", "level": "info"}


def test_console_has_no_colours_off_a_terminal() -> None:
    """A file gets plain lines."""
    stream = io.StringIO()
    configure_logging("console", "info", stream)
    structlog.get_logger().warning("slow", row=7)
    assert "\x1b" not in stream.getvalue()
    assert re.fullmatch(r"\S+Z \[warning  \] slow +row=7\n", stream.getvalue())


@pytest.mark.parametrize(("environ", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_colours_on_a_terminal(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], *, coloured: bool) -> None:
    """Only a terminal gets colours, and NO_COLOR is honoured."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w") as terminal:
        configure_logging("console", "info", terminal)
        structlog.get_logger().warning("slow")
        written = os.read(leader, 1000)
    os.close(leader)
    assert (b"\x1b[" in written) is coloured


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_no_secret_passes(log_format: Any) -> None:
    """By key name, by known value and by pattern, at any depth, in ours and in libraries' records."""
    stream = io.StringIO()
    configure_logging(log_format, "debug", stream, secrets=["hunter2-canary", "canary-inside"])
    log = structlog.get_logger()
    event = f"event {KEY}"
    log.info(event, authorization="canary", Api_Key="canary", **{"seam-api-key": "canary", f"k{KEY}": 1})
    log.info(
        "x",
        code=PIN,
        card_number=PIN,
        original_code=int(PIN),
        nested=[{"new_code": PIN, "deep": ({"pin": PIN},)}],
    )
    log.info("x", text="Bearer canary.canary", header={"Authorization": b"Bearer canary"}, raw=b"Bearer canary")
    log.info("x", url="postgresql://user:canary@host/db", jwt="eyJcanary12.canary.canary", other=object)
    log.info("x", known="the password is hunter2-canary!", listed={"hunter2-canary"})
    logging.getLogger("aiohttp.client").warning("sent %s to %s", f"Bearer {KEY}", "host")
    logging.getLogger("sqlalchemy").error("row", extra={"password": "canary"})
    token = "canary-inside"  # a local variable: no traceback may show it
    try:
        try:
            fail(ValueError(f"inner {KEY}"))
        except ValueError as error:
            raise RuntimeError(token.upper() + " hunter2-canary") from error
    except RuntimeError:
        log.exception("failed")
        logging.getLogger("asyncio").exception("failed")
    text = stream.getvalue()
    assert text.count("RuntimeError") >= 2
    assert "canary" not in text
    assert PIN not in text


def test_harmless_values_stay() -> None:
    """Codes of errors, keys of rows and plain ids are not secrets."""
    stream = io.StringIO()
    configure_logging("json", "info", stream)
    fields = {
        "error_code": "x1",
        "warning_codes": ["being_deleted"],
        "user_key": "acs_user_id",
        "request_id": "11111111-1111-4111-8111-111111111111",
        "status": 429,
        "rate": 1.5,
        "ok": False,
        "retry_after": None,
        "api_key": None,
        "text": "see seam-request-id in SEAM_API_KEY",
        "nested": {"a": [1, "b"]},
    }
    structlog.get_logger().info("x", **fields)
    (record,) = records(stream)
    assert {key: record[key] for key in fields} == fields


FORGERIES = [
    "a\nb",
    "a\r\nb",
    "\x1b[2J",
    "\x9b31m",
    "\u2028x",
    "\u202egnp.exe",
    "\u2066",
    "\x00",
    "\x7f",
    "\ud800",
    "\ufeff",
]


@pytest.mark.parametrize("log_format", ["console", "json"])
@pytest.mark.parametrize("forgery", FORGERIES, ids=range(len(FORGERIES)))
def test_no_line_can_be_forged(log_format: Any, forgery: str) -> None:
    """Control characters in keys, values, events and libraries' messages are escapes on one line."""
    stream = io.StringIO()
    configure_logging(log_format, "info", stream)
    structlog.get_logger().info(forgery, **{f"k{forgery}": forgery}, nested=[{forgery: (forgery,)}])
    library_logs("%s", forgery)
    text = stream.getvalue()
    assert text.count("\n") == 2
    assert text.replace("\n", "").isprintable()
    text.encode()


def test_a_tracebacks_lines_are_marked() -> None:
    """On the console the lines of a message with line breaks cannot pass for lines of the log."""
    stream = io.StringIO()
    configure_logging("console", "info", stream)
    try:
        fail(ValueError("x\n2026-01-01T00:00:00Z [info] all rows assigned\x1b[2J"))
    except ValueError:
        structlog.get_logger().exception("failed")
    lines = stream.getvalue().splitlines()
    assert lines[1].startswith("Traceback")
    assert all(line.startswith("  | ") for line in lines[2:])
    assert "\x1b" not in stream.getvalue()


@given(st.text(st.characters(codec=None, categories=["Cc", "Cf", "Cs", "Zl", "Zp", "Lu"])))
def test_escapes_are_plain(text: str) -> None:
    """What is escaped holds no control character, and other text is left as it is."""
    escaped = escape_controls(text)
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]", escaped)
    if text.isprintable():
        assert escaped == text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"key {KEY}.", "key ***."),
        ("authorization: bearer abc.def-_=", "authorization: ***"),
        ("'Bearer abc', next", "'***', next"),
        ("seam_ab is short", "seam_ab is short"),
        ("http://user:pw@host/x", "http://***@host/x"),
        ("http://host/x@y", "http://host/x@y"),
        ("a secret-word b", "a *** b"),
        ("they said eye", "they said eye"),
    ],
)
def test_mask_secrets(text: str, masked: str) -> None:
    """Patterns and known values are replaced, other words stay."""
    assert mask_secrets(text, ["secret-word", "", "a"]) == masked


def test_longer_secrets_go_first() -> None:
    """A secret that begins with another one is not left half."""
    assert mask_secrets("word-and-more", ["word", "word-and-more"]) == "***"


def test_libraries_pass_from_warning_up() -> None:
    """SQLAlchemy's statements with their parameters stay out at any level."""
    stream = io.StringIO()
    configure_logging("json", "debug", stream)
    logging.getLogger("sqlalchemy.engine").info("INSERT %s", PIN)
    logging.getLogger("aiohttp.server").warning("odd request")
    (record,) = records(stream)
    assert (record["logger"], record["level"], record["event"]) == (
        "aiohttp.server",
        "warning",
        "odd request",
    )
    configure_logging("json", "error", stream)
    logging.getLogger("aiohttp.server").warning("odd request")
    assert len(records(stream)) == 1


def test_a_second_set_up_replaces_the_first() -> None:
    """No line is written twice, and the old stream gets none."""
    first, second = io.StringIO(), io.StringIO()
    configure_logging("json", "info", first)
    configure_logging("json", "info", second)
    structlog.get_logger().info("x")
    logging.getLogger("lib").warning("y")
    assert first.getvalue() == ""
    assert [record["event"] for record in records(second)] == ["x", "y"]


def test_a_malformed_record_shows_no_argument() -> None:
    """A library's broken log call is told without its arguments."""
    stream = io.StringIO()
    configure_logging("json", "info", stream)
    library_logs("%d", KEY)
    assert stream.getvalue() == "A log record of lib could not be written.\n"


def test_a_broken_repr_ends_nothing() -> None:
    """An object that cannot be shown is named."""

    class Broken:
        def __repr__(self) -> str:
            raise ZeroDivisionError

    stream = io.StringIO()
    configure_logging("json", "info", stream)
    cycle: list[object] = []
    cycle.append(cycle)
    structlog.get_logger().info("x", broken=Broken(), cycle=cycle)
    (record,) = records(stream)
    assert record["broken"] == "<Broken, whose repr failed with ZeroDivisionError>"


def test_a_closed_stream_ends_nothing() -> None:
    """Logs that nobody reads any more do not stop a run."""
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w")
    configure_logging("json", "info", stream)
    structlog.get_logger().info("x")
    logging.getLogger("lib").warning("y")
    with pytest.raises(BrokenPipeError):
        stream.close()
    structlog.get_logger().info("after the end")


def test_lines_of_threads_do_not_mix() -> None:
    """Each line is whole, whoever else writes."""
    stream = io.StringIO()
    configure_logging("json", "info", stream)

    def work(number: int) -> None:
        for turn in range(100):
            structlog.get_logger().info("x", number=number, turn=turn, filler="y" * 200)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(records(stream)) == 400


def test_import_is_cheap() -> None:
    """Importing the module imports neither structlog nor rich."""
    code = "import sys, worker.logs; print('structlog' in sys.modules, 'rich' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - our own interpreter
    assert done.stdout == "False False\n"


@pytest.mark.parametrize(
    ("verdict", "level"),
    [
        (Verdict.DONE, "debug"),
        (Verdict.LIMITED, "info"),
        (Verdict.NEVER_SENT, "info"),
        (Verdict.AMBIGUOUS, "info"),
        (Verdict.REFUSED, "info"),
        (Verdict.FORBIDDEN, "warning"),
        (Verdict.HALT, "warning"),
    ],
)
def test_attempts_are_logged_by_what_they_prove(verdict: Verdict, level: Any) -> None:
    """Each verdict has its level, and is silent above it."""
    stream = io.StringIO()
    configure_logging("json", level, stream)
    LogAttempts()("r1", 7, 2, attempt(verdict, status=429, request_id="q1", error_type="t", stop=StopCause.TLS))
    (record,) = records(stream)
    del record["timestamp"], record["error_message"]
    assert record == {
        "event": "attempt",
        "level": level,
        "run": "r1",
        "row": 7,
        "attempt": 2,
        "call": "acs/credentials/assign",
        "verdict": verdict.value,
        "status": 429,
        "error_type": "t",
        "request_id": "q1",
        "duration": 0.1235,
    }
    above = {"debug": "info", "info": "warning", "warning": "error"}[level]
    configure_logging("json", above, stream)  # type: ignore[arg-type]  # a literal of four
    LogAttempts()("r1", 7, 2, attempt(verdict))
    assert len(records(stream)) == 1


def test_every_verdict_has_a_level() -> None:
    """A new verdict cannot be forgotten."""
    configure_logging("json", "debug", io.StringIO())
    observer = LogAttempts()
    for verdict in Verdict:
        observer("r", None, 1, attempt(verdict))
    assert set(Verdict) == observer._enabled


def test_silent_attempts_cost_two_calls() -> None:
    """A success below the level makes no record: no time, no formatting, nothing but a look-up."""
    configure_logging("json", "warning", io.StringIO())
    observer, done, calls = LogAttempts(), attempt(Verdict.DONE), []
    sys.setprofile(lambda _frame, event, _arg: calls.append(event))
    observer("r1", 1, 1, done)
    sys.setprofile(None)
    assert calls.count("call") <= 2


def test_library_use_goes_to_logging(caplog: pytest.LogCaptureFixture) -> None:
    """Where a program has not set structlog up, attempts reach `logging`, cleaned."""
    structlog.reset_defaults()
    with caplog.at_level(logging.WARNING, "worker"):
        LogAttempts()("r1", 7, 1, attempt(Verdict.HALT, error_message=f"no {KEY}\n"))
        get_logger().info("too low")
    (record,) = caplog.records
    assert record.name == "worker"
    assert record.levelname == "WARNING"
    assert "row=7" in record.getMessage()
    assert "canary" not in record.getMessage()
    assert record.getMessage().isprintable()
