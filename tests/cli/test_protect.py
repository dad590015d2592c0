"""No core of a process that holds a key."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from click.testing import CliRunner

from worker.cli.group import cli

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import ctypes, resource
from worker.cli.protect import forbid_cores
forbid_cores()
print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
"""
"""3 is PR_GET_DUMPABLE."""


def test_the_process_is_not_dumpable() -> None:
    """Neither by its limit, nor by its flag, which holds where cores go into a pipe."""
    done = subprocess.run(  # noqa: S603 - this interpreter, our own script
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["(0,", "0)", "0"]


@pytest.mark.parametrize(
    "words",
    [
        ("run", "jobs.csv"),
        ("plan", "jobs.csv"),
        ("retry",),
        ("verify",),
        ("undo", "--dry-run"),
        ("schedule", "none.toml"),
        ("fleet", "worker"),
    ],
)
def test_whatever_may_hold_a_key_forbids_cores(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Before any key is looked for; a schedule has them in its environment."""
    monkeypatch.chdir(tmp_path)
    with mock.patch("worker.cli.loading.forbid_cores") as forbidden:
        assert CliRunner().invoke(cli, words).exit_code == 2
    forbidden.assert_called_once_with()
