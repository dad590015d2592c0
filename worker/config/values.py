"""Small values that settings are made of: bounds, durations, deadlines, URLs, column mappings.

Parsers raise `ValueError` with the rest of the sentence "VALUE …"; whoever knows the key puts it in front.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit
from zoneinfo import ZoneInfo

from worker.errors import ConfigError

__all__ = [
    "Bound",
    "Deadline",
    "format_deadline",
    "hide_password",
    "is_loopback",
    "parse_codes",
    "parse_deadline",
    "parse_endpoint",
    "parse_mapping",
    "parse_proxy",
    "parse_seconds",
    "resolve_deadline",
    "spelt_passwords",
    "url_passwords",
]

Deadline = time | timedelta
"""A time of day on the wall clock, or a span from the start of this execution."""

_MAX_CLOCK_AHEAD = timedelta(hours=12)
_DURATION = re.compile(r"(?:(\d{1,5})h)?(?:(\d{1,6})m)?(?:(\d{1,8}(?:\.\d{1,6})?)s)?")
_CODE = re.compile(r"[a-z0-9_]{1,100}")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})")


@dataclass(frozen=True, slots=True)
class Bound:
    """How many of some rows may go wrong: a number of rows, or a share of them. Exactly one is set."""

    count: int | None = None
    percent: float | None = None

    def __post_init__(self) -> None:
        if (self.count is None) == (self.percent is None):
            raise ValueError("sets neither or both of count and percent")
        if self.count is not None and self.count < 0:
            raise ValueError("is below 0")
        if self.percent is not None and not 0 <= self.percent <= 100:  # noqa: PLR2004 - a percentage
            raise ValueError("is no percentage")

    @classmethod
    def parse(cls, value: object) -> Bound:
        """Read `20`, `"20"` or `"5%"`.

        Raises:
            ValueError: The value is none of these.
        """
        if isinstance(value, Bound):
            return value
        text = str(value).strip()
        if not isinstance(value, bool) and isinstance(value, int | str):
            if re.fullmatch(r"\d{1,12}", text):
                return cls(count=int(text))
            if re.fullmatch(r"\d{1,3}(\.\d{1,6})?\s*%", text):
                return cls(percent=float(text[:-1]))
        raise ValueError("is neither a number of rows nor a percentage")

    def exceeded(self, count: int, total: int) -> bool:
        """Whether `count` rows of `total` are more than allowed; as many as allowed still are."""
        if self.count is not None:
            return count > self.count
        return total > 0 and count * 100 > (self.percent or 0.0) * total

    def __str__(self) -> str:
        return str(self.count) if self.percent is None else f"{self.percent:g}%"


def _parse_span(text: str) -> timedelta | None:
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()):
        return None
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def parse_seconds(value: object) -> float:
    """Read a number of seconds, or a duration such as `90m`, `2h30m` or `45s`, as seconds."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        text = str(value).strip()
        span = _parse_span(text)
        if span is not None:
            return span.total_seconds()
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if math.isfinite(seconds):
            return seconds
    raise ValueError("is neither a number of seconds nor a duration")


def parse_deadline(value: object) -> Deadline:
    """Read `06:00` as a time of day, or `90m`, `2h30m`, `45s` as a span."""
    if isinstance(value, time):
        if value.tzinfo is None and value.second == value.microsecond == 0:
            return value
    elif isinstance(value, timedelta):
        if value > timedelta():
            return value
    elif isinstance(value, str):
        text = value.strip()
        clock = _CLOCK.fullmatch(text)
        if clock is not None:
            hour, minute = int(clock[1]), int(clock[2])
            if hour <= 23 and minute <= 59:  # noqa: PLR2004 - a clock
                return time(hour, minute)
        span = _parse_span(text)
        if span is not None and span > timedelta():
            return span
    raise ValueError("is neither a time of day nor a duration")


def format_deadline(value: Deadline) -> str:
    """Write a deadline as `parse_deadline` reads it."""
    if isinstance(value, time):
        return value.strftime("%H:%M")
    minutes, rest = divmod(value, timedelta(minutes=1))
    hours, minutes = divmod(minutes, 60)
    seconds = f"{rest.total_seconds():.6f}".rstrip("0").rstrip(".")
    parts = ((hours, "h"), (minutes, "m"), (seconds if rest else "", "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number)


def resolve_deadline(value: Deadline, now: datetime) -> datetime:
    """Say when a deadline falls, seen from `now` (aware).

    A time of day is the next one on the wall clock: of `now`'s zone where that is a `ZoneInfo`, else of this
    machine. So a night in which the clocks change ends when the clock on the wall says so.

    Raises:
        ConfigError: A time of day lies more than 12 hours ahead; it was probably meant for a night gone by.
    """
    if isinstance(value, timedelta):
        return now + value
    zone = now.tzinfo if isinstance(now.tzinfo, ZoneInfo) else None
    today = now.astimezone(zone).date()
    for day in (today, today + timedelta(days=1)):
        wall = datetime.combine(day, value, zone)
        moment = wall if zone is not None else wall.astimezone()
        # In UTC: Python subtracts two times of one zone by the wall clock, blind to a change of the clocks.
        ahead = moment.astimezone(UTC) - now.astimezone(UTC)
        if ahead > timedelta():
            break
    if ahead > _MAX_CLOCK_AHEAD:
        hours = math.ceil(ahead.total_seconds() / 3600)
        raise ConfigError(
            f"--deadline {value:%H:%M} is more than 12 hours ahead ({moment:%Y-%m-%d %H:%M %z}); "
            f"if that is meant, give it as a duration, such as --deadline {hours}h"
        )
    return moment


def is_loopback(host: str) -> bool:
    """Whether a URL's host can only be this machine: `localhost`, 127.0.0.0/8 or ::1, as written."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _split_url(value: object) -> tuple[SplitResult, str, int | None]:
    if not isinstance(value, str) or re.search(r"[\s\x00-\x1f\x7f\\]", value.strip()):
        raise ValueError("is not a URL")
    try:
        parts = urlsplit(value.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("is not a URL") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise ValueError("is not an http or https URL with a host")
    return parts, host, port


def parse_endpoint(value: object) -> str:
    """Check and canonicalise the service's base URL, so that equal targets compare equal."""
    parts, host, port = _split_url(value)
    if "@" in parts.netloc:
        raise ValueError("carries a user name or password")
    if "?" in str(value) or "#" in str(value):
        raise ValueError("carries a query or a fragment")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError("is plain http to a host that is not this machine, so the key could be read on the way")
    netloc = f"[{host}]" if ":" in host else host
    if port is not None and port != {"http": 80, "https": 443}[parts.scheme]:
        netloc += f":{port}"
    return urlunsplit((parts.scheme, netloc, parts.path.rstrip("/"), "", ""))


def parse_proxy(value: object) -> str:
    """Check a proxy's URL; it may carry a user name and password."""
    parts, _, _ = _split_url(value)
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("carries a path, a query or a fragment")
    return str(value).strip().rstrip("/")


_USER_PART = re.compile(r"(?P<name>[^:/]*)(?::(?P<password>[^@]*(?:@[^/?#@]*)*))?@")
"""Of a URL, as SQLAlchemy reads it, which takes `/`, `?` and `#` in a password as they stand; and as `urlsplit` does,
which takes an `@`: whoever is to read it, no part of the password is shown."""

_SECRET_PARAMETERS = frozenset({"password", "sslpassword"})
"""libpq's."""


def url_passwords(url: str | None) -> tuple[str, ...]:
    """The passwords in a URL, as written there: the user's, and those in its query."""
    if url is None or "://" not in url:
        return ()
    rest = url.split("://", 1)[1]
    user = _USER_PART.match(rest)
    found = [user["password"]] if user and user["password"] else []
    query = (rest[user.end() :] if user else rest).partition("?")[2]
    found += [
        value for name, _, value in (part.partition("=") for part in query.split("&")) if name in _SECRET_PARAMETERS
    ]
    return tuple(password for password in found if password)


def spelt_passwords(url: str | None) -> tuple[str, ...]:
    """The passwords in a URL, as written there and as they are meant."""
    return tuple(form for word in url_passwords(url) for form in (word, unquote(word)))


def hide_password(url: str) -> str:
    """The URL with `***` in place of its password, and without its query, which may hold one too."""
    if "://" not in url:
        return url
    scheme, rest = url.split("://", 1)
    if (user := _USER_PART.match(rest)) is None:
        return f"{scheme}://{rest.partition('?')[0]}"
    hidden = "" if user["password"] is None else ":***"
    return f"{scheme}://{user['name']}{hidden}@{rest[user.end() :].partition('?')[0]}"


def parse_codes(value: object) -> tuple[str, ...]:
    """Read warning codes: several, or one string with commas between them; each once, in their order."""
    if isinstance(value, str):
        value = [part for part in value.split(",") if part.strip()]
    if not isinstance(value, Iterable):
        raise ValueError("is no list of warning codes")  # noqa: TRY004 - pydantic turns only ValueError into its own
    codes = [str(code).strip() for code in value]
    for code in codes:
        if not _CODE.fullmatch(code):
            raise ValueError(f"names {code!a}, which is no warning code")
    return tuple(dict.fromkeys(codes))


def _pair(item: object) -> tuple[str, str]:
    pair = item.split("=", 1) if isinstance(item, str) else item
    match pair:
        case (str(field), str(column)) if field.strip() and column.strip():
            return field.strip(), column
    raise ValueError("is not FIELD=COLUMN")


def parse_mapping(value: object) -> dict[str, str]:
    """Read FIELD=COLUMN pairs: a mapping, pairs, strings, or one string with commas between them."""
    if isinstance(value, str):
        value = [part for part in value.split(",") if part.strip()]
    if isinstance(value, Mapping):
        value = value.items()
    if not isinstance(value, Iterable):
        raise ValueError("is not FIELD=COLUMN")  # noqa: TRY004 - pydantic turns only ValueError into its own
    mapping: dict[str, str] = {}
    for field, column in map(_pair, value):
        if field in mapping:
            raise ValueError(f"names {field} twice")
        if column in mapping.values():
            raise ValueError(f"reads two fields from the column {column!r}")
        mapping[field] = column
    return mapping
