"""PINs and card numbers out of everything that is kept or shown, unless codes were asked for.

A credential carries its secrets in `code`, `card_number` and, inside warnings, `original_code`, `new_code` and whatever
else is called so, which may be new to the schema.
The service may repeat any of them in a message or a display name; there they are replaced too. So are the keys and
the proxy's password, in the spellings in which whoever was sent them may repeat them.
"""

from __future__ import annotations

import re
from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.seam import AcsCredential, AcsCredentialWarning

__all__ = ["MASK", "is_secret", "mask_in", "mask_spelt", "secrets_of", "spellings_of", "warning_record"]

MASK: Final = "••••"
_SECRET_KEY: Final = re.compile(r"(?:.*_)?(?:code|pin|card_number)")
_PLAIN_KEY: Final = re.compile(r"(?:.*_)?(?:warning|error|status|reason|result|type|country|language)_code")
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_LEAST_LENGTH: Final = 3
"""A shorter secret is not looked for inside other texts: it would blank out half of every message."""

_LEAST_SPLIT: Final = 6
"""A shorter secret is not looked for in parts: `03-01` stands in many a date."""
_SEPARATORS: Final = ": -."
_BETWEEN: Final = "[: .-]{0,2}"
_BASE64_TRIPLE: Final = 3
_BASE64_QUAD: Final = 4
_LEAST_BASE64: Final = 8
"""Characters of a secret in base64 that other words do not hold by chance."""


def is_secret(key: str, value: object) -> bool:
    """Whether a field holds a PIN or a card number, by its name: `new_pin`, `requestedAccessCode`; not `error_code`."""
    if value is None or isinstance(value, bool):
        return False
    name = _HUMP.sub("_", key).lower().replace("-", "_")
    return _SECRET_KEY.fullmatch(name) is not None and _PLAIN_KEY.fullmatch(name) is None


def secrets_of(credential: AcsCredential) -> tuple[str, ...]:
    """All secret values that this credential carries."""
    found = [credential.code, credential.card_number]
    for warning in credential.warnings:
        found += (warning.original_code, warning.new_code)
        found += [str(value) for key, value in (warning.model_extra or {}).items() if is_secret(key, value)]
    return tuple(value for value in found if value)


def mask_in(text: str | None, secrets: Iterable[str]) -> str | None:
    """`text` with every secret replaced: in whatever case, and with colons, dashes or blanks between its parts."""
    if not text:
        return text
    joined = _joined(text)
    for secret in sorted(secrets, key=len, reverse=True):
        plain = _joined(secret)
        if len(secret) >= _LEAST_LENGTH and plain and plain in joined:
            text = re.sub(_pattern(secret, plain), MASK, text, flags=re.IGNORECASE)
    return text


def _joined(text: str) -> str:
    for separator in _SEPARATORS:
        text = text.replace(separator, "")
    return text.lower()


def _pattern(secret: str, plain: str) -> str:
    return re.escape(secret) if len(plain) < _LEAST_SPLIT else _BETWEEN.join(map(re.escape, plain))


def spellings_of(secrets: Iterable[str]) -> tuple[str, ...]:
    """What `mask_spelt` looks for: keys and passwords as they are, percent-encoded and in base64, in lower case."""
    found = {
        spelling.lower()
        for secret in secrets
        if len(secret) >= _LEAST_LENGTH
        for spelling in (secret, *_percent_encoded(secret), *_base64_of(secret))
    }
    return tuple(sorted(found, key=len, reverse=True))


def _percent_encoded(secret: str) -> tuple[str, str]:
    """With and without what need not be encoded."""
    usual = quote(secret, safe="")
    return usual, re.sub(r"[-._~]", lambda mark: f"%{ord(mark.group()):02X}", usual)


def _base64_of(secret: str) -> Iterable[str]:
    """The characters that are the same whatever stands around it, as a user name or a colon does in Basic auth."""
    raw = secret.encode("utf-8", "surrogatepass")
    for before in range(_BASE64_TRIPLE):
        whole = (before + len(raw)) // _BASE64_TRIPLE * _BASE64_QUAD
        middle = b64encode(b"\0" * before + raw).decode()[before + (before > 0) : whole]
        if len(middle) >= _LEAST_BASE64:
            yield middle
            yield middle.translate(_URL_SAFE)


_URL_SAFE: Final = str.maketrans("+/", "-_")


def mask_spelt(text: str, spellings: Iterable[str]) -> str:
    """`text` with every one of these spellings replaced, in whatever case it stands there."""
    lowered = text.lower()
    for spelling in spellings:
        if spelling in lowered:
            text = re.sub(re.escape(spelling), MASK, text, flags=re.IGNORECASE)
    return text


def warning_record(warning: AcsCredentialWarning, secrets: tuple[str, ...], *, include_codes: bool) -> dict[str, Any]:
    """One warning as it is kept: all its fields, its PINs masked (null), its texts cleaned of them."""
    record = warning.model_dump(exclude_none=True)
    if include_codes:
        return record
    return {
        key: None if is_secret(key, value) else mask_in(value, secrets) if isinstance(value, str) else value
        for key, value in record.items()
        if isinstance(value, str | int | float | bool) or is_secret(key, value)
    }
