"""Where a run's files are, and that none of them overwrites another."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from worker.errors import UsageError
from worker.readers import require_file

if TYPE_CHECKING:
    from worker.config import Settings
    from worker.ledger.runs import Run

__all__ = ["DEFAULT_LEDGER", "Paths", "spare_input"]

DEFAULT_LEDGER: Final = "assign-ledger.db"


@dataclass(frozen=True)
class Paths:
    """Where a run's files are."""

    input: Path | None
    """None is stdin."""
    ledger: str
    results: Path

    @classmethod
    def of(cls, source: Path | None, settings: Settings, kind: str, *, rehearsal: bool) -> Paths:
        """Settings' paths, or the ones beside the input; a rehearsal has its own, whatever they say (DESIGN 11.15).

        Raises:
            InputError: there is no such input.
            UsageError: results would overwrite the input or the ledger.
        """
        if source is not None:
            require_file(source)
        folder = source.parent if source is not None else Path()
        stem = _stem(source)
        results = settings.output.results
        if results is None:
            results = folder / f"{stem}.{'rehearsal' if rehearsal else 'results'}.{kind}"
        elif rehearsal and (results.is_file() or not results.exists()):  # into a pipe or a terminal nothing is lost
            results = results.with_name(f"{results.stem}.rehearsal{results.suffix}")
        ledger = settings.output.ledger
        if ledger is None or rehearsal:
            ledger = str(folder / ("assign-ledger.rehearsal.db" if rehearsal else DEFAULT_LEDGER))
        paths = cls(source, ledger, results)
        if str(results) == "-":
            raise UsageError("--results names a file, not stdout; `assign-worker results -o -` writes a run's there")
        if source is not None and _same(results, source):
            raise UsageError(f"--results {results} is the input itself; name another file")
        if "://" not in ledger:
            _keep_apart(results, ledger, settings)
            if source is not None and _same(Path(ledger), source):
                raise UsageError(f"--ledger {ledger} is the input itself; name another file")
        return paths

    @classmethod
    def beside_ledger(cls, settings: Settings, run: Run) -> Paths:
        """For what works from the ledger: results as the run itself would name them, beside the ledger.

        Raises:
            UsageError: results would overwrite the ledger, or the input where that is beside it or here.
        """
        ledger = cls.ledger_of(settings)
        folder = Path() if "://" in ledger else Path(ledger).parent
        results = settings.output.results or folder / f"{_stem(Path(run.input_name))}.results.{run.input_format}"
        spare_input(results, run, folder)
        if "://" not in ledger:
            _keep_apart(results, ledger, settings)
        return cls(None, ledger, results)

    @staticmethod
    def ledger_of(settings: Settings) -> str:
        """The ledger that the settings name, or the one in the current folder."""
        return settings.output.ledger or DEFAULT_LEDGER


def spare_input(results: Path, run: Run, folder: Path) -> None:
    """Make sure that results leave the run's input alone, where it is still in `folder` or in the current one.

    Raises:
        UsageError: they do not.
    """
    if any(_same(results, place / run.input_name) for place in (folder, Path())):
        raise UsageError(f"{results} is the input of run {run.id}; name another file for the results")


def _keep_apart(results: Path, ledger: str, settings: Settings) -> None:
    if _same(results, Path(ledger)):
        if settings.output.results is None:
            raise UsageError(f"--ledger {ledger} is where the results go; name another file")
        raise UsageError(f"--results {results} is the ledger; name another file")


def _same(one: Path, other: Path) -> bool:
    with suppress(OSError):
        if one.exists() and other.exists():
            return one.samefile(other)
    return one.resolve() == other.resolve()


def _stem(source: Path | None) -> str:
    name = "stdin" if source is None else source.name
    for ending in (".gz", ".zst", ".csv", ".tsv", ".txt", ".jsonl", ".ndjson"):
        name = name.removesuffix(ending)
    return name
