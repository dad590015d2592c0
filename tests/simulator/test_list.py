"""Paged lists."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulator.calls import LIST, Caller, a_user, an_id, an_identity, running


async def _all(caller: Caller, **parameters: Any) -> list[list[str]]:
    """The ids on every page."""
    pages: list[list[str]] = []
    cursor = None
    while True:
        body = parameters if cursor is None else {**parameters, "page_cursor": cursor}
        answer = (await caller.send(LIST, body)).json
        pages.append([one["acs_credential_id"] for one in answer["acs_credentials"]])
        cursor = answer["pagination"]["next_page_cursor"]
        assert answer["pagination"]["has_next_page"] == (cursor is not None)
        assert (answer["pagination"]["next_page_url"] is None) == (cursor is None)
        if cursor is None:
            return pages


async def _seed(caller: Caller, count: int) -> None:
    seeds = [
        {
            "acs_credential_id": an_id(number),
            "acs_user_id": a_user(number % 3),
            "user_identity_id": an_identity(number % 3),
            "acs_system_id": an_id(number % 2, 0x5),
        }
        for number in range(count)
    ]
    await caller.control("credentials", seeds)


async def test_pages_hold_everything_once_in_order() -> None:
    """500 a page by default; no row twice, none missing, in the order of their seeding."""
    async with running() as caller:
        await _seed(caller, 1200)
        pages = await _all(caller)
        assert [len(page) for page in pages] == [500, 500, 200]
        assert [one for page in pages for one in page] == [an_id(number) for number in range(1200)]


async def test_exact_pages_have_no_empty_one_behind_them() -> None:
    """Where the last page is just full, it says that it is the last."""
    async with running() as caller:
        await _seed(caller, 40)
        assert [len(page) for page in await _all(caller, limit=20)] == [20, 20]


async def test_rows_that_come_while_paging_do_not_shift_the_rest() -> None:
    """A credential touched between two pages stands at the end."""
    async with running() as caller:
        await _seed(caller, 4)
        first = (await caller.send(LIST, {"limit": 2})).json
        await caller.get(99)
        rest = await caller.send(LIST, {"limit": 2, "page_cursor": first["pagination"]["next_page_cursor"]})
        assert [one["acs_credential_id"] for one in rest.json["acs_credentials"]] == [an_id(2), an_id(3)]


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        ({"acs_system_id": an_id(1, 0x5)}, range(1, 30, 2)),
        ({"acs_user_id": a_user(2)}, range(2, 30, 3)),
        ({"user_identity_id": an_identity(0)}, range(0, 30, 3)),
        ({"acs_system_id": an_id(0, 0x5), "acs_user_id": a_user(0)}, range(0, 30, 6)),
    ],
)
async def test_filters(wanted: dict[str, str], numbers: range) -> None:
    """By system, user and identity, and by both."""
    async with running() as caller:
        await _seed(caller, 30)
        pages = await _all(caller, limit=4, **wanted)
        assert [one for page in pages for one in page] == [an_id(number) for number in numbers]


async def test_a_cursor_belongs_to_its_parameters() -> None:
    """With other parameters it is refused by name; garbage is no cursor."""
    async with running() as caller:
        await _seed(caller, 4)
        cursor = (await caller.send(LIST, {"limit": 2})).json["pagination"]["next_page_cursor"]
        other = await caller.send(LIST, {"limit": 3, "page_cursor": cursor})
        assert (other.status, other.error) == (400, "mismatched_page_parameters")
        garbage = await caller.send(LIST, {"limit": 2, "page_cursor": "x"})
        assert (garbage.status, garbage.error) == (400, "invalid_input")
        first = await caller.send(LIST, {"limit": 2, "page_cursor": None})
        assert first.status == 200


async def test_only_the_keys_workspace_is_listed() -> None:
    """Another workspace's credentials do not show."""
    access = {"api_keys": {"seam_other": "5eed0000-0000-4000-8000-000000000002"}}
    async with running(access=access) as caller:
        await caller.get(1)
        await caller.get(2, key="seam_other")
        assert await _all(caller) == [[an_id(1)]]
