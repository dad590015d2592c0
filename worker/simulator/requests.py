"""The bodies that the routes take, checked as Seam checks them."""

from __future__ import annotations

import json
from hashlib import blake2b
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from worker.simulator.ids import canonical
from worker.simulator.replies import TEXT_TYPE, Reply, invalid, seam_error

__all__ = [
    "GetRequest",
    "ListRequest",
    "Mutation",
    "UserRequest",
    "page_cursor",
    "parse_get",
    "parse_json",
    "parse_list",
    "parse_mutation",
    "parse_user",
]

PAGE_LIMIT: Final = 500
_USER_KEYS: Final = ("acs_user_id", "user_identity_id")
_FILTERS: Final = ("acs_system_id", "acs_user_id", "user_identity_id")


class Mutation(NamedTuple):
    """A body of assign or unassign."""

    credential: str
    user_key: str
    user: str


class GetRequest(NamedTuple):
    """A body of credentials/get."""

    credential: str


class UserRequest(NamedTuple):
    """A body of users/get: the one id, or the other two."""

    acs_user: str | None
    identity: str | None
    system: str | None


class ListRequest(NamedTuple):
    """A body of credentials/list."""

    system: str | None
    acs_user: str | None
    identity: str | None
    limit: int
    start: int
    """The place to go on from."""
    parameters: str
    """What the cursor is bound to."""


def parse_json(body: bytes) -> dict[str, Any] | Reply:
    """The object in a body, or the refusal: in plain text and without a request id where it is no JSON."""
    try:
        values = json.loads(body)
    except ValueError:
        return Reply(HTTPStatus.BAD_REQUEST, b"Malformed JSON in request body", TEXT_TYPE, has_request_id=False)
    return values if isinstance(values, dict) else invalid("_root", "Expected object")


def parse_mutation(values: dict[str, Any]) -> Mutation | Reply:
    """A credential, and exactly one of the two ids."""
    credential = _id(values, "acs_credential_id")
    if not isinstance(credential, str):
        return credential
    given = [key for key in _USER_KEYS if key in values]
    if len(given) != 1:
        return invalid(_USER_KEYS[0], "Exactly one of acs_user_id and user_identity_id is needed")
    user = _id(values, given[0])
    return Mutation(credential, given[0], user) if isinstance(user, str) else user


def parse_get(values: dict[str, Any]) -> GetRequest | Reply:
    """A credential."""
    credential = _id(values, "acs_credential_id")
    return GetRequest(credential) if isinstance(credential, str) else credential


def parse_user(values: dict[str, Any]) -> UserRequest | Reply:
    """`acs_user_id`, or `user_identity_id` with `acs_system_id`."""
    if "acs_user_id" in values:
        user = _id(values, "acs_user_id")
        return UserRequest(user, None, None) if isinstance(user, str) else user
    identity = _id(values, "user_identity_id")
    system = _id(values, "acs_system_id")
    if not isinstance(identity, str):
        return identity
    return UserRequest(None, identity, system) if isinstance(system, str) else system


def parse_list(values: dict[str, Any]) -> ListRequest | Reply:
    """Filters, a limit, and a cursor of the same parameters. What is not filtered by is refused."""
    for key in values:
        if key not in {*_FILTERS, "limit", "page_cursor"}:
            return invalid(key, "The simulator does not filter by this")
    found: list[str | None] = []
    for key in _FILTERS:
        given = _id(values, key) if key in values else None
        if isinstance(given, Reply):
            return given
        found.append(given)
    limit = values.get("limit", PAGE_LIMIT)
    if not isinstance(limit, int | float) or isinstance(limit, bool) or limit < 1:
        return invalid("limit", "Expected a number of at least 1")
    limit = min(int(limit), PAGE_LIMIT)
    parameters = blake2b(json.dumps([*found, limit]).encode(), digest_size=8).hexdigest()
    cursor, start = values.get("page_cursor"), 0
    if cursor is not None:
        bound, _, place = str(cursor).partition(".")
        if not (isinstance(cursor, str) and place.isascii() and place.isdigit()):
            return invalid("page_cursor", "Invalid page cursor")
        if bound != parameters:
            return seam_error(
                HTTPStatus.BAD_REQUEST,
                "mismatched_page_parameters",
                "The page cursor belongs to other parameters.",
            )
        start = int(place)
    return ListRequest(found[0], found[1], found[2], limit, start, parameters)


def page_cursor(request: ListRequest, place: int) -> str:
    """The cursor that goes on from a place."""
    return f"{request.parameters}.{place}"


def _id(values: dict[str, Any], key: str) -> str | Reply:
    if key not in values:
        return invalid(key, "Required")
    value = values[key]
    found = canonical(value)
    if found is not None:
        return found
    if isinstance(value, str):
        return invalid(key, "Invalid uuid")
    return invalid(key, f"Expected string, received {'null' if value is None else type(value).__name__}")
