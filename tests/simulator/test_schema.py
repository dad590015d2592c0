"""What normal operation answers is what Seam's schema allows."""

from __future__ import annotations

import pytest

from tests.seam_schema import fields_of, methods_of, problems
from tests.simulator.calls import (
    ASSIGN,
    GET,
    GET_USER,
    LIST,
    UNASSIGN,
    a_user,
    an_id,
    an_identity,
    running,
)

MIXED = {
    "children": 0.3,
    "foreign_credentials": 0.5,
    "credential_errors": 0.3,
    "becomes_issued_after": 3600,
    "synced_after": 3600,
}


@pytest.mark.parametrize("world", [{}, MIXED, {"identity_on_credential": False}])
async def test_every_route_conforms(world: dict[str, object]) -> None:
    """All sorts of credentials, users and pages, over a hundred ids, have nothing against the schema."""
    async with running(world=world) as caller:
        methods, kinds = set(), set()
        for number in range(100):
            by = {"acs_user_id": a_user(number)} if number % 2 else {"user_identity_id": an_identity(number)}
            body = {"acs_credential_id": an_id(number), **by}
            assert problems(ASSIGN, "request", body) == []
            for route in (GET, ASSIGN, GET) if number % 10 else (ASSIGN, UNASSIGN):
                sent = body if route in {ASSIGN, UNASSIGN} else {"acs_credential_id": an_id(number)}
                answer = await caller.send(route, sent)
                assert (answer.status, problems(route, "response", answer.json)) == (200, [])
                assert answer.credential.keys() <= fields_of("acs_credential")
                methods.add(answer.credential["access_method"])
                kinds.add(answer.credential["external_type"])
        assert methods == {"code", "card", "mobile_key", "cloud_key"}
        assert len(kinds) == 14
        page = await caller.send(LIST, {"limit": 30})
        assert problems(LIST, "response", page.json) == []
        owner = page.json["acs_credentials"][1]["acs_user_id"]
        user = await caller.send(GET_USER, {"acs_user_id": owner})
        assert problems(GET_USER, "response", user.json) == []
        assert user.json["acs_user"].keys() <= fields_of("acs_user")


async def test_warnings_conform_but_for_the_unknown_one() -> None:
    """Every known code comes in the schema's form; one that the schema does not know comes too."""
    async with running(world={"warnings": 1}) as caller:
        codes = set()
        for number in range(120):
            answer = await caller.get(number)
            (warning,) = answer.credential["warnings"]
            codes.add(warning["warning_code"])
            if warning["warning_code"] == "simulated_unknown_warning":
                assert problems(GET, "response", answer.json) != []
            else:
                assert problems(GET, "response", answer.json) == []
        assert codes == {
            "waiting_to_be_issued",
            "schedule_externally_modified",
            "schedule_modified",
            "being_deleted",
            "unknown_issue_with_acs_credential",
            "needs_to_be_reissued",
            "requested_code_unavailable",
            "simulated_unknown_warning",
        }


@pytest.mark.parametrize("route", [ASSIGN, UNASSIGN, GET, LIST, GET_USER])
async def test_patch_only_where_the_schema_has_it(route: str) -> None:
    """PATCH assigns and unassigns; elsewhere it is 405."""
    async with running() as caller:
        body = {"acs_credential_id": an_id(1), "acs_user_id": a_user(1)}
        answer = await caller.send(route, body, method="PATCH")
        assert answer.status == (200 if "PATCH" in methods_of(route) else 405)
