"""A fleet under harm (`scripts/soak --fleet` is the long soak; tests/fleet has most harms one by one)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.soak.fleets import play

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import Server as Postgres


def test_a_crash_of_the_server(tmp_path: Path, postgres: Postgres) -> None:
    """PostgreSQL dies in mid-run: its workers end, are started again, and finish the run as if nothing had been."""
    played = play("crash", 6, tmp_path, postgres)
    assert played.clean, (played.problems, played.findings)
    assert "crash" in played.befell
