"""PINs and card numbers out of everything that is kept or shown, unless codes were asked for.

A credential carries its secrets in `code`, `card_number` and, inside warnings, `original_code` and `new_code`.
The service may repeat any of them in a message or a display name; there they are replaced too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.seam import AcsCredential, AcsCredentialWarning

__all__ = ["MASK", "mask_in", "secrets_of", "warning_record"]

MASK: Final = "••••"
_SECRET_KEYS: Final = frozenset({"code", "card_number", "original_code", "new_code", "pin", "pin_code"})
_LEAST_LENGTH: Final = 3
"""A shorter secret is not looked for inside other texts: it would blank out half of every message."""


def secrets_of(credential: AcsCredential) -> tuple[str, ...]:
    """All secret values that this credential carries."""
    found = [credential.code, credential.card_number]
    for warning in credential.warnings:
        found += (warning.original_code, warning.new_code)
        found += [str(value) for key, value in (warning.model_extra or {}).items() if key in _SECRET_KEYS]
    return tuple(value for value in found if value)


def mask_in(text: str | None, secrets: Iterable[str]) -> str | None:
    """`text` with every secret replaced."""
    if not text:
        return text
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _LEAST_LENGTH and secret in text:
            text = text.replace(secret, MASK)
    return text


def warning_record(warning: AcsCredentialWarning, secrets: tuple[str, ...], *, include_codes: bool) -> dict[str, Any]:
    """One warning as it is kept: all its fields, its PINs masked (null), its texts cleaned of them."""
    record = warning.model_dump(exclude_none=True)
    if include_codes:
        return record
    return {
        key: None if key in _SECRET_KEYS else mask_in(value, secrets) if isinstance(value, str) else value
        for key, value in record.items()
        if isinstance(value, str | int | float | bool) or key in _SECRET_KEYS
    }
