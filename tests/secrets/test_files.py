"""Files: for their owner alone from the first byte, and never where a link, a name or a cell leads (DESIGN 5, 11)."""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from tests.secrets.canaries import environ, said_by, start

if TYPE_CHECKING:
    from pathlib import Path

    from tests.secrets.conftest import Case

QUICK: list[object] = ["--timeout", "0.5", "--concurrency", "32"]
UNTOUCHED = b"somebody else's"


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below, with what is in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_files_are_private_from_their_first_byte(case: Case) -> None:
    """With a umask of 0, looked at all the while: ledger, WAL, lock, scratch and results are 0600."""
    before = {path.name for path in case.folder.iterdir()}
    seen: dict[str, set[int]] = {}
    command: list[object] = ["run", case.csv, *QUICK, "--rate", "300"]
    process = start(command, environ(case.url), case.folder, preexec_fn=lambda: os.umask(0))
    until = time.monotonic() + 60
    while process.poll() is None:
        assert time.monotonic() < until
        for entry in os.scandir(case.folder):
            if entry.name not in before:
                try:
                    seen.setdefault(entry.name, set()).add(stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode))
                except FileNotFoundError:
                    continue
    process.communicate(timeout=20)
    assert process.returncode in {0, 1}
    assert seen.keys() >= {"assign-ledger.db", "assign-ledger.db-wal", "assign-ledger.db.lock"}
    assert (case.folder / "jobs.results.csv").stat().st_mode & 0o777 == 0o600
    assert {mode for modes in seen.values() for mode in modes} == {0o600}, seen


@pytest.mark.parametrize(
    "name",
    [
        "assign-ledger.db",
        "assign-ledger.db.lock",
        "assign-ledger.db-wal",
        "assign-ledger.db-shm",
        "assign-ledger.db-journal",
    ],
)
def test_a_link_in_the_ledgers_place_is_refused(name: str, case: Case) -> None:
    """Exit 2, and what it leads to is as it was."""
    victim = case.folder.parent / "victim"
    victim.write_bytes(UNTOUCHED)
    (case.folder / name).symlink_to(victim)
    said = said_by(["run", case.csv, *QUICK], environ(case.url), case.folder)
    assert victim.read_bytes() == UNTOUCHED
    assert said.code == 2, said.err
    assert "assign-ledger.db" in said.err


@pytest.mark.parametrize("name", ["jobs.results.csv", ".jobs.results.csv.partial"])
def test_a_link_in_the_results_place_is_replaced(name: str, case: Case) -> None:
    """The results are a file of their own, and what the link led to is as it was."""
    victim = case.folder.parent / "victim"
    victim.write_bytes(UNTOUCHED)
    (case.folder / name).symlink_to(victim)
    said = said_by(["run", case.csv, *QUICK], environ(case.url), case.folder)
    assert said.code in {0, 1}, said.err
    assert victim.read_bytes() == UNTOUCHED
    results = case.folder / "jobs.results.csv"
    assert not results.is_symlink()
    assert results.read_bytes().startswith(b"row,line,")


@pytest.mark.parametrize("spelling", ["itself", "dotted", "symlink", "hard link", "ledger"])
def test_results_never_overwrite_the_input(spelling: str, case: Case) -> None:
    """However it is spelt: exit 2, and nothing was sent or written."""
    name = {
        "itself": case.csv,
        "dotted": case.folder / ".." / "here" / "jobs.csv",
        "symlink": case.folder / "link.csv",
        "hard link": case.folder / "hard.csv",
        "ledger": case.folder / "assign-ledger.db",
    }[spelling]
    if spelling == "symlink":
        name.symlink_to(case.csv)
    if spelling == "hard link":
        name.hardlink_to(case.csv)
    before = snapshot(case.folder)
    said = said_by(["run", case.csv, "--results", name], environ(case.url), case.folder)
    assert said.code == 2
    assert "--results" in said.err
    assert snapshot(case.folder) == before


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://connect.getseam.com",
        "http://127.0.0.1@example.com",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://10.0.0.1",
        "http://[2001:db8::1]",
        "ftp://localhost",
        "HTTP://example.com",
    ],
)
def test_a_key_is_not_sent_in_the_clear(endpoint: str, case: Case) -> None:
    """Plain HTTP leads to this machine only: exit 2 before anything is made."""
    before = snapshot(case.folder)
    said = said_by(["run", case.csv, "--endpoint", endpoint], environ(case.url), case.folder)
    assert said.code == 2
    assert snapshot(case.folder) == before


HOSTILE = (
    "acs_credential_id,acs_user_id,../../escape,outcome,=cmd|' /C calc'!A0\n"
    "../../../tmp/escape,/etc/passwd,x,y,z\n"
    f"{UUID(int=1)},{UUID(int=2)},file:///etc/passwd,@SUM(1),$(touch escape)\n"
    f"{UUID(int=3)},{UUID(int=4)},`touch escape`,%s%n,'; DROP TABLE runs; --\n"
    "\x1b]0;escape\x07,\x00,\x1b[2J,\r\n\n[error] forged,\u202egnp\n"
)


@pytest.mark.parametrize(
    "name", ["jobs.csv", "..csv", "=cmd.csv", "a b;touch escape.csv", "%s%n.csv", "x\n[error] y.csv"]
)
def test_a_hostile_file_writes_its_results_and_nothing_else(name: str, case: Case) -> None:
    """Neither its name nor a cell of it leads anywhere, and nothing of it drives the terminal or forges a line."""
    case.csv.unlink()
    jobs = case.folder / name
    jobs.write_text(HOSTILE, encoding="utf-8", newline="")
    root = case.folder.parent
    before = snapshot(root)
    said = said_by(["run", f"./{name}", "--log-level", "debug"], environ(case.url), case.folder)
    assert said.code in {0, 1, 2}, said.err
    new = {path for path in snapshot(root) if path not in before}
    stem = name.removesuffix(".csv")
    allowed = {f"here/{stem}.results.csv", *(f"here/assign-ledger.db{end}" for end in ("", "-wal", "-shm", ".lock"))}
    assert new <= allowed
    assert {path: content for path, content in snapshot(root).items() if path in before} == before
    shown = said.out + said.err
    assert not {character for character in shown if ord(character) < 32} - {"\n"}
    assert "\x7f" not in shown
    assert "\u202e" not in shown
    assert not [line for line in shown.splitlines() if line.startswith("[error]")]
