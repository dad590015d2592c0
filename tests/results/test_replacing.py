"""The results file appears whole or not at all, and only where it should."""

from __future__ import annotations

import fcntl
import os
import resource
import stat
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.ledger.filling import result
from tests.results.exporting import HEADER, as_csv, kept
from worker.errors import ResultsWriteError, UsageError
from worker.models import Step
from worker.results import check_destination, export_results, format_of
from worker.results.replacing import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.ledger import Ledger


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file grows beyond `size` bytes; the write that would fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_mode_and_content(tmp_path: Path) -> None:
    """A new file is for its owner alone, from its first byte, whatever stood there before."""
    path = tmp_path / "out.csv"
    path.write_text("old")
    path.chmod(0o644)
    with replacing(path) as file:
        (partial,) = tmp_path.glob(".out.csv*")
        assert stat.S_IMODE(partial.stat().st_mode) == 0o600
        file.write("new\ud800\r\n")
        assert path.read_text() == "old"
    assert path.read_bytes() == b"new\\ud800\r\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_link_at_the_destination_is_replaced(tmp_path: Path) -> None:
    """A link is not followed: what it names stays as it is."""
    target, path = tmp_path / "target", tmp_path / "out.csv"
    target.write_text("precious")
    path.symlink_to(target)
    with replacing(path) as file:
        file.write("new")
    assert not path.is_symlink()
    assert (path.read_text(), target.read_text()) == ("new", "precious")


@pytest.mark.parametrize("kind", ["file", "link"])
def test_leftover_of_a_killed_export_goes(tmp_path: Path, kind: str) -> None:
    """What stands under the temporary name is removed, a link without being followed."""
    target, path, partial = tmp_path / "target", tmp_path / "out.csv", tmp_path / ".out.csv.partial"
    target.write_text("precious")
    if kind == "file":
        partial.write_text("half")
    else:
        partial.symlink_to(target)
    with replacing(path) as file:
        file.write("new")
    assert (path.read_text(), target.read_text(), partial.exists()) == ("new", "precious", False)


def test_two_exports_to_one_file(tmp_path: Path) -> None:
    """The second is refused while the first one writes, and the first one's file is whole."""
    path = tmp_path / "out.csv"
    with replacing(path) as file:
        file.write("first")
        with pytest.raises(ResultsWriteError, match="another process is writing"), replacing(path):
            pass
    assert path.read_text() == "first"


def test_lock_ends_with_the_export(tmp_path: Path) -> None:
    """The next export of the same file goes through."""
    path = tmp_path / "out.csv"
    for text in ("first", "second"):
        with replacing(path) as file:
            file.write(text)
    assert path.read_text() == "second"
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("folder", "it is a folder"),
        ("none/out.csv", "does not exist"),
        ("pipe", "no plain file"),
        ("out.xlsx", r"they are plain CSV or JSONL; end the name in \.csv or \.jsonl"),
        ("out.csv.gz", r"they are plain CSV or JSONL; end the name in \.csv or \.jsonl"),
    ],
)
def test_impossible_destinations(tmp_path: Path, name: str, message: str) -> None:
    """A place where no file can be is told before anything is done, and nothing is touched."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UsageError, match=message):
        check_destination(tmp_path / name)
    with pytest.raises(UsageError, match=message), replacing(tmp_path / name):
        pass
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("name", "header", "expected"),
    [
        ("out.csv", None, "csv"),
        ("out.jsonl", HEADER, "jsonl"),
        ("out.ndjson", HEADER, "jsonl"),
        ("out.txt", HEADER, "csv"),
        ("out.txt", None, "jsonl"),
    ],
)
def test_the_format_goes_by_the_name_and_then_by_the_input(
    ledger: Ledger, tmp_path: Path, name: str, header: tuple[str, ...] | None, expected: str
) -> None:
    """One rule for every command that writes results."""
    run = kept(ledger.engine, [["a", "b"] if header else {"a": "b"}], [result(1)], header=header)
    assert format_of(name, run) == expected
    export_results(ledger.engine, run, tmp_path / name)
    assert (tmp_path / name).read_text("utf-8").startswith("{" if expected == "jsonl" else "row,")


def test_device_is_never_replaced() -> None:
    """`/dev/null` stays a device, even for root."""
    with pytest.raises(UsageError, match="no plain file"), replacing(Path(os.devnull)):
        pass
    assert Path(os.devnull).is_char_device()


def test_full_disk(ledger: Ledger, tmp_path: Path) -> None:
    """The old results stay, the unfinished ones go, and the message says where the rows are."""
    run = kept(ledger.engine, [["c", "u" * 1000]] * 100, [])
    path = tmp_path / "out.csv"
    path.write_text("old")
    with largest_file(20_000), pytest.raises(ResultsWriteError, match="The ledger holds every row"):
        export_results(ledger.engine, run, path, format="csv")
    assert path.read_text() == "old"
    assert not list(tmp_path.glob(".out.csv*"))
    assert len(as_csv(ledger.engine, run, path)) == 100


@pytest.mark.parametrize(("name", "code"), [("fsync", 5), ("fsync", 28)])
def test_failed_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int) -> None:
    """A sync that fails leaves what was there, and is told."""
    path = tmp_path / "out.csv"
    path.write_text("old")

    def fail(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, name, fail)
    expected = "the disk is full" if code == 28 else os.strerror(code)
    with pytest.raises(ResultsWriteError, match=expected), replacing(path) as file:
        file.write("new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_step_comes_half_way(ledger: Ledger, tmp_path: Path) -> None:
    """The hook for crash tests is called once, before the file is in place."""
    run = kept(ledger.engine, [["c", "u"]] * 4, [result(1)])
    path, seen = tmp_path / "out.csv", []

    def note(step: Step) -> None:
        seen.append((step, path.exists()))

    summary = export_results(ledger.engine, run, path, format="csv", on_step=note)
    assert seen == [(Step.DURING_EXPORT, False)]
    assert (summary.rows, summary.path) == (4, path)


def test_killed_export_is_done_again(tmp_path: Path) -> None:
    """A process that dies half-way leaves the old file; the next export cleans up and is whole."""
    path = tmp_path / "out.csv"
    path.write_text("old")
    script = (
        "import os, sys; from pathlib import Path; from worker.results.replacing import replacing\n"
        "with replacing(Path(sys.argv[1])) as file:\n"
        "    file.write('half'); file.flush(); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", script, path], check=False).returncode == 9  # noqa: S603 - our own script
    assert path.read_text() == "old"
    assert (tmp_path / ".out.csv.partial").read_text() == "half"
    with replacing(path) as file:
        file.write("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]
