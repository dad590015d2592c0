"""Who owns what: assign, unassign, identities, and what is changed behind everybody's back."""

from __future__ import annotations

import json

from tests.simulator.calls import GET_USER, UNASSIGN, Caller, a_user, an_id, an_identity, running
from worker.simulator import WORKSPACE_ID

OTHER_WORKSPACE = "5eed0000-0000-4000-8000-000000000002"


async def test_owner_changes_on_assign() -> None:
    """A second assign takes the credential over; get agrees; the log tells whose it was."""
    async with running() as caller:
        assert "acs_user_id" not in (await caller.get(1)).credential
        await caller.assign(1, 1)
        told = (await caller.assign(1, 2)).credential
        assert told["acs_user_id"] == a_user(2)
        assert (await caller.get(1)).credential == told
        assert [(e["acs_user"], e["previous_acs_user"]) for e in caller.applied()] == [
            (a_user(1), None),
            (a_user(2), a_user(1)),
        ]


async def test_unassign_frees_only_from_the_owner() -> None:
    """Unassigning from somebody else changes nothing; from the owner it does."""
    async with running() as caller:
        await caller.assign(1, 1)
        for user, owner in ((2, a_user(1)), (1, None)):
            body = {"acs_credential_id": an_id(1), "acs_user_id": a_user(user)}
            answer = await caller.send(UNASSIGN, body)
            assert answer.credential.get("acs_user_id") == owner


async def test_identity_gets_a_user_in_the_system() -> None:
    """An identity's user is created once a system, and found by identity and system from then on."""
    async with running(world={"systems_per_workspace": 1}) as caller:
        system = (await caller.get(1)).credential["acs_system_id"]
        asked = {"user_identity_id": an_identity(1), "acs_system_id": system}
        before = await caller.send(GET_USER, asked)
        assert (before.status, before.error) == (404, "acs_user_not_found")
        first, second = [(await caller.assign_identity(number)).credential for number in (1, 2)]
        assert first["acs_user_id"] == second["acs_user_id"]
        assert first["user_identity_id"] == an_identity(1)
        found = (await caller.send(GET_USER, asked)).json["acs_user"]
        assert (found["acs_user_id"], found["acs_system_id"]) == (first["acs_user_id"], system)
        by_id = (await caller.send(GET_USER, {"acs_user_id": first["acs_user_id"]})).json["acs_user"]
        assert by_id == found


async def test_identity_has_a_user_in_each_system() -> None:
    """Credentials in different systems give an identity different users."""
    async with running(world={"systems_per_workspace": 50}) as caller:
        told = [(await caller.assign_identity(number)).credential for number in range(6)]
        assert len({one["acs_system_id"] for one in told}) == len({one["acs_user_id"] for one in told}) > 1


async def test_identity_may_stay_hidden() -> None:
    """With the switch off the credential names its user only; users/get still tells the identity."""
    async with running(world={"identity_on_credential": False}) as caller:
        told = (await caller.assign_identity(1)).credential
        assert "user_identity_id" not in told
        user = (await caller.send(GET_USER, {"acs_user_id": told["acs_user_id"]})).json["acs_user"]
        assert user["user_identity_id"] == an_identity(1)


async def test_foreign_credentials_have_an_owner_whom_users_get_knows() -> None:
    """A foreign credential has an owner before anybody assigns it, with or without an identity."""
    async with running(world={"foreign_credentials": 1, "unknown_users": 1}) as caller:
        told = [(await caller.get(number)).credential for number in range(20)]
        assert len({one["acs_user_id"] for one in told}) == 20
        assert 0 < sum("user_identity_id" in one for one in told) < 20
        user = (await caller.send(GET_USER, {"acs_user_id": told[0]["acs_user_id"]})).json["acs_user"]
        assert user.get("user_identity_id") == told[0].get("user_identity_id")


async def test_unknown_shares_answer_404_and_change_nothing() -> None:
    """Unknown credentials and users are 404s of Seam's, with a request id."""
    async with running(world={"unknown_credentials": 1}) as caller:
        for answer in (await caller.assign(1), await caller.get(1)):
            assert (answer.status, answer.error) == (404, "acs_credential_not_found")
            assert answer.headers["seam-request-id"]
    async with running(world={"unknown_users": 1}) as caller:
        answer = await caller.assign(1)
        assert (answer.status, answer.error) == (404, "acs_user_not_found")
        assert (await caller.assign_identity(1)).error == "user_identity_not_found"
        assert caller.applied() == []


async def test_unknown_identity_may_be_400() -> None:
    """Seam has been seen to answer 400 for an identity that does not exist."""
    async with running(world={"unknown_users": 1, "unknown_identity_status": 400}) as caller:
        answer = await caller.assign_identity(1)
        assert (answer.status, answer.error) == (400, "user_identity_not_found")


async def test_share_is_kept_over_many() -> None:
    """A share of 0.2 hits about a fifth."""
    async with running(world={"unknown_credentials": 0.2}) as caller:
        missing = sum([(await caller.get(number)).status == 404 for number in range(500)])
        assert 70 <= missing <= 130


async def test_credentials_belong_to_one_workspace() -> None:
    """What one workspace has touched is not there for another one."""
    access = {"api_keys": {"seam_other": OTHER_WORKSPACE}}
    async with running(access=access) as caller:
        assert (await caller.get(1)).credential["workspace_id"] == WORKSPACE_ID
        assert (await caller.get(1, key="seam_other")).status == 404
        assert (await caller.get(2, key="seam_other")).credential["workspace_id"] == OTHER_WORKSPACE


async def test_seeded_credentials_stand_over_derived_ones() -> None:
    """Seeds come as a list or as lines; owners, systems and any other field are taken as given."""
    async with running() as caller:
        seeds = [
            {
                "acs_credential_id": an_id(number),
                "acs_user_id": a_user(number),
                "acs_system_id": an_id(7, 0x5),
                "display_name": "Front door",
            }
            for number in (1, 2)
        ]
        lines = "\n".join(map(json.dumps, seeds)).encode()
        for body in (seeds, lines):
            assert (await caller.control("credentials", body)).json == {"seeded": 2}
        told = (await caller.get(2)).credential
        expected = (a_user(2), an_id(7, 0x5), "Front door")
        assert (told["acs_user_id"], told["acs_system_id"], told["display_name"]) == expected
        await caller.assign_identity(2, 5)
        assert (await caller.get(2)).credential["user_identity_id"] == an_identity(5)


async def test_owner_changed_behind_the_back() -> None:
    """The owner is another one, the log says `changed`, and owners lists what is."""
    async with running() as caller:
        await caller.assign(1, 1)
        change = {"acs_credential_id": an_id(1), "acs_user_id": a_user(9)}
        assert (await caller.control("owners", [change])).json == {"changed": 1}
        assert (await caller.get(1)).credential["acs_user_id"] == a_user(9)
        changed = [e for e in caller.server.events() if e["kind"] == "changed"]
        assert [(e["acs_user"], e["previous_acs_user"]) for e in changed] == [(a_user(9), a_user(1))]
        (owner,) = map(json.loads, (await caller.control("owners")).body.splitlines())
        assert owner == {
            "acs_credential_id": an_id(1),
            "acs_user_id": a_user(9),
            "user_identity_id": None,
            "workspace_id": WORKSPACE_ID,
            "assigned_here": True,
        }


async def test_bad_seeds_are_refused_by_number() -> None:
    """A record without a UUID is named."""
    async with running() as caller:
        bad = await caller.control("credentials", [{"acs_credential_id": an_id(1)}, {"acs_credential_id": "x"}])
        assert (bad.status, bad.json["error"]) == (400, "record 2: acs_credential_id is no UUID")


async def _cards(caller: Caller) -> list[int]:
    told = [(number, (await caller.get(number)).credential) for number in range(20)]
    return [number for number, one in told if one["access_method"] == "card"]


async def test_cards_are_issued_and_synced_after_a_while() -> None:
    """Until then a card waits with a warning; the times count from the assignment."""
    now = 1_800_000_000.0
    async with running(clock=lambda: now, world={"becomes_issued_after": 60, "synced_after": 30}) as caller:
        card = (await _cards(caller))[0]
        synced = "is_latest_desired_state_synced_with_provider"
        told = (await caller.assign(card)).credential
        assert (told["is_issued"], told[synced]) == (False, False)
        assert [warning["warning_code"] for warning in told["warnings"]] == ["waiting_to_be_issued"]
        now += 31
        told = (await caller.get(card)).credential
        assert (told["is_issued"], told[synced]) == (False, True)
        now += 30
        told = (await caller.get(card)).credential
        assert (told["is_issued"], told["warnings"]) == (True, [])


async def test_canaries_stand_in_every_secret() -> None:
    """PINs, card numbers and the PINs inside warnings are the ones that were set."""
    secrets = {
        "canary_code": "PIN-1",
        "canary_card_number": "CARD-2",
        "canary_original_code": "OLD-3",
        "canary_new_code": "NEW-4",
    }
    async with running(world={**secrets, "warnings": 1}) as caller:
        seen = b"".join([(await caller.get(number)).body for number in range(60)]).decode()
        assert all(secret in seen for secret in secrets.values())


async def test_same_seed_same_world() -> None:
    """Two simulators of one seed agree on everything, in whatever order they are asked; another seed differs."""
    world = {"unknown_credentials": 0.2, "foreign_credentials": 0.5, "warnings": 0.5, "children": 0.5}
    bodies = []
    for seed, order in ((1, 1), (1, -1), (2, 1)):
        async with running(clock=lambda: 1_800_000_000.0, seed=seed, world=world) as caller:
            seen = {number: (await caller.get(number)).body for number in range(60)[::order]}
            bodies.append([seen[number] for number in range(60)])
    assert bodies[0] == bodies[1]
    assert bodies[0] != bodies[2]
