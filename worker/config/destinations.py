"""Where a run tells of itself: URLs of notifications, secrets as a whole, and the address of its metrics.

Parsers raise `ValueError` with the rest of the sentence "VALUE …", as those of `values` do.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final, NamedTuple
from urllib.parse import unquote

__all__ = ["Address", "hide_notify_url", "notify_secrets", "parse_notify_urls"]

_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_BETWEEN_PIECES: Final = re.compile(r"[/@:?&=,#]+")
_HOST_NAME: Final = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")
_LEAST_TOKEN: Final = 8
_SURE_TOKEN: Final = 20
_PORTS: Final = range(1, 65536)


def parse_notify_urls(value: object) -> tuple[str, ...]:
    """Read URLs: several, or a text with white space between them."""
    texts = (value,) if isinstance(value, str) else value
    if not isinstance(texts, Iterable):
        raise ValueError("is no URL")  # noqa: TRY004 - pydantic turns only ValueError into its own
    urls: list[str] = []
    for text in texts:
        if not isinstance(text, str):
            raise ValueError("is no URL")  # noqa: TRY004 - likewise
        for url in text.split():
            if not url.isprintable() or not _URL.fullmatch(url):
                raise ValueError("is no URL")
            urls.append(url)
    return tuple(dict.fromkeys(urls))


def hide_notify_url(url: str) -> str:
    """What may be shown of it: `slack://***`. Its host may be a token, too."""
    return f"{url.partition('://')[0]}://***"


def notify_secrets(url: str) -> tuple[str, ...]:
    """The whole of it, its password, and every piece that looks like a token."""
    rest = url.partition("://")[2]
    user, at, _ = rest.partition("?")[0].rpartition("@")
    password = user.partition(":")[2] if at else ""
    pieces = [piece for piece in _BETWEEN_PIECES.split(rest) if _may_be_token(piece)]
    secrets = [url, rest, password, *pieces]
    return tuple(dict.fromkeys(form for secret in secrets if secret for form in (secret, unquote(secret))))


def _may_be_token(piece: str) -> bool:
    """Names of hosts and words are none: to blank them out of every message would help nobody."""
    if len(piece) < _LEAST_TOKEN or _HOST_NAME.fullmatch(piece):
        return False
    if len(piece) >= _SURE_TOKEN:
        return True
    has_digit = any(character.isdigit() for character in piece)
    return has_digit or not (piece.islower() or piece.istitle())


class Address(NamedTuple):
    """Where to listen."""

    host: str
    port: int

    @classmethod
    def parse(cls, value: object) -> Address:
        """Read `9109`, `0.0.0.0:9109` or `[::1]:9109`; without a host it is this machine's loopback.

        Raises:
            ValueError: it is none of these.
        """
        if isinstance(value, Address):
            return value
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ValueError("is no port")  # noqa: TRY004 - pydantic turns only ValueError into its own
        host, colon, port = str(value).strip().rpartition(":")
        if not re.fullmatch(r"\d{1,5}", port) or int(port) not in _PORTS:
            raise ValueError("is no port")
        return cls(_host(host) if colon else "127.0.0.1", int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _host(text: str) -> str:
    if text.startswith("[") and text.endswith("]"):
        return str(ipaddress.IPv6Address(text[1:-1]))
    if not re.fullmatch(r"[A-Za-z0-9.-]+", text):
        raise ValueError("is no host")
    return text
