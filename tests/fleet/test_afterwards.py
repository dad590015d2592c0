"""What other commands do with a run that a fleet has sent: it is a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.fleet.conftest import make_ground

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fleet.ground import FleetGround

ROWS = 20


@pytest.fixture
def trouble(tmp_path: Path, database: str) -> Iterator[FleetGround]:
    """Three workspaces; some credentials carry warnings, and some calls are answered with a server's error."""
    service: dict[str, Any] = {
        "world": {"warnings": 0.5},
        "faults": {"shares": {"http_503": 0.2}, "times": 1, "applied_share": 0.5},
    }
    with make_ground(tmp_path, database, 3, rows=ROWS, **service) as ground:
        yield ground


def test_a_fleets_run_is_retried_and_verified(trouble: FleetGround) -> None:
    """What failed is sent again by one process, and rows with a warning too, by the run's rule; all are read back."""
    run_id = trouble.submit()
    with trouble.worker("--max-attempts", "1"):
        trouble.wait_until_done()
    first = trouble.call("show", "--json").document()["outcomes"]
    assert first["failed"] > 0
    again = trouble.call("retry", "--json")
    assert again.code == 0, again
    assert again.document()["outcomes"]["assigned"] == len(trouble.rows)
    assert again.document()["run_id"] == run_id
    findings = trouble.judge()
    assert findings.clean, findings
    warned = trouble.call("retry", "--warning", "needs_to_be_reissued", "--json")
    assert warned.code == 0, warned
    assert len(warned.document()["retries"]) == 2, warned
    verified = trouble.call("verify", "--json").document()
    assert (verified["accepted"], sum(verified["findings"].values())) == (len(trouble.rows), len(trouble.rows))
    assert verified["stops"] == []
