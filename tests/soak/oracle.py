"""The truth against the ledger: what the service applied, and what the results say.

The same comparison serves every test of the promise: one final result per input row, no `assigned` that was not
applied, no applied row reported otherwise, no second send of a row without a reading between.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = ["Findings", "Row", "compare", "fetch_events", "read_results"]

_REFUSED = frozenset({301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 413, 422})
"""Statuses that say that nothing was done."""
_WRITES = frozenset({"assign", "unassign"})
_HAS_IT = frozenset({"assigned", "unchanged"})
_HAS_IT_NOT = frozenset({"failed", "pending"})


@dataclass(frozen=True)
class Row:
    """What one input row asked for."""

    credential: str
    user_key: str
    user: str


@dataclass
class Findings:
    """What is wrong; all zero is the promise kept."""

    lost: list[int] = field(default_factory=list)
    """Rows without exactly one result."""
    untrue: list[str] = field(default_factory=list)
    """Results that the service's truth contradicts."""
    unverified_resends: list[str] = field(default_factory=list)
    """Credentials that were sent again without a reading since."""
    outcomes: Counter[str] = field(default_factory=Counter)
    resends: int = 0

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.untrue or self.unverified_resends)


def fetch_events(url: str, *, after: int = 0) -> list[dict[str, Any]]:
    """The simulator's log, from behind event `after`."""
    with urlopen(f"{url}/_simulator/log?after={after}") as reply:  # noqa: S310 - our own simulator on this machine
        return [json.loads(line) for line in reply]


def read_results(path: Path) -> list[dict[str, Any]]:
    """A JSONL export."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def compare(
    rows: Mapping[int, Row], results: Iterable[Mapping[str, Any]], events: Iterable[Mapping[str, Any]]
) -> Findings:
    """Compare results with what the service did.

    Args:
        rows: the valid rows of the input, by number.
        results: one record per input row, as exported.
        events: the simulator's log.
    """
    findings = Findings()
    owner: dict[str, tuple[str | None, str | None]] = {}
    unread: dict[str, str] = {}
    events = list(events)
    replies = {event["request_id"]: event for event in events if event["kind"] == "replied"}
    for event in events:
        credential: Any = event.get("credential")
        if event["kind"] == "applied":
            owner[credential] = (event["acs_user"], event["user_identity"])
        elif event["kind"] == "read" and event["status"] == 200:
            unread.pop(credential, None)
        elif event["kind"] == "received" and event["route"] in _WRITES:
            if credential in unread:
                findings.unverified_resends.append(f"{credential}: {unread[credential]}, then {event['request_id']}")
            reply = replies.get(event["request_id"])
            if reply is None or reply["status"] not in _REFUSED:
                unread[credential] = event["request_id"]
    findings.resends = sum(count - 1 for count in _sends(events).values())

    seen = Counter(result["row"] for result in results)
    findings.lost = [row for row in rows if seen[row] != 1] + [row for row, count in seen.items() if count > 1]
    for result in results:
        findings.outcomes[result["outcome"]] += 1
        row = rows.get(result["row"])
        if row is None:
            continue
        acs_user, identity = owner.get(row.credential, (None, None))
        has_it = row.user == (acs_user if row.user_key == "acs_user_id" else identity)
        outcome = result["outcome"]
        if (outcome in _HAS_IT and not has_it) or (outcome in _HAS_IT_NOT and has_it):
            findings.untrue.append(f"row {result['row']}: {outcome}, but the credential is {acs_user}'s ({identity})")
    return findings


def _sends(events: Iterable[Mapping[str, Any]]) -> Counter[str]:
    return Counter(event["credential"] for event in events if event["kind"] == "received" and event["route"] in _WRITES)
