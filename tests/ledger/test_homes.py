"""The workspace that a run was begun in is that of its default key: rows that others opened tell nothing of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from tests.ledger.filling import finished, result, row, settle, staged, uuid
from worker.config import Settings
from worker.earlier import check_workspace
from worker.errors import ConfigError
from worker.executor import reopen
from worker.ledger.runs import get_run
from worker.ledger.tables import runs
from worker.models import Outcome
from worker.preflight import Preflight

if TYPE_CHECKING:
    from worker.config import Credentials
    from worker.ledger import Ledger
    from worker.models import Result

HOME, OTHER, THIRD = 1, 2, 3
EMPTY = Preflight(is_empty=True)


def for_home(workspace: int) -> Preflight:
    """The default key turned out to be for this one."""
    return Preflight(workspace_id=uuid(workspace))


def told(number: int, workspace: int) -> Result:
    """Assigned, with the workspace that Seam named in its reply."""
    return result(number, credential_workspace_id=uuid(workspace))


def keys(*workspaces: int) -> Credentials:
    """An API key, and others for these workspaces."""
    named = {uuid(workspace): f"seam_key_of_{workspace}" for workspace in workspaces}
    return Settings.from_options(api_key="seam_key", workspace_keys=named).target.credentials


def token() -> Credentials:
    """One that opens every workspace that is named."""
    return Settings.from_options(personal_access_token="seam_at1", workspace_id=uuid(HOME)).target.credentials


def test_a_row_that_names_a_workspace_does_not_put_off_those_that_name_none(ledger: Ledger) -> None:
    """As in a fleet, whose shards come in any order: what the first one was told is not the default key's workspace."""
    run = staged(ledger.engine, [row(1, workspace=OTHER), row(2)])
    settle(ledger.engine, run, told(1, OTHER), through=1)
    assert reopen(ledger.engine, run, for_home(HOME)).workspace_id == uuid(HOME)
    with pytest.raises(ConfigError, match=f"workspace {uuid(HOME)}, and the key is for {uuid(OTHER)}"):
        reopen(ledger.engine, run, for_home(OTHER))


@pytest.mark.parametrize("preflight", [EMPTY, for_home(HOME), for_home(THIRD)])
def test_where_every_row_names_its_workspace_the_default_key_is_nobodys(ledger: Ledger, preflight: Preflight) -> None:
    """Whether its own workspace is empty, the noted one or another: no row goes there."""
    run = staged(ledger.engine, [row(1, workspace=OTHER), row(2, workspace=THIRD)])
    finished(ledger.engine, run, told(1, OTHER), told(2, THIRD))
    for noted in (None, uuid(HOME)):
        with ledger.engine.begin() as connection:
            connection.execute(update(runs).where(runs.c.run_no == run.run_no).values(workspace_id=noted))
        check_workspace(ledger.engine, get_run(ledger.engine, run.run_no), preflight, credentials=token())
        check_workspace(ledger.engine, get_run(ledger.engine, run.run_no), preflight, credentials=keys(OTHER, THIRD))


def test_rows_that_the_default_key_opens_tell_by_name_too_where_it_was(ledger: Ledger) -> None:
    """An API key opens what no other key is for: the key of another workspace would find nothing of it."""
    run = staged(ledger.engine, [row(1, workspace=OTHER), row(2, workspace=HOME), row(3)])
    settle(ledger.engine, run, told(1, OTHER), told(2, HOME), through=2)
    check_workspace(ledger.engine, run, for_home(HOME), credentials=keys(OTHER))
    check_workspace(ledger.engine, run, EMPTY, credentials=token())
    for wrong, said in ((for_home(OTHER), f"for {uuid(OTHER)}"), (EMPTY, "for one that holds no credential")):
        with pytest.raises(ConfigError, match=f"workspace {uuid(HOME)}, and the key is {said}"):
            check_workspace(ledger.engine, run, wrong, credentials=keys(OTHER))


def test_the_only_key_is_for_all_rows(ledger: Ledger) -> None:
    """Rows that name their workspace included: another key would call their credentials unknown."""
    run = staged(ledger.engine, [row(1, workspace=HOME), row(2, workspace=HOME)])
    settle(ledger.engine, run, told(1, HOME), result(2, Outcome.FAILED), through=2)
    check_workspace(ledger.engine, run, for_home(HOME), credentials=keys())
    for wrong in (for_home(OTHER), EMPTY):
        with pytest.raises(ConfigError, match="use the key that it was begun with"):
            check_workspace(ledger.engine, run, wrong, credentials=keys())
