"""Who calls: from the headers to a workspace, or to Seam's 401."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from worker.simulator.ids import canonical
from worker.simulator.replies import Reply, seam_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.simulator.settings import Access

__all__ = ["workspace_of"]

_UNUSABLE = ("seam_cst", "seam_pk", "ey")
"""Client sessions, publishable keys and JWTs: known, but not for these routes."""


def workspace_of(access: Access, headers: Mapping[str, str]) -> str | Reply:
    """The workspace that a request acts in, or the refusal."""
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        return _refusal("unauthorized", "A bearer token is needed.")
    if token in access.refused_keys:
        return _refusal("unauthorized", "The key was revoked.")
    workspace = access.api_keys.get(token)
    if workspace is not None:
        return workspace
    allowed = access.personal_access_tokens.get(token)
    if allowed is not None:
        named = canonical(headers.get("seam-workspace"))
        if named is None:
            return _refusal("auth_method_does_not_apply", "A personal access token needs seam-workspace.")
        return named if not allowed or named in allowed else _refusal("unauthorized", "Not your workspace.")
    if token.startswith(_UNUSABLE):
        return _refusal("auth_method_does_not_apply", "This kind of token does not apply here.")
    return _refusal("unauthorized", "The key is not known.")


def _refusal(kind: str, message: str) -> Reply:
    return seam_error(HTTPStatus.UNAUTHORIZED, kind, message)
