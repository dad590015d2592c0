"""The file that knows what was run."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

import pytest

from tests.schedule.making import at, profile
from worker.errors import ConfigError
from worker.schedule import Note, Notes

if TYPE_CHECKING:
    from pathlib import Path

NOW = at("2026-11-24T12:00")
NIGHT = profile("30 2 * * *", "Europe/Berlin")


def test_notes_are_read_again(tmp_path: Path) -> None:
    """What one scheduler settled, the next one knows; the file is the owner's alone, and nothing is left beside it."""
    notes = Notes(tmp_path / "s.json")
    notes.load()
    notes.begin([NIGHT], NOW)
    notes.settle("night", through=at("2026-11-25T01:30"), is_open=True)

    again = Notes(tmp_path / "s.json")
    again.load()
    settled = Note("30 2 * * *", "Europe/Berlin", at("2026-11-25T01:30"), open=True, settled=True)
    assert again.get(NIGHT) == settled
    again.settle("night", is_open=False)
    assert json.loads((tmp_path / "s.json").read_text())["profiles"]["night"]["open"] is False
    assert stat.S_IMODE((tmp_path / "s.json").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["s.json"]


def test_notes_of_before_are_read(tmp_path: Path) -> None:
    """They do not say whether their time was a start."""
    fields = '{"cron": "30 2 * * *", "time_zone": "UTC", "through": "2026-11-24T02:30:00+00:00", "open": false}'
    (tmp_path / "s.json").write_text(f'{{"version": 1, "profiles": {{"night": {fields}}}}}')
    notes = Notes(tmp_path / "s.json")
    notes.load()
    assert notes.get(NIGHT) == Note("30 2 * * *", "UTC", at("2026-11-24T02:30"))


def test_a_beginning_keeps_what_fits_and_forgets_the_rest(tmp_path: Path) -> None:
    """A profile with new times owes nothing from before; one that has gone is forgotten."""
    notes = Notes(tmp_path / "s.json")
    kept, changed, gone = (profile("30 2 * * *", name=name) for name in ("kept", "changed", "gone"))
    notes.begin([kept, changed, gone], NOW)
    later = at("2026-11-30T12:00")
    notes.begin([kept, profile("30 3 * * *", name="changed")], later)
    told = json.loads((tmp_path / "s.json").read_text())["profiles"]
    assert {name: note["through"] for name, note in told.items()} == {
        "kept": NOW.isoformat(),
        "changed": later.isoformat(),
    }


@pytest.mark.parametrize("is_open", [False, True])
def test_a_start_that_is_noted_for_years_ahead_is_forgotten(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, is_open: bool
) -> None:
    """A clock was wrong once: no profile is silent until that time comes; a run that was begun is still owed."""
    notes = Notes(tmp_path / "s.json")
    notes.begin([NIGHT], NOW)
    notes.settle("night", through=at("2031-01-01T01:30"), is_open=is_open)
    notes.begin([NIGHT], NOW)
    assert notes.get(NIGHT) == Note("30 2 * * *", "Europe/Berlin", NOW, open=is_open)
    assert "noted for a time to come" in caplog.text


def test_a_clock_that_is_put_back_an_hour_repeats_no_start(tmp_path: Path) -> None:
    """What lies that little ahead has been run."""
    notes = Notes(tmp_path / "s.json")
    notes.begin([NIGHT], NOW)
    notes.settle("night", through=at("2026-11-24T13:00"), is_open=False)
    notes.begin([NIGHT], NOW)
    assert notes.get(NIGHT) == Note("30 2 * * *", "Europe/Berlin", at("2026-11-24T13:00"), settled=True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"version": 2, "profiles": {}}',
        '{"version": 1, "profiles": {"night": {}}}',
        '{"version": 1, "profiles": {"night": {"cron": "", "time_zone": "", "through": "2026-11-24", "open": true}}}',
        '{"version": 1, "profiles": {"night": 5}}',
        "\x00",
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, text: str) -> None:
    """It is named and left alone, and the message says what moving it away means."""
    path = tmp_path / "s.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"s\.json, which holds what was run last, cannot be understood; move it"):
        Notes(path).load()
    assert path.read_text() == text


def test_a_place_that_cannot_be_written_is_refused_at_the_beginning(tmp_path: Path) -> None:
    """Else no missed night would ever be known."""
    with pytest.raises(ConfigError, match=r"cannot be written: .* does not exist; name another place by state under"):
        Notes(tmp_path / "nowhere" / "s.json").begin([NIGHT], NOW)


def test_a_failed_write_later_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is told, and the night goes on."""
    folder = tmp_path / "state"
    folder.mkdir()
    notes = Notes(folder / "s.json")
    notes.begin([NIGHT], NOW)
    folder.rename(tmp_path / "elsewhere")
    notes.settle("night", is_open=True)
    assert "not noted: after a restart this run may begin again" in caplog.text
