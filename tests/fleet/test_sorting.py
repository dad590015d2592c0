"""What a worker can do with the keys that it has."""

from __future__ import annotations

import pytest

from tests.ledger.filling import uuid
from worker.config import Credentials
from worker.fleet.sorting import Sorted, is_home_wanted, sort_by_key

NORTH, SOUTH = uuid(1), uuid(2)
WANTED = {0: NORTH, 1: SOUTH, 2: None}
ONE_OF_ITS_OWN = Credentials.of(api_key="seam_default", workspace_keys={NORTH: "seam_north"})


def test_a_missing_key_puts_off_its_workspace_alone() -> None:
    """The others are ready; the reason names the workspace."""
    sorted_ = sort_by_key(WANTED, Credentials.of(workspace_keys={NORTH: "seam_north"}), None)
    assert sorted_.ready == (0,)
    assert sorted_.put_off.keys() == {1, 2}
    assert SOUTH in sorted_.put_off[1]


def test_a_token_opens_every_workspace_that_is_named() -> None:
    """Rows that name none need to be told which."""
    sorted_ = sort_by_key(WANTED, Credentials.of(personal_access_token="seam_at_token"), None)
    assert (sorted_.ready, set(sorted_.put_off)) == ((0, 1), {2})


@pytest.mark.parametrize(("home", "ready"), [(SOUTH, (0, 1, 2)), (NORTH, (0, 2)), (None, (0, 2))])
def test_the_default_key_is_for_one_workspace(home: str | None, ready: tuple[int, ...]) -> None:
    """For which, the service tells; a workspace that it is not for is put off."""
    sorted_ = sort_by_key(WANTED, ONE_OF_ITS_OWN, home)
    assert sorted_.ready == ready
    assert all("seam_default" not in reason and SOUTH in reason for reason in sorted_.put_off.values())


def test_the_service_is_asked_only_where_it_matters() -> None:
    """Not for workspaces with keys of their own, nor for a token."""
    assert is_home_wanted(WANTED, ONE_OF_ITS_OWN)
    assert not is_home_wanted({0: NORTH}, ONE_OF_ITS_OWN)
    assert not is_home_wanted(WANTED, Credentials.of(personal_access_token="seam_at_token"))
    assert not is_home_wanted(WANTED, Credentials.of())


def test_more_can_be_put_off() -> None:
    """With a reason of its own."""
    assert Sorted((1, 2, 3), {4: "no key"}).without([1, 3], "begun elsewhere") == Sorted(
        (2,), {4: "no key", 1: "begun elsewhere", 3: "begun elsewhere"}
    )
