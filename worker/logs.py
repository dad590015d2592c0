"""Structured logs on stderr, and the only place where structlog is set up.

Whatever is logged, by this package or by a library through `logging`, passes the same chain: time, level,
bound context, then `clean`, which removes secrets and escapes control characters at any depth. structlog is
imported when logs are first set up or written, since the import costs more than a short command.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import threading
from collections.abc import Iterable, Mapping, MutableMapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO, cast

from worker.models import Attempt, Verdict

if TYPE_CHECKING:
    from structlog.typing import EventDict, FilteringBoundLogger, Processor

__all__ = ["LogAttempts", "configure_logging", "escape_controls", "get_logger", "mask_secrets"]

MASK: Final = "***"

_SECRET_KEY = re.compile(
    r"(.*_)?(authorization|api_?key|token|secret|password|passwd|cookie)"
    r"|code|card_number|original_code|new_code|pin(_code)?"
)
_SECRET_TEXT = re.compile(
    r"seam_[A-Za-z0-9_]{6,}"
    r"|(?i:bearer)\s+[^\s'\",;]+"
    r"|\bey[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*)?"
    r"|(?<=://)[^\s/@:]*:[^\s/@]+(?=@)"
)
_LEAST_SECRET = 4
"""A shorter value is not looked for inside texts: it would blank out half of each line."""

# C0, DEL, C1, bidirectional controls, line and paragraph separators, byte order mark, lone surrogates.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_MAX_DEPTH = 8


def mask_secrets(text: str, known: Iterable[str] = ()) -> str:
    """Replace known secret values, and whatever looks like a key, a bearer token or a URL's password."""
    for secret in sorted(known, key=len, reverse=True):
        if len(secret) >= _LEAST_SECRET:
            text = text.replace(secret, MASK)
    return _SECRET_TEXT.sub(MASK, text)


def _escaped(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode("ascii")


def escape_controls(text: str) -> str:
    r"""Write control characters as escapes, so that a text cannot forge a line or drive a terminal.

    Covers C0, DEL, C1, U+2028 and U+2029, bidirectional controls, lone surrogates; a newline becomes `\n`.
    """
    return _CONTROLS.sub(_escaped, text)


class _Cleaner:
    """The last processor before the renderer: no secret and no control character passes it."""

    def __init__(self, known: Iterable[str], line_break: str) -> None:
        self._known = tuple(known)
        self._line_break = line_break

    def __call__(self, _logger: object, _method: str, event: EventDict) -> EventDict:
        cleaned: dict[str, Any] = {}
        for key, value in event.items():
            if key in {"exception", "stack"} and isinstance(value, str):
                # A traceback keeps its line breaks, in a form in which none can pass for a line of the log.
                lines = mask_secrets(value, self._known).split("\n")
                cleaned[key] = self._line_break.join(escape_controls(line) for line in lines)
            elif key.startswith("_"):
                cleaned[key] = value  # structlog's own, removed before rendering
            else:
                cleaned[self._text(key)] = self._item(key, value, 0)
        return cleaned

    def _text(self, text: str) -> str:
        return escape_controls(mask_secrets(text, self._known))

    def _item(self, key: object, value: object, depth: int) -> object:
        if value is not None and _SECRET_KEY.fullmatch(str(key).lower().replace("-", "_")):
            return MASK
        return self._value(value, depth)

    def _value(self, value: object, depth: int) -> object:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, str):
            return self._text(str(value))
        if depth < _MAX_DEPTH:
            if isinstance(value, Mapping):
                return {self._text(str(key)): self._item(key, item, depth + 1) for key, item in value.items()}
            if isinstance(value, list | tuple | AbstractSet):
                return [self._value(item, depth + 1) for item in value]
        try:
            return self._text(repr(value))
        except Exception as error:  # noqa: BLE001 - a broken repr must not end a run
            return f"<{type(value).__name__}, whose repr failed with {type(error).__name__}>"


class _Stream:
    """Writes whole lines from any thread; a stream that is gone must not end a run."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def write(self, text: str) -> int:
        with self._lock, contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._lock, contextlib.suppress(OSError, ValueError):
            self._stream.flush()


class _Handler(logging.StreamHandler[Any]):
    """The way in for libraries that log by `logging`."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the base's name
        """Say that a record was malformed, without showing its arguments."""
        self.stream.write(f"A log record of {escape_controls(record.name)} could not be written.\n")


def _foreign_name(_logger: object, _method: str, event: EventDict) -> EventDict:
    event["logger"] = event["_record"].name
    return event


def _wants_colors(stream: TextIO) -> bool:
    terminal = getattr(stream, "isatty", lambda: False)()
    return bool(terminal) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _chain(secrets: Iterable[str], line_break: str) -> tuple[list[Processor], list[Processor]]:
    import structlog  # noqa: PLC0415 - see the module's docstring

    first: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # `format_exc_info` is the standard library's traceback: no local variables.
    last: list[Processor] = [
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        _Cleaner(secrets, line_break),
    ]
    return first, last


def configure_logging(
    log_format: Literal["console", "json"] = "console",
    level: Literal["debug", "info", "warning", "error"] = "warning",
    stream: TextIO | None = None,
    secrets: Iterable[str] = (),
) -> None:
    """Set up structlog and the root of `logging`; a second call replaces what the first one set up.

    Libraries' records pass from warning upwards only, at any level: below, SQLAlchemy logs every parameter.

    Args:
        log_format: `console` for people, in colours on a terminal unless NO_COLOR is set; `json` for one
            object a line.
        level: The least level that is written.
        stream: Where lines go; None is stderr.
        secrets: Values that must not appear, such as `Settings.secret_values()`.
    """
    import structlog  # noqa: PLC0415 - see the module's docstring

    target = stream if stream is not None else sys.stderr
    renderer: Processor
    line_break = "\n  | "
    if log_format == "json":
        renderer = structlog.processors.JSONRenderer()
        line_break = "\n"
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=_wants_colors(target), exception_formatter=structlog.dev.plain_traceback
        )
    threshold = logging.getLevelNamesMapping()[level.upper()]
    first, last = _chain(tuple(secrets), line_break)
    safe = cast("TextIO", _Stream(target))

    structlog.configure(
        processors=[*first, *last, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(safe),
        cache_logger_on_first_use=False,
    )

    handler = _Handler(safe)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*first, _foreign_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last, renderer],
        )
    )
    handler.setLevel(max(threshold, logging.WARNING))
    # That a connection broke is told by whoever used it.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    root = logging.getLogger()
    for former in [item for item in root.handlers if isinstance(item, _Handler)]:
        root.removeHandler(former)
    root.addHandler(handler)


def _as_keyword_text(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    words = (f"{key}={value}" for key, value in event.items() if key not in {"event", "level"})
    return " ".join((str(event.get("event", "")), *words))


def get_logger() -> FilteringBoundLogger:
    """A logger of structlog's.

    In a program that has not configured structlog it writes to the `logging` logger `worker`, cleaned: where
    all other logs of that program go.
    """
    import structlog  # noqa: PLC0415 - see the module's docstring

    if structlog.is_configured():
        return cast("FilteringBoundLogger", structlog.get_logger())
    _, last = _chain((), "\n  | ")
    logger = structlog.wrap_logger(
        logging.getLogger("worker"),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            *last,
            _as_keyword_text,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    return cast("FilteringBoundLogger", logger)


_LEVELS: Final = {
    Verdict.DONE: logging.DEBUG,
    Verdict.NEVER_SENT: logging.INFO,
    Verdict.LIMITED: logging.INFO,
    Verdict.AMBIGUOUS: logging.INFO,
    Verdict.REFUSED: logging.INFO,
    Verdict.FORBIDDEN: logging.WARNING,
    Verdict.HALT: logging.WARNING,
}


class LogAttempts:
    """Observer of attempts: what stops a workspace at warning, what a row tells by itself at info, success at debug.

    A refused row is in the results with its reason; a thousand of them need no thousand lines on a terminal.

    The level is asked for once, here: make it after `configure_logging`.
    """

    def __init__(self) -> None:
        self._logger = get_logger().bind()
        self._enabled = frozenset(verdict for verdict, level in _LEVELS.items() if self._logger.is_enabled_for(level))

    def __call__(self, run_id: str, row: int | None, number: int, attempt: Attempt) -> None:
        """Log one attempt, the `number`-th of its row; `row` is None for calls that serve no single row."""
        if attempt.verdict not in self._enabled:
            return
        self._logger.log(
            _LEVELS[attempt.verdict],
            "attempt",
            run=run_id,
            row=row,
            attempt=number,
            call=attempt.call.value,
            verdict=attempt.verdict.value,
            status=attempt.status,
            error_type=attempt.error_type,
            error_message=attempt.error_message,
            request_id=attempt.request_id,
            duration=round(attempt.duration, 4),
        )
