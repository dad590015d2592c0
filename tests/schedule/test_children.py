"""The processes of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.schedule.making import profile
from worker.schedule import Children

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_run_s_exit_code_is_given(tmp_path: Path) -> None:
    """The command is run where it was said: the file is not there."""
    assert await Children(tmp_path).run(profile("0 2 * * *")) == 2
    (tmp_path / "jobs.csv").write_text("acs_credential_id,acs_user_id\n", encoding="utf-8")
    assert await Children(tmp_path).run(profile("0 2 * * *")) == 0


async def test_a_run_that_is_just_starting_is_ended_too(tmp_path: Path) -> None:
    """The end came while its process was being made."""
    children = Children(tmp_path)
    children.end()
    assert await children.run(profile("0 2 * * *")) == 143
