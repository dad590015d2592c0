"""Which faults there are, and the shares in which they come."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ErrorForm", "Fault", "Faults", "ReadFault", "ReadFaults", "Share", "checked_shares"]

Share = Annotated[float, Field(ge=0, le=1)]

_FROZEN = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
_ROUNDING = 1e-9

Kind = TypeVar("Kind", bound=StrEnum)


def checked_shares(shares: Mapping[Kind, float]) -> None:
    """Refuse shares that exclude each other and yet exceed the whole.

    Raises:
        ValueError: Their sum is over 1.
    """
    if sum(shares.values()) > 1 + _ROUNDING:
        raise ValueError("the shares add up to more than 1")


class Fault(StrEnum):
    """How an assign or unassign may go wrong. "Either" means: applied or not, by `applied_share`."""

    HTTP_500 = "http_500"
    """Either."""
    HTTP_502 = "http_502"
    HTTP_503 = "http_503"
    HTTP_504 = "http_504"
    FORBIDDEN_403 = "forbidden_403"
    """Seam's own 403; not applied."""
    CONFLICT_409 = "conflict_409"
    """Either."""
    TIMEOUT_408 = "timeout_408"
    """Either."""
    NOT_OK = "not_ok"
    """200 with `"ok": false`; either."""
    HTML_200 = "html_200"
    """A proxy's page; either."""
    RESET_BEFORE = "reset_before"
    """Reset with nothing done; the body was looked at only to know the credential."""
    RESET_AFTER = "reset_after"
    """Applied, then reset."""
    RESET_MID_BODY = "reset_mid_body"
    """Applied; half of the reply comes."""
    NEVER = "never"
    """No reply until the caller goes; either."""
    DRIP = "drip"
    """Applied; the body comes byte by byte."""
    TRUNCATED_JSON = "truncated_json"
    """Applied; a complete reply whose JSON is cut."""
    WRONG_TYPE = "wrong_type"
    """Applied; the JSON is called `text/html`."""
    HUGE_BODY = "huge_body"
    """Applied; `huge_bytes` of JSON."""
    GZIP_BOMB = "gzip_bomb"
    """Applied; `huge_bytes` of JSON, compressed, though nobody asked for it."""
    LENGTH_TOO_LONG = "length_too_long"
    """Applied; Content-Length promises more than comes, then the connection closes."""
    LENGTH_TOO_SHORT = "length_too_short"
    """Applied; more comes than Content-Length says, and the connection stays open."""
    HTTP10_CLOSE = "http10_close"
    """A success in HTTP/1.0, without a length, ended by closing."""
    REDIRECT_301 = "redirect_301"
    """To `redirect_to`; not applied."""
    REDIRECT_302 = "redirect_302"
    REDIRECT_303 = "redirect_303"
    REDIRECT_307 = "redirect_307"
    REDIRECT_308 = "redirect_308"
    STRAY_CLOSE = "stray_close"
    """A success; then the kept-alive connection closes without a word."""
    UNASKED_CONTINUE = "unasked_continue"
    """A success, behind a `100 Continue` that nobody asked for."""
    LATE = "late"
    """No reply; applied `late_after` seconds later, and not before."""
    OTHER_CREDENTIAL = "other_credential"
    """Applied; the reply names another credential."""
    OTHER_USER = "other_user"
    """Applied; the reply names another user."""


class ReadFault(StrEnum):
    """How get, list and users/get may go wrong."""

    HTTP_500 = "http_500"
    HTTP_502 = "http_502"
    HTTP_503 = "http_503"
    HTTP_504 = "http_504"
    LIMITED_429 = "limited_429"
    INVALID_400 = "invalid_400"
    NOT_FOUND_404 = "not_found_404"
    HTML_200 = "html_200"
    RESET = "reset"
    NEVER = "never"


class ErrorForm(StrEnum):
    """The body of a 5xx. Only JSON is Seam's own and has a request id."""

    JSON = "json"
    HTML = "html"
    TEXT = "text"
    EMPTY = "empty"
    MIXED = "mixed"
    """All four, by hash."""


class Faults(BaseModel):
    """Faults of assign and unassign."""

    model_config = _FROZEN

    shares: dict[Fault, Share] = {}
    """Of credentials; one credential is hit by one kind at most."""
    times: Annotated[int, Field(ge=0)] = 1
    """How many requests for a credential are hit, so that the next one works; 0 for all."""
    applied_share: Share = 0.0
    """How many of the faults that leave it open are applied first."""
    error_form: ErrorForm = ErrorForm.JSON
    redirect_to: str = "http://127.0.0.1:9/elsewhere"
    late_after: Annotated[float, Field(ge=0)] = 5.0
    drip_interval: Annotated[float, Field(gt=0)] = 1.0
    """Seconds between two bytes."""
    huge_bytes: Annotated[int, Field(ge=1)] = 1024**3

    @model_validator(mode="after")
    def _shares(self) -> Self:
        checked_shares(self.shares)
        return self


class ReadFaults(BaseModel):
    """Faults of get, list and users/get."""

    model_config = _FROZEN

    shares: dict[ReadFault, Share] = {}
    """Of credentials for get; of requests by their bodies for the others."""
    times: Annotated[int, Field(ge=0)] = 1
    error_form: ErrorForm = ErrorForm.JSON

    @model_validator(mode="after")
    def _shares(self) -> Self:
        checked_shares(self.shares)
        return self
