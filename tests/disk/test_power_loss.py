"""The power goes: unsynced writes are dropped, torn, reordered, and what was reported durable is there (DESIGN 6)."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING

from tests.disk.durable import Durable, missing
from tests.disk.lost import Kind, after_power_loss, notes_before, read_record
from tests.disk.shim import run_preloaded

if TYPE_CHECKING:
    from pathlib import Path

CASES = 240


def losses(shim: Path, folder: Path, synchronous: str) -> tuple[list[list[str]], int]:
    """What is missing after each of the power losses of a recorded run; and how many rows were reported in all."""
    *said, last = run_preloaded(shim, "tests.disk.preloaded", "recorded", str(folder), synchronous)
    assert (said, json.loads(last)["code"]) == ([], 0)
    record, base = read_record(folder / "record"), (folder / "base").read_bytes()
    assert sum(operation.kind is Kind.SYNC for operation in record) > (10 if synchronous == "FULL" else 0)
    random = Random(7)  # noqa: S311 - moments, no secret
    found, reported = [], 0
    for _ in range(CASES):
        until = record[: random.randint(1, len(record))]
        durable = Durable.of(notes_before(until))
        reported += len(durable.outcomes)
        after_power_loss(until, base, folder / "ledger.db", random)
        found.append(missing(folder / "ledger.db", durable))
    return found, reported


def test_what_was_reported_is_there(shim: Path, tmp_path: Path) -> None:
    """Many moments of a run of 300 rows, checkpoints among them: sound, every reported row and mark is there."""
    found, reported = losses(shim, tmp_path, "FULL")
    assert [problems for problems in found if problems] == []
    assert reported > 50 * CASES


def test_it_would_be_found_if_it_were_not(shim: Path, tmp_path: Path) -> None:
    """The same without a sync a commit: rows are missing, so the test above can fail."""
    found, _ = losses(shim, tmp_path, "NORMAL")
    assert sum(bool(problems) for problems in found) > CASES / 10


def test_resuming_on_what_is_left(shim: Path, tmp_path: Path) -> None:
    """Runs whose process and unsynced writes are gone at any write or sync: resumed, each ends with the truth."""
    *problems, last = run_preloaded(shim, "tests.disk.preloaded", "dying", str(tmp_path / "runs"), "40", "1")
    figures = json.loads(last)
    assert (problems, figures["problems"]) == ([], 0)
    assert figures["died"] >= 30
    assert figures["rows reported"] > 0
