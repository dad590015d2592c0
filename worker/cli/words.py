"""Figures as people read them."""

from __future__ import annotations

import time

__all__ = ["amount", "in_rows", "moment", "per_second", "span"]


def amount(number: float) -> str:
    """A number of things with its thousands apart: `12 345`."""
    return f"{number:,.0f}".replace(",", " ")


def in_rows(count: int) -> str:
    """A number of rows: `1 row`, `12 345 rows`."""
    return "1 row" if count == 1 else f"{amount(count)} rows"


def per_second(rate: float) -> str:
    """A rate: `1 234`, or `0.4` where it is below one."""
    return amount(rate) if rate >= 1 else f"{rate:.1g}"


def moment(at: float | None) -> str:
    """A time of day, on the clock of this machine: `2026-11-24 01:53:12`."""
    return "" if at is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def span(seconds: float) -> str:
    """A duration: `0.4 s`, `12 s`, `3 min 5 s`, `2 h 14 min`."""
    if seconds < 10:  # noqa: PLR2004 - above, tenths say nothing
        return f"{seconds:.1f} s"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minute} min"
    return f"{minute} min {second} s" if minute else f"{second} s"
