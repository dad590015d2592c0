"""Bounds, durations, deadlines, URLs and mappings."""

from __future__ import annotations

import time as clock
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.config import Bound, resolve_deadline
from worker.config.values import (
    format_deadline,
    hide_password,
    is_loopback,
    parse_deadline,
    parse_endpoint,
    parse_mapping,
    parse_proxy,
    parse_seconds,
    url_passwords,
)
from worker.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("https://connect.getseam.com/", "https://connect.getseam.com"),
        ("https://Connect.GetSeam.com:443", "https://connect.getseam.com"),
        (" https://host:8443/seam// ", "https://host:8443/seam"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("http://127.8.9.1", "http://127.8.9.1"),
        ("http://[::1]:80", "http://[::1]"),
        ("http://localhost:5000", "http://localhost:5000"),
    ],
)
def test_endpoint_is_canonical(text: str, canonical: str) -> None:
    """Two spellings of one target are one target."""
    assert parse_endpoint(text) == canonical


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("http://connect.getseam.com", "plain http"),
        ("http://localhost.evil.example", "plain http"),
        ("http://127.0.0.1.evil.example", "plain http"),
        ("http://0x7f.1", "plain http"),
        ("http://[::2]", "plain http"),
        ("https://user:pw@host", "user name or password"),
        ("https://key@host", "user name or password"),
        ("http://127.0.0.1@evil.example", "user name or password"),
        ("https://host/?key=1", "query"),
        ("https://host?", "query"),
        ("https://host#x", "fragment"),
        ("ftp://host", "not an http or https URL"),
        ("connect.getseam.com", "not an http or https URL"),
        ("https://", "not an http or https URL"),
        ("https://host:99999", "not a URL"),
        ("https://ho st", "not a URL"),
        ("https://host\\@evil.example", "not a URL"),
        ("https://host\r\nx: y", "not a URL"),
        ("https://[::1", "not a URL"),
        (7, "not a URL"),
    ],
)
def test_endpoint_refused(value: object, reason: str) -> None:
    """What could send a key astray is refused with its reason."""
    with pytest.raises(ValueError, match=reason):
        parse_endpoint(value)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost", True), ("127.1.2.3", True), ("::1", True), ("10.0.0.1", False), ("example.com", False)],
)
def test_loopback(host: str, *, expected: bool) -> None:
    """Only addresses of this machine count as such."""
    assert is_loopback(host) is expected


def test_proxy_may_carry_a_password() -> None:
    """A proxy's URL keeps its user, and takes no path."""
    assert parse_proxy("http://user:pw@proxy:3128/") == "http://user:pw@proxy:3128"
    for wrong in ("socks5://proxy", "http://proxy/path", "proxy:3128"):
        with pytest.raises(ValueError, match=r"http|path"):
            parse_proxy(wrong)


@pytest.mark.parametrize(
    ("url", "hidden", "passwords"),
    [
        ("postgresql://u:p%40w@h:5432/db?sslpassword=x", "postgresql://u:***@h:5432/db", ("p%40w", "x")),
        ("postgresql:///db?host=/run&password=pw", "postgresql:///db", ("pw",)),
        ("postgresql://u:a?b@h/db", "postgresql://u:***@h/db", ("a?b",)),
        ("postgresql://u:a/b#c@h/db", "postgresql://u:***@h/db", ("a/b#c",)),
        ("postgresql://u@server:pw@h/db", "postgresql://u@server:***@h/db", ("pw",)),
        ("postgresql://u@h:5432/db", "postgresql://u@h:5432/db", ()),
        ("postgresql://u:a@b@h/db", "postgresql://u:***@h/db", ("a@b",)),
        ("postgresql://u:pw@[::1]:5432/db?application_name=a@b", "postgresql://u:***@[::1]:5432/db", ("pw",)),
        ("postgresql://u@h/db", "postgresql://u@h/db", ()),
        ("postgresql://h/db?application_name=a@b", "postgresql://h/db", ()),
        ("http://proxy:3128", "http://proxy:3128", ()),
        ("sqlite:///run.db", "sqlite:///run.db", ()),
        ("plain/path.db", "plain/path.db", ()),
    ],
)
def test_url_passwords(url: str, hidden: str, passwords: tuple[str, ...]) -> None:
    """A URL's password is found and not shown, whatever stands in it, and whoever reads it."""
    assert (hide_password(url), url_passwords(url)) == (hidden, passwords)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (30, 30.0),
        ("0.5", 0.5),
        ("45s", 45.0),
        ("1.5s", 1.5),
        ("90m", 5400.0),
        ("2h30m", 9000.0),
        ("1h1m1s", 3661.0),
    ],
)
def test_seconds(value: object, seconds: float) -> None:
    """Numbers are seconds; durations are read."""
    assert parse_seconds(value) == seconds


@pytest.mark.parametrize("value", ["", "h", "1d", "30m1h", "nan", "inf", "1e999", True, None, [], "-"])
def test_seconds_refused(value: object) -> None:
    """No other text is a duration."""
    with pytest.raises(ValueError, match="neither"):
        parse_seconds(value)


@pytest.mark.parametrize(
    ("value", "bound"),
    [(0, Bound(count=0)), ("20", Bound(count=20)), ("5%", Bound(percent=5.0)), ("0.5 %", Bound(percent=0.5))],
)
def test_bound(value: object, bound: Bound) -> None:
    """A number of rows, or a share of them."""
    assert Bound.parse(value) == bound
    assert Bound.parse(str(bound)) == bound


@pytest.mark.parametrize("value", [-1, "-1", "5.5", "101%", "%", "", True, 1.5, None, "many"])
def test_bound_refused(value: object) -> None:
    """Anything else is no bound."""
    with pytest.raises(ValueError, match=r"neither|percentage"):
        Bound.parse(value)


@pytest.mark.parametrize(
    ("bound", "count", "total", "exceeded"),
    [
        (Bound(count=0), 0, 10, False),
        (Bound(count=0), 1, 10, True),
        (Bound(count=5), 5, 10, False),
        (Bound(percent=10), 10, 100, False),
        (Bound(percent=10), 11, 100, True),
        (Bound(percent=0), 1, 100, True),
        (Bound(percent=10), 0, 0, False),
    ],
)
def test_bound_is_exceeded_beyond_it(bound: Bound, count: int, total: int, *, exceeded: bool) -> None:
    """As many as allowed are still allowed."""
    assert bound.exceeded(count, total) is exceeded


def test_bound_is_one_or_the_other() -> None:
    """A bound that sets both or neither cannot be made."""
    with pytest.raises(ValueError, match="neither or both"):
        Bound()
    with pytest.raises(ValueError, match="neither or both"):
        Bound(1, 1.0)


@pytest.mark.parametrize(
    ("value", "deadline"),
    [
        ("06:00", time(6)),
        ("6:05", time(6, 5)),
        (time(23, 59), time(23, 59)),
        ("90m", timedelta(minutes=90)),
        ("45s", timedelta(seconds=45)),
        (timedelta(hours=2), timedelta(hours=2)),
    ],
)
def test_deadline(value: object, deadline: time | timedelta) -> None:
    """Times of day and spans are told apart."""
    assert parse_deadline(value) == deadline


@pytest.mark.parametrize(
    "value",
    ["24:00", "06:60", "6", "600", 90, "0s", "", "06:00:00", timedelta(), True, "noon", time(6, tzinfo=UTC)],
)
def test_deadline_refused(value: object) -> None:
    """What could be either, or neither, is refused."""
    with pytest.raises(ValueError, match="neither"):
        parse_deadline(value)


@given(st.timedeltas(timedelta(seconds=1), timedelta(days=4)) | st.times())
def test_deadline_is_written_as_it_is_read(deadline: time | timedelta) -> None:
    """The ledger's copy of a deadline means the same deadline."""
    if isinstance(deadline, time):
        deadline = deadline.replace(second=0, microsecond=0)
    assert parse_deadline(format_deadline(deadline)) == deadline


def test_span_counts_from_now() -> None:
    """A span may be as long as one likes."""
    now = datetime(2026, 3, 1, 22, tzinfo=UTC)
    assert resolve_deadline(timedelta(hours=30), now) == datetime(2026, 3, 3, 4, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (datetime(2026, 1, 10, 22, 0, tzinfo=BERLIN), datetime(2026, 1, 11, 6, 0, tzinfo=BERLIN)),
        (datetime(2026, 1, 11, 5, 59, tzinfo=BERLIN), datetime(2026, 1, 11, 6, 0, tzinfo=BERLIN)),
        (datetime(2026, 3, 28, 18, 30, tzinfo=BERLIN), datetime(2026, 3, 29, 6, 0, tzinfo=BERLIN)),
    ],
)
def test_time_of_day_is_the_next_one(now: datetime, expected: datetime) -> None:
    """06:00 is the wall clock's next one, in the night of the change to summer time too."""
    moment = resolve_deadline(time(6), now)
    assert moment == expected
    assert moment.utcoffset() == expected.utcoffset()


def test_summer_time_shortens_the_night() -> None:
    """18:30 to 06:00 is 10.5 hours in that night, and 12.5 when the clocks go back."""
    spring = datetime(2026, 3, 28, 18, 30, tzinfo=BERLIN)
    assert resolve_deadline(time(6), spring).timestamp() - spring.timestamp() == 10.5 * 3600
    with pytest.raises(ConfigError, match="--deadline 13h"):
        resolve_deadline(time(6), datetime(2026, 10, 24, 18, 30, tzinfo=BERLIN))


@pytest.mark.parametrize(
    "now", [datetime(2026, 1, 10, 6, 0, tzinfo=BERLIN), datetime(2026, 1, 10, 9, 0, tzinfo=BERLIN)]
)
def test_time_of_day_far_ahead_is_refused(now: datetime) -> None:
    """A night that is over is not taken for the next one; the message says how to mean it."""
    with pytest.raises(ConfigError, match=r"more than 12 hours ahead.*--deadline 2[14]h") as caught:
        resolve_deadline(time(6), now)
    assert caught.value.exit_code == 2


@pytest.fixture
def berlin_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This machine's clock on the wall is Berlin's."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    clock.tzset()
    yield
    monkeypatch.undo()
    clock.tzset()


@pytest.mark.usefixtures("berlin_machine")
def test_time_of_day_is_the_machines() -> None:
    """Without a zone of rules it is this machine's clock, with its change to summer time."""
    now = datetime(2026, 3, 28, 20, 0, tzinfo=UTC)
    moment = resolve_deadline(time(6), now)
    assert moment == datetime(2026, 3, 29, 4, 0, tzinfo=UTC)
    assert moment.date() == date(2026, 3, 29)


@pytest.mark.parametrize(
    "value",
    [
        {"acs_user_id": "Person", "workspace_id": "a=b"},
        ["acs_user_id=Person", "workspace_id=a=b"],
        (("acs_user_id", "Person"), ("workspace_id", "a=b")),
        "acs_user_id=Person,workspace_id=a=b",
    ],
)
def test_mapping(value: object) -> None:
    """A mapping may be written in four ways."""
    assert parse_mapping(value) == {"acs_user_id": "Person", "workspace_id": "a=b"}


@pytest.mark.parametrize("value", [["acs_user_id"], ["=x"], ["x="], 3, ["a=x", "a=y"], ["a=x", "b=x"], [("a", 1)], [7]])
def test_mapping_refused(value: object) -> None:
    """Half a pair, a field twice, or one column for two fields is refused."""
    with pytest.raises(ValueError, match=r"FIELD=COLUMN|twice|two fields"):
        parse_mapping(value)
