"""The profiles in configs/ are valid and say what their names promise."""

from __future__ import annotations

from datetime import time, timedelta
from pathlib import Path

import pytest

from worker.config import Bound, Settings, load_settings

CONFIGS = Path(__file__).parents[2] / "configs"


def profile(name: str) -> Settings:
    """One of the shipped profiles, loaded as the command loads it."""
    return load_settings({}, config_file=CONFIGS / f"{name}.toml", environ={"SEAM_API_KEY": "seam_abcdefgh"})


@pytest.mark.parametrize(
    "path",
    # The schedule names profiles and is none; it has tests of its own.
    sorted(path for path in CONFIGS.glob("*.toml") if path.name != "schedule.toml"),
    ids=lambda path: path.stem,
)
def test_every_profile_loads_and_explains_itself(path: Path) -> None:
    """Each shipped profile is valid, bounded by a guard, named, and commented throughout."""
    settings = profile(path.stem)
    assert settings.guards.max_failures is not None
    assert settings.output.name == path.stem
    lines = path.read_text().splitlines()
    assert sum(line.startswith("#") for line in lines) * 3 > len([line for line in lines if line])


def test_onboarding_takes_nothing_over() -> None:
    """Onboarding gives first credentials only."""
    settings = profile("onboarding")
    assert settings.sending.takeover == "refuse"
    assert settings.sending.rate == 20
    assert settings.guards.max_failures == Bound(percent=2)


def test_migration_ends_in_the_morning() -> None:
    """Migration replaces owners, waits out an outage and drains before the morning."""
    settings = profile("migration")
    assert settings.sending.takeover == "allow"
    assert settings.sending.outage_patience == 7200
    assert settings.guards.deadline == time(5, 30)


def test_nightly_needs_nobody() -> None:
    """The nightly run has no bar, one ledger beside the profile, and an end."""
    settings = profile("nightly")
    assert (settings.logging.quiet, settings.logging.progress) == (True, False)
    assert settings.output.ledger == str(CONFIGS / "nightly-ledger.db")
    assert settings.guards.deadline == timedelta(hours=3)
    assert settings.telling.notify_on == "failure"


def test_commented_lines_of_the_nightly_profile_are_valid(tmp_path: Path) -> None:
    """What is shown as an example works when it is uncommented."""
    text = (CONFIGS / "nightly.toml").read_text()
    lines = [
        line.removeprefix("# ") if line.startswith(("# [", "# api_", "# key_", "# metrics_")) else line
        for line in text.splitlines()
    ]
    path = tmp_path / "nightly.toml"
    path.write_text("\n".join(lines))
    credentials = load_settings(
        {}, config_file=path, environ={"SEAM_API_KEY_NORTH": "seam_abcdefgh"}
    ).target.credentials
    assert list(credentials.workspaces) == ["11111111-1111-4111-8111-111111111111"]
    assert list(credentials.missing) == ["22222222-2222-4222-8222-222222222222"]
