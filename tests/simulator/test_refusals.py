"""Keys, bodies and URLs that are refused, in Seam's own shapes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulator.calls import ASSIGN, GET, GET_USER, LIST, a_user, an_id, an_identity, running

PAT, LISTED_PAT = "seam_at_any", "seam_at_listed"
ONE, TWO = "5eed0000-0000-4000-8000-00000000000a", "5eed0000-0000-4000-8000-00000000000b"
ACCESS = {"personal_access_tokens": {PAT: [], LISTED_PAT: [ONE]}, "refused_keys": ["seam_revoked"]}


@pytest.mark.parametrize(
    ("key", "workspace", "refusal"),
    [
        (None, None, "unauthorized"),
        ("seam_wrong", None, "unauthorized"),
        ("seam_revoked", None, "unauthorized"),
        ("seam_cst_session", None, "auth_method_does_not_apply"),
        ("eyJhbGciOi", None, "auth_method_does_not_apply"),
        (PAT, None, "auth_method_does_not_apply"),
        (LISTED_PAT, TWO, "unauthorized"),
        (PAT, TWO, None),
        (LISTED_PAT, ONE, None),
    ],
)
async def test_keys(key: str | None, workspace: str | None, refusal: str | None) -> None:
    """401 in Seam's shape, or the workspace that the token names."""
    async with running(access=ACCESS) as caller:
        headers = {} if workspace is None else {"seam-workspace": workspace}
        answer = await caller.get(1, key=key, headers=headers)
        if refusal is None:
            assert answer.credential["workspace_id"] == workspace
        else:
            assert (answer.status, answer.error) == (401, refusal)
            assert answer.headers["seam-request-id"]


async def test_a_key_can_be_revoked_at_run_time() -> None:
    """From the change of settings on it is refused."""
    async with running() as caller:
        assert (await caller.get(1)).status == 200
        await caller.control("settings", {"access": {"refused_keys": [caller.server.api_key]}})
        assert (await caller.get(1)).status == 401


@pytest.mark.parametrize(
    ("path", "body", "field", "message"),
    [
        (ASSIGN, {}, "acs_credential_id", "Required"),
        (ASSIGN, {"acs_credential_id": an_id(1)}, "acs_user_id", "Exactly one"),
        (
            ASSIGN,
            {"acs_credential_id": an_id(1), "acs_user_id": a_user(1), "user_identity_id": an_identity(1)},
            "acs_user_id",
            "Exactly one",
        ),
        (ASSIGN, {"acs_credential_id": an_id(1), "acs_user_id": None}, "acs_user_id", "received null"),
        (ASSIGN, {"acs_credential_id": "x", "acs_user_id": a_user(1)}, "acs_credential_id", "Invalid uuid"),
        (ASSIGN, ["x"], "_root", "Expected object"),
        (GET, {"acs_credential_id": 7}, "acs_credential_id", "received int"),
        (GET_USER, {"user_identity_id": an_identity(1)}, "acs_system_id", "Required"),
        (LIST, {"limit": 0}, "limit", "at least 1"),
        (LIST, {"search": "x"}, "search", "does not filter"),
    ],
)
async def test_invalid_bodies(path: str, body: Any, field: str, message: str) -> None:
    """400 `invalid_input`, with what is wrong with which field."""
    async with running() as caller:
        answer = await caller.send(path, body)
        assert (answer.status, answer.error) == (400, "invalid_input")
        assert message in answer.json["error"]["validation_errors"][field]["_errors"][0]


async def test_malformed_json_is_plain_text_without_request_id() -> None:
    """Seam's parser answers before anything has an id."""
    async with running() as caller:
        answer = await caller.send(ASSIGN, b'{"acs_credential_id": ')
        assert (answer.status, answer.headers["Content-Type"]) == (400, "text/plain; charset=utf-8")
        assert "seam-request-id" not in answer.headers


async def test_unknown_url_is_plain_404_without_request_id() -> None:
    """That is how a wrong URL is told from a missing credential."""
    async with running() as caller:
        answer = await caller.send("/acs/credentials/assignx", {})
        assert (answer.status, answer.body) == (404, b"Not Found")
        assert "seam-request-id" not in answer.headers


async def test_request_ids_are_never_the_same() -> None:
    """One for every reply."""
    async with running() as caller:
        ids = {(await caller.get(number)).headers["seam-request-id"] for number in range(20)}
        assert len(ids) == 20
