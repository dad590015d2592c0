"""A service full of secrets, and a folder with an input."""

from __future__ import annotations

from dataclasses import dataclass
from random import randrange
from typing import TYPE_CHECKING

import pytest

from tests.secrets.canaries import SETTINGS, seed_talkative, write_csv
from tests.soak.ground import make_input, simulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.soak.ground import Server

ROWS = 150


@dataclass(frozen=True)
class Case:
    """One test's own folder, its inputs in it, and the service."""

    folder: Path
    url: str
    jsonl: Path
    csv: Path


@pytest.fixture(scope="session")
def talker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A simulator in a process of its own."""
    with simulator(tmp_path_factory.mktemp("simulator"), SETTINGS) as server:
        yield server


@pytest.fixture
def case(tmp_path: Path, talker: Server) -> Case:
    """Fresh rows; every tenth credential repeats its secrets in all of its texts."""
    folder = tmp_path / "here"
    folder.mkdir()
    jsonl = folder / "jobs.jsonl"
    rows = make_input(jsonl, ROWS, seed=randrange(1 << 62))  # noqa: S311 - test data, anew in each run
    seed_talkative(talker.url, [row.credential for number, row in rows.items() if number % 10 == 0])
    return Case(folder, talker.url, jsonl, write_csv(folder / "jobs.csv", rows))
