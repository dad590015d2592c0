"""Seam's JSON, as models: what the worker accepts.

Source: Seam's OpenAPI, types 1.1038.0 (2026-08-21). The models are open: unknown fields are kept, enums are
plain strings, and only the id by which a thing is known is required, so that an addition on Seam's side
never fails a row. Inputs are hidden in validation errors, since replies carry PINs.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, StringConstraints

__all__ = [
    "WARNING_CODES",
    "AcsCredential",
    "AcsCredentialError",
    "AcsCredentialWarning",
    "AcsUser",
    "AssignReply",
    "ErrorBody",
    "ErrorReply",
    "ListReply",
    "Pagination",
    "UserReply",
]

WARNING_CODES: Final = (
    "waiting_to_be_issued",
    "schedule_externally_modified",
    "schedule_modified",
    "being_deleted",
    "unknown_issue_with_acs_credential",
    "needs_to_be_reissued",
    "requested_code_unavailable",
)
"""Of a credential, as the schema names them; the service may send others."""

_OPEN = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True, protected_namespaces=())

LowerStr = Annotated[str, StringConstraints(to_lower=True)]


class AcsCredentialWarning(BaseModel):
    """One warning on a credential. `original_code` and `new_code` are PINs."""

    model_config = _OPEN

    warning_code: str = Field(default="unknown", validation_alias=AliasChoices("warning_code", "error_code"))
    message: str = ""
    created_at: str | None = None
    original_code: str | None = Field(default=None, repr=False)
    new_code: str | None = Field(default=None, repr=False)


class AcsCredentialError(BaseModel):
    """One error on a credential, as the lock maker's system reported it."""

    model_config = _OPEN

    error_code: str = "unknown"
    message: str = ""
    created_at: str | None = None


class AcsCredential(BaseModel):
    """A credential: all 29 fields of the schema, and whatever else came."""

    model_config = _OPEN

    acs_credential_id: LowerStr
    access_method: str | None = None
    acs_credential_pool_id: str | None = None
    acs_system_id: LowerStr | None = None
    acs_user_id: LowerStr | None = None
    akiles_metadata: dict[str, Any] | None = Field(default=None, repr=False)
    assa_abloy_vostio_metadata: dict[str, Any] | None = Field(default=None, repr=False)
    card_number: str | None = Field(default=None, repr=False)
    code: str | None = Field(default=None, repr=False)
    connected_account_id: str | None = None
    created_at: str | None = None
    display_name: str | None = None
    ends_at: str | None = None
    errors: tuple[AcsCredentialError, ...] = ()
    external_type: str | None = None
    external_type_display_name: str | None = None
    is_issued: bool | None = None
    is_latest_desired_state_synced_with_provider: bool | None = None
    is_managed: bool | None = None
    is_multi_phone_sync_credential: bool | None = None
    is_one_time_use: bool | None = None
    issued_at: str | None = None
    latest_desired_state_synced_with_provider_at: str | None = None
    parent_acs_credential_id: str | None = None
    starts_at: str | None = None
    user_identity_id: LowerStr | None = None
    visionline_metadata: dict[str, Any] | None = Field(default=None, repr=False)
    warnings: tuple[AcsCredentialWarning, ...] = ()
    workspace_id: LowerStr | None = None


class AcsUser(BaseModel):
    """A user of one access system; only what tells who it is."""

    model_config = _OPEN

    acs_user_id: LowerStr
    acs_system_id: LowerStr | None = None
    user_identity_id: LowerStr | None = None
    workspace_id: LowerStr | None = None


class AssignReply(BaseModel):
    """A 2xx of assign, unassign and get; void replies have no field of it. A 2xx with an error is none."""

    model_config = _OPEN

    acs_credential: AcsCredential | None = None
    error: Any = Field(default=None, repr=False)
    ok: bool | None = None


class UserReply(BaseModel):
    """A 2xx of users/get."""

    model_config = _OPEN

    acs_user: AcsUser
    error: Any = Field(default=None, repr=False)
    ok: bool | None = None


class Pagination(BaseModel):
    """Where the next page of a list is."""

    model_config = _OPEN

    next_page_cursor: str | None = None
    has_next_page: bool = False


class ListReply(BaseModel):
    """A 2xx of credentials/list: one page."""

    model_config = _OPEN

    acs_credentials: tuple[AcsCredential, ...]
    pagination: Pagination = Pagination()
    error: Any = Field(default=None, repr=False)
    ok: bool | None = None


class ErrorBody(BaseModel):
    """Seam's `error` object."""

    model_config = _OPEN

    type: str = "unknown"
    message: str = ""
    validation_errors: dict[str, Any] | None = Field(default=None, repr=False)


class ErrorReply(BaseModel):
    """Any reply of Seam's that is not 2xx."""

    model_config = _OPEN

    error: ErrorBody
