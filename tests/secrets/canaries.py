"""Secrets that stand nowhere by accident, a service that tells them, and the command as a process of its own."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.request import Request, urlopen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.soak.oracle import Row

__all__ = [
    "CARD",
    "CODES",
    "HOOK",
    "KEY",
    "PASSWORD",
    "SETTINGS",
    "Said",
    "environ",
    "found_in",
    "found_under",
    "said_by",
    "seed_talkative",
    "start",
    "write_csv",
]

KEY: Final = "seam_canarykey_4fQz81LmXw"
PIN: Final = "739152846"
CARD: Final = "CARD9081726354"
ORIGINAL: Final = "618273945"
NEW: Final = "527194683"
CODES: Final = (PIN, CARD, ORIGINAL, NEW)
PASSWORD: Final = "canarypw-7Hq2zLx"
HOOK: Final = "B0canaryT0ken9"

SETTINGS: Final[Mapping[str, Any]] = {
    "access": {"api_keys": {KEY: "5eed0000-0000-4000-8000-000000000001"}},
    "world": {
        "canary_code": PIN,
        "canary_card_number": CARD,
        "canary_original_code": ORIGINAL,
        "canary_new_code": NEW,
        "warnings": 1.0,
        "credential_errors": 0.3,
        "unknown_users": 0.02,
    },
    "void": {"ok_only": 0.1},
    "faults": {
        "shares": {
            "http_500": 0.06,
            "not_ok": 0.05,
            "html_200": 0.05,
            "reset_mid_body": 0.05,
            "truncated_json": 0.08,
            "wrong_type": 0.05,
            "length_too_short": 0.05,
            "forbidden_403": 0.03,
            "other_user": 0.05,
            "other_credential": 0.05,
            "never": 0.02,
        },
        "applied_share": 0.5,
        "error_form": "mixed",
    },
    "read_faults": {"shares": {"html_200": 0.05, "http_500": 0.03}},
}
"""Secrets in every reply that has any, and replies that go wrong in the middle of them."""


class Said(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


def environ(url: str, **more: str) -> dict[str, str]:
    """An environment that leads to a service, with the canary for a key."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SEAM_", "ASSIGN_WORKER_"))}
    return {**kept, "SEAM_API_KEY": KEY, "SEAM_ENDPOINT": url, **more}


def start(arguments: list[object], variables: Mapping[str, str], folder: Path, **options: Any) -> subprocess.Popen[str]:
    """Start `assign-worker` in a folder; `prelude` is Python to run before it."""
    prelude = options.pop("prelude", "")
    call = f"{prelude}\nimport sys\nfrom worker.__main__ import main\nsys.argv[0] = 'assign-worker'\nsys.exit(main())"
    return subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", call, *map(str, arguments)],
        cwd=folder,
        env=dict(variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def said_by(arguments: list[object], variables: Mapping[str, str], folder: Path, **options: Any) -> Said:
    """Run a command to its end."""
    process = start(arguments, variables, folder, **options)
    out, err = process.communicate(timeout=60)
    return Said(process.returncode, out, err)


def found_in(content: bytes | str, *, codes: bool = True) -> list[str]:
    """Canaries that stand in it, of the key its first half too."""
    text = content if isinstance(content, bytes) else content.encode()
    return [secret for secret in (KEY[:14], PASSWORD, HOOK, *(CODES if codes else ())) if secret.encode() in text]


def found_under(
    folder: Path, *, codes: bool = True, leaving_out: Callable[[Path], bool] = lambda _: False
) -> dict[str, list[str]]:
    """Canaries in every byte of every file of a folder."""
    hits = {}
    for path in folder.rglob("*"):
        if path.is_file() and not leaving_out(path) and (found := found_in(path.read_bytes(), codes=codes)):
            hits[path.name] = found
    return hits


def write_csv(path: Path, rows: Mapping[int, Row]) -> Path:
    """The rows as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["acs_credential_id", "acs_user_id", "user_identity_id", "note"])
        for number, row in rows.items():
            user = [row.user, ""] if row.user_key == "acs_user_id" else ["", row.user]
            writer.writerow([row.credential, *user, f"note {number}"])
    return path


def seed_talkative(url: str, credentials: list[str]) -> None:
    """Have credentials repeat their own secrets wherever there is text."""
    warning = {
        "created_at": "2026-03-01T04:05:06Z",
        "warning_code": "requested_code_unavailable",
        "message": f"{ORIGINAL} was taken, {NEW} is set; before it was {PIN}",
        "original_code": ORIGINAL,
        "new_code": NEW,
    }
    error = {"error_code": "odd", "message": f"cannot encode {PIN} onto {CARD}"}
    records = [
        {
            "acs_credential_id": credential,
            "display_name": f"Code {PIN}, card {CARD}",
            "code": PIN,
            "card_number": CARD,
            "warnings": [warning],
            "errors": [error],
        }
        for credential in credentials
    ]
    request = Request(f"{url}/_simulator/credentials", json.dumps(records).encode())  # noqa: S310 - to loopback
    with urlopen(request, timeout=20) as reply:  # noqa: S310 - to loopback
        reply.read()
