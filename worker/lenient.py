"""Seam's JSON once more, where a reply does not fit its model: what decides nothing must not fail a reply.

One null where a list should be, or one number where a text should be, is no reason to doubt a reply that names the
credential and its owner. What does not fit is taken as text if it is a number, else as not told. The ids stay as
strict as ever. Slower than `worker.seam`, and so only for replies which that refuses.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from pydantic import BaseModel, ValidationError, field_validator, model_validator

from worker.seam import (
    AcsCredential,
    AcsCredentialError,
    AcsCredentialWarning,
    AssignReply,
    ErrorBody,
    ErrorReply,
    ListReply,
)

if TYPE_CHECKING:
    from pydantic import ValidationInfo, ValidatorFunctionWrapHandler

__all__ = ["read_leniently"]

M = TypeVar("M", bound=BaseModel)

_DECIDING: Final = frozenset({"acs_credential_id", "acs_user_id", "user_identity_id", "workspace_id", "acs_system_id"})
_NOT_STORED: Final = re.compile(r"[\x00\ud800-\udfff]")
"""NUL, which PostgreSQL cannot store, and halves of surrogate pairs, which UTF-8 cannot hold."""


def read_leniently(model: type[M], body: bytes) -> M | None:
    """The reply as its model has it, what does not fit left out; None where it is no such reply even so.

    Every text in it can be stored: U+FFFD stands for each character that cannot, so that no id becomes another.

    Args:
        model: of `worker.seam`.
        body: as it came.
    """
    lenient = cast("type[M]", _LENIENT.get(model, model))
    try:
        return lenient.model_validate(_storable(json.loads(body.decode())))
    except (ValueError, RecursionError):  # a ValidationError is a ValueError
        return None


def _storable(value: Any) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, str):
        return _NOT_STORED.sub("\ufffd", value)
    if isinstance(value, list):
        return [_storable(each) for each in value]
    if isinstance(value, dict):
        return {_storable(name): _storable(each) for name, each in value.items()}
    return value


class _Lenient(BaseModel):
    @field_validator("*", mode="wrap")
    @classmethod
    def _fit(cls, value: object, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> object:
        """The value as it should be, or the next best."""
        name = cast("str", info.field_name)
        if name in _DECIDING:
            return handler(value)
        with suppress(ValidationError):
            return handler(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            with suppress(ValidationError):
                return handler(str(value))
        return cls.model_fields[name].get_default()


class _LenientEntry(_Lenient):
    @model_validator(mode="before")
    @classmethod
    def _as_object(cls, value: object) -> object:
        """Whatever stands in a list of warnings is one, and is not lost."""
        return value if isinstance(value, dict) else {"message": value}


class _LenientWarning(_LenientEntry, AcsCredentialWarning):
    pass


class _LenientError(_LenientEntry, AcsCredentialError):
    pass


class _LenientCredential(_Lenient, AcsCredential):
    errors: tuple[_LenientError, ...] = ()
    warnings: tuple[_LenientWarning, ...] = ()


class _LenientAssignReply(AssignReply):
    acs_credential: _LenientCredential | None = None


class _LenientListReply(ListReply):
    acs_credentials: tuple[_LenientCredential, ...]


class _LenientErrorBody(_Lenient, ErrorBody):
    pass


class _LenientErrorReply(ErrorReply):
    error: _LenientErrorBody


_LENIENT: Final[dict[type[BaseModel], type[BaseModel]]] = {
    AssignReply: _LenientAssignReply,
    ListReply: _LenientListReply,
    ErrorReply: _LenientErrorReply,
}
"""The rest holds nothing but what decides."""
