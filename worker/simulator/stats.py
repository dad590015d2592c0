"""Counts of what came, by route and status and by workspace."""

from __future__ import annotations

from collections import Counter

__all__ = ["Stats"]


class Stats:
    """Running counts; all of Seam's routes, none of the simulator's own."""

    def __init__(self) -> None:
        self.in_flight = 0
        self._max_in_flight = 0
        self._requests: Counter[tuple[str, int | None]] = Counter()
        self._workspaces: dict[str, Counter[str]] = {}
        self._in_flight_by: Counter[str] = Counter()

    def enter(self) -> None:
        """A request came."""
        self.in_flight += 1
        self._max_in_flight = max(self._max_in_flight, self.in_flight)

    def leave(self, workspace: str | None) -> None:
        """A request was answered or given up."""
        self.in_flight -= 1
        if workspace is not None:
            self._in_flight_by[workspace] -= 1

    def name(self, workspace: str) -> None:
        """It is known whose request it is."""
        counts = self._workspaces.setdefault(workspace, Counter())
        counts["requests"] += 1
        self._in_flight_by[workspace] += 1
        counts["max_in_flight"] = max(counts["max_in_flight"], self._in_flight_by[workspace])

    def answered(self, route: str, status: int | None, workspace: str | None) -> None:
        """A request was answered with a status, or with none."""
        self._requests[route, status] += 1
        if status == 429 and workspace is not None:  # noqa: PLR2004 - HTTP: too many requests
            self._workspaces[workspace]["limited"] += 1

    def applied(self, workspace: str) -> None:
        """A call took effect."""
        self._workspaces.setdefault(workspace, Counter())["applied"] += 1

    def snapshot(self) -> dict[str, object]:
        """Everything as JSON; requests that had no reply stand under `none`."""
        routes: dict[str, dict[str, int]] = {}
        for (route, status), count in sorted(self._requests.items(), key=str):
            routes.setdefault(route, {})["none" if status is None else str(status)] = count
        return {
            "requests": routes,
            "in_flight": self.in_flight,
            "max_in_flight": self._max_in_flight,
            "workspaces": {
                name: {key: counts[key] for key in ("requests", "applied", "limited", "max_in_flight")}
                for name, counts in self._workspaces.items()
            },
        }
