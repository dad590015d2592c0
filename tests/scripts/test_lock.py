"""The locked set: it covers what pyproject.toml asks for, every file by its hash, and names no address."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

TOP = Path(__file__).parents[2]
LOCK = (TOP / "scripts/requirements.lock").read_text(encoding="utf-8")
ENTRIES = re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\n\\]+)(.*(?:\n +--hash=.*)*)", LOCK, re.MULTILINE)
PROJECT: dict[str, Any] = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))


def wanted() -> list[str]:
    """Every requirement that a checkout installs, the build backend with it."""
    extras = PROJECT["project"]["optional-dependencies"]
    direct: list[str] = PROJECT["project"]["dependencies"]
    return [
        *direct,
        *(line for extra in extras.values() for line in extra),
        *PROJECT["build-system"]["requires"],
        "editables",
    ]


@pytest.mark.parametrize("line", wanted())
def test_lock_covers(line: str) -> None:
    """A requirement that was added or raised without renewing the lock is found here."""
    requirement = Requirement(line)
    locked = [version for name, version, _ in ENTRIES if canonicalize_name(name) == canonicalize_name(requirement.name)]
    assert locked, f"{line} is not in the lock: run scripts/lock"
    assert all(requirement.specifier.contains(version) for version in locked), f"{locked}: run scripts/lock"


def test_every_entry_has_hashes() -> None:
    """Nothing is installed that was not there when the lock was made."""
    assert len(ENTRIES) == LOCK.count("==") - LOCK.count("== '")
    for name, _, rest in ENTRIES:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", rest), name


def test_lock_names_no_address() -> None:
    """Where packages come from is the installer's configuration, not the repository's."""
    assert "://" not in LOCK
    assert "--index" not in LOCK
    assert "--find-links" not in LOCK
