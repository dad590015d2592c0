"""URLs of notifications, and the address of the metrics."""

from __future__ import annotations

import pytest

from worker.config import Address, Settings
from worker.config.destinations import hide_notify_url, notify_secrets, parse_notify_urls


def test_urls_are_read() -> None:
    """One, several, or several in one text; each once."""
    assert parse_notify_urls("json://host") == ("json://host",)
    assert parse_notify_urls(" a://x \n b://y ") == ("a://x", "b://y")
    assert parse_notify_urls(["a://x", "b://y a://x"]) == ("a://x", "b://y")
    assert parse_notify_urls(()) == ()


@pytest.mark.parametrize("value", ["host", "://host", "1a://x", "a://", 7, [7], None, "a://x\x1b[2J", "a:// b"])
def test_what_is_no_url(value: object) -> None:
    """Nothing of it is repeated."""
    with pytest.raises(ValueError, match=r"^is no URL$"):
        parse_notify_urls(value)


@pytest.mark.parametrize(
    ("url", "secret", "plain"),
    [
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", ["T1JJ3T3L2", "A1BRTD4JD"], []),
        ("mailto://ops:hunter2@example.com?to=night@example.com", ["hunter2"], ["example.com", "ops", "night"]),
        ("json://user:p%40ss@127.0.0.1:8080/notifications", ["p%40ss", "p@ss"], ["127.0.0.1", "notifications"]),
        ("tgram://123456789:AAEabcdefg_hijklmnop/12315544/", ["123456789", "AAEabcdefg_hijklmnop"], []),
        ("https://hooks.example.com/services?token=aB3xYz9Q1&kind=text", ["aB3xYz9Q1"], ["hooks.example.com", "text"]),
    ],
)
def test_secrets_of_a_url(url: str, secret: list[str], plain: list[str]) -> None:
    """The whole, the password and whatever looks like a token; names of hosts and words are none."""
    found = notify_secrets(url)
    assert url in found
    assert set(secret) <= set(found)
    assert not set(plain) & set(found)
    assert hide_notify_url(url) == f"{url.split(':', maxsplit=1)[0]}://***"


def test_settings_keep_them_to_themselves() -> None:
    """Masked in what the ledger keeps and in reprs, and named among the secrets."""
    settings = Settings.from_options(notify="json://user:canary-password@host/Tok3nAbcdef")
    assert {"canary-password", "Tok3nAbcdef"} <= set(settings.secret_values())
    assert settings.public()["telling"]["notify"] == ["json://***"]
    assert "canary-password" not in repr(settings)


@pytest.mark.parametrize(
    ("value", "address", "text"),
    [
        (9109, Address("127.0.0.1", 9109), "127.0.0.1:9109"),
        (" 9109 ", Address("127.0.0.1", 9109), "127.0.0.1:9109"),
        ("0.0.0.0:1", Address("0.0.0.0", 1), "0.0.0.0:1"),  # noqa: S104 - nobody listens
        ("node-7.example.com:65535", Address("node-7.example.com", 65535), "node-7.example.com:65535"),
        ("[::1]:9109", Address("::1", 9109), "[::1]:9109"),
    ],
)
def test_addresses(value: object, address: Address, text: str) -> None:
    """A port is on this machine's loopback, unless a host is given; both ways."""
    assert Address.parse(value) == address
    assert str(address) == text
    assert Address.parse(text) == address


@pytest.mark.parametrize("value", ["", "0", "65536", "x", "-1", 0, True, 1.5, ":", "host:", "a b:1", "::1:9", "[x]:9"])
def test_what_is_no_address(value: object) -> None:
    """Each is refused."""
    with pytest.raises(ValueError):  # noqa: PT011 - the words differ, the settings put theirs around them
        Address.parse(value)
