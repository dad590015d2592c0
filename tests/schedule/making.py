"""Profiles and moments, in few words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from worker.schedule import Profile
from worker.schedule.cron import Cron

__all__ = ["at", "profile"]


def profile(cron: str, zone: str = "UTC", *, name: str = "night", **more: Any) -> Profile:
    """A profile that checks a file."""
    return Profile(name=name, cron=Cron.parse(cron), time_zone=ZoneInfo(zone), command=("check", "jobs.csv"), **more)


def at(text: str, zone: str = "UTC", fold: int = 0) -> datetime:
    """A moment, as a clock in that zone shows it."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)
