"""The file of a schedule: what it may say, and how what it may not is answered."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from worker.errors import ConfigError
from worker.schedule import load_schedule

if TYPE_CHECKING:
    from collections.abc import Sequence

GOOD = """
[schedule]
time_zone = "Europe/Berlin"
jitter = "5m"
state = "state/seen.json"

[profiles.north]
cron = "30 2 * * *"
command = ["run", "north.csv", "--config", "nightly.toml"]

[profiles.south]
cron = "0 3 * * mon-fri"
time_zone = "America/New_York"
jitter = 0
missed = "skip"
grace = "2h"
command = ["check", "south.csv"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the schedule is written."""
    return tmp_path / "schedule.toml"


def problems(file: Path, text: str, judge: object = None) -> list[str]:
    """What is told of a bad file, a line each, its path left out."""
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        load_schedule(file, judge) if callable(judge) else load_schedule(file)
    return [line.strip().replace(f"{file}", "FILE") for line in str(raised.value).splitlines()]


def test_profiles_have_what_they_say_or_what_is_shared(file: Path) -> None:
    """`[schedule]` holds for all that do not say otherwise; the rest are defaults."""
    file.write_text(GOOD, encoding="utf-8")
    schedule = load_schedule(file)
    north, south = schedule.profiles
    assert (north.name, str(north.cron), north.time_zone) == ("north", "30 2 * * *", ZoneInfo("Europe/Berlin"))
    assert (north.jitter, north.missed) == (300, "run_once")
    assert north.command == ("run", "north.csv", "--config", "nightly.toml")
    assert (south.time_zone, south.jitter) == (ZoneInfo("America/New_York"), 0)
    assert (south.missed, south.grace) == ("skip", 7200)
    assert schedule.state == file.parent / "state/seen.json"
    assert schedule.folder == file.parent


def test_the_notes_are_beside_the_file(file: Path) -> None:
    """By its name, so that two schedules in one folder have one each."""
    file.write_text(GOOD.replace("state =", "# state ="), encoding="utf-8")
    assert load_schedule(file).state == file.parent / "schedule.state.json"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("30 2 * * *", "30 25 * * *", "FILE [profiles.north] cron: '30 25 * * *' has '25' for the hour"),
        (
            '"Europe/Berlin"',
            '"Europe/Belin"',
            "FILE [schedule] time_zone: 'Europe/Belin' is no time zone that",
        ),
        ('"Europe/Berlin"', '"../etc/passwd"', "FILE [schedule] time_zone: '../etc/passwd' is no time zone that"),
        ('"Europe/Berlin"', '"Europe"', "FILE [schedule] time_zone: 'Europe' is no time zone that"),
        ("America/New_York", "", "FILE [profiles.south] time_zone: '' is no time zone that"),
        ('time_zone = "Europe/Berlin"', "", "FILE [profiles.north]: time_zone is missing; allowed: a name such as"),
        ('cron = "30 2 * * *"', "", "FILE [profiles.north]: cron is missing; allowed: minute hour day"),
        ('"5m"', '"7h"', "FILE [schedule] jitter: '7h' is not allowed; allowed: 0 to 6 hours, such as 5m"),
        ('"5m"', '"soon"', "FILE [schedule] jitter: 'soon' is neither a number of seconds nor a duration"),
        ('"skip"', '"twice"', "FILE [profiles.south] missed: 'twice' is not allowed; allowed: run_once, skip"),
        ('"2h"', "0", "FILE [profiles.south] grace: 0 is not allowed; allowed: 1 second to 7 days"),
        ("missed =", "mised =", "FILE [profiles.south] mised: no such key; did you mean missed?"),
        ("state =", "stat =", "FILE [schedule] stat: no such key; did you mean state?"),
        ('"state/seen.json"', "5", "FILE [schedule] state: is no path"),
        ("[schedule]", "[shedule]", "FILE [shedule]: no such section; did you mean schedule?"),
        (
            '["check", "south.csv"]',
            "[]",
            "FILE [profiles.south] command: the value is not allowed; allowed: the words after",
        ),
        ('["check", "south.csv"]', '"check"', "FILE [profiles.south] command: the value is not allowed; allowed: the"),
        ('["check", "south.csv"]', '["check", 5]', "FILE [profiles.south] command: the value is not allowed"),
        (
            '"south.csv"',
            '"a\\u0000"',
            "FILE [profiles.south] command: the value is not allowed; allowed: the",
        ),
        ("[profiles.south]", "[[profiles.south]]", "FILE [profiles.south]: is a section; allowed: keys under"),
    ],
)
def test_a_problem_is_named_with_its_key(file: Path, old: str, new: str, told: str) -> None:
    """Each with what is allowed, where the user wrote it."""
    assert any(line.startswith(told) for line in problems(file, GOOD.replace(old, new, 1)))


def test_the_nearest_time_zone_is_named(file: Path) -> None:
    """Zones have long names."""
    (line,) = problems(file, GOOD.replace("Europe/Berlin", "Europe/Belin"))
    assert "is no time zone that this machine knows; did you mean Europe/Berlin?; allowed: a name such as" in line


def test_all_problems_are_told_at_once(file: Path) -> None:
    """In one message, the judgement of commands among them, those of broken profiles too."""

    def judge(words: Sequence[str]) -> str | None:
        return f"{words[0]} is odd" if words[0] == "run" else None

    text = GOOD.replace("30 2", "30 99").replace('"skip"', '"no"').replace("jitter = 0", "jiter = 0")
    told = problems(file, text, judge)
    assert told[0] == "4 settings cannot be used:"
    assert [line.partition(":")[0] for line in told[1:]] == [
        "FILE [profiles.north] cron",
        "FILE [profiles.north] command",
        "FILE [profiles.south] jiter",
        "FILE [profiles.south] missed",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "FILE: has no profile; write one under [profiles.NAME], with cron, time_zone, command"),
        ("[profiles]", "FILE: has no profile; write one under [profiles.NAME], with cron, time_zone, command"),
        ("profiles = 3", "FILE: has no profile; write one under [profiles.NAME], with cron, time_zone, command"),
        ("schedule = 3\n[profiles]", "FILE [schedule]: is a section; allowed: keys under [schedule]"),
        (
            "[profiles.a]\n[profiles.a]",
            "FILE: is not TOML: Cannot declare ('profiles', 'a') twice (at line 2, column 12)",
        ),
    ],
)
def test_a_file_that_is_no_schedule(file: Path, text: str, told: str) -> None:
    """One sentence that says what is needed; two profiles of one name are no TOML."""
    assert told in problems(file, text)


def test_a_file_that_is_not_there() -> None:
    """Named, without a word of options that this command does not have."""
    with pytest.raises(ConfigError, match=r"^nowhere\.toml: cannot be read: No such file or directory$"):
        load_schedule(Path("nowhere.toml"))
