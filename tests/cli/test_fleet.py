"""`assign-worker fleet`: what cannot be done is refused in a sentence, before any server is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.service import call, make_jobs, write_jobs

if TYPE_CHECKING:
    from pathlib import Path

SERVER = "postgresql://worker:hunter2canary@127.0.0.1:9/doors"


@pytest.mark.parametrize("command", [("init",), ("submit", "jobs.csv"), ("worker",), ("status",), ("cancel", "1")])
@pytest.mark.parametrize("ledger", [(), ("--ledger", "assign-ledger.db")])
def test_a_fleet_needs_a_server(command: tuple[str, ...], ledger: tuple[str, ...]) -> None:
    """A ledger file cannot be shared; the message says what is needed."""
    ended = call(["fleet", *command, *ledger], {"SEAM_API_KEY": "seam_key_of_a_test"})
    assert ended.code == 2
    assert "postgresql://USER@HOST/DATABASE" in ended.err


@pytest.mark.parametrize("variable", ["MAX_FAILURES", "CANARY", "SYNC"])
def test_what_a_fleet_does_not_keep_is_refused(variable: str, tmp_path: Path) -> None:
    """A guard that somebody relies on is not left out in silence."""
    jobs = write_jobs(tmp_path / "jobs.csv", make_jobs(1))
    ended = call(["fleet", "submit", jobs, "--ledger", SERVER], {f"ASSIGN_WORKER_{variable}": "1"})
    assert ended.code == 2
    assert "assign-worker run" in ended.err


def test_a_worker_needs_a_key() -> None:
    """It says which variables to set."""
    ended = call(["fleet", "worker", "--ledger", SERVER], {})
    assert ended.code == 2
    assert "SEAM_API_KEY" in ended.err


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    """Exit code 2, and a sentence."""
    ended = call(["fleet", "init", "--ledger", SERVER], {})
    assert ended.code == 2
    assert "127.0.0.1" in ended.err
    assert "hunter2canary" not in ended.err


def test_a_misspelt_command_is_answered_with_the_nearest() -> None:
    """As in the group above it."""
    ended = call(["fleet", "submitt"], {})
    assert ended.code == 2
    assert "Did you mean 'submit'?" in ended.err
