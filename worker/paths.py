"""Where a run's files are, and that none of them overwrites another, or what it was told to read.

What is written is compared with all that is in use, as files and not by name: a link leads to the same one.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from worker.errors import UsageError
from worker.readers import require_file

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.config import Settings
    from worker.ledger.runs import Run

__all__ = ["DEFAULT_LEDGER", "Paths", "spare_for_metrics", "spare_for_results"]

DEFAULT_LEDGER: Final = "assign-ledger.db"
_BESIDE_LEDGER: Final = ("-wal", "-shm", "-journal", ".lock")
"""Endings of the files that SQLite and the lock of the one sending process keep."""


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
            UsageError: results would overwrite what is in use, or the ledger would.
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
        paths._keep_apart(settings)
        return paths

    @classmethod
    def beside_ledger(cls, settings: Settings, run: Run) -> Paths:
        """For what works from the ledger: results as the run itself would name them, beside the ledger.

        Raises:
            UsageError: results would overwrite what is in use, or the input where that is beside the ledger or here.
        """
        ledger = cls.ledger_of(settings)
        folder = Path() if "://" in ledger else Path(ledger).parent
        results = settings.output.results or folder / f"{_stem(Path(run.input_name))}.results.{run.input_format}"
        _spare_input(results, run, folder)
        paths = cls(None, ledger, results)
        paths._keep_apart(settings)
        return paths

    @staticmethod
    def ledger_of(settings: Settings) -> str:
        """The ledger that the settings name, or the one in the current folder."""
        return settings.output.ledger or DEFAULT_LEDGER

    def _keep_apart(self, settings: Settings) -> None:
        """Results and the ledger from each other, and from all else that is in use."""
        others = [*_input(self.input), *_read_for(settings), *_metrics(settings)]
        for what, path in (*_files_of(self.ledger), *others):
            if not _same(self.results, path):
                continue
            if settings.output.results is not None:
                raise UsageError(f"--results {self.results} is {what}; name another file")
            if str(path) == self.ledger:
                raise UsageError(f"--ledger {self.ledger} is where the results go; name another file")
            raise UsageError(f"the results would go to {self.results}, which is {what}; name a file with --results")
        for own, file in _files_of(self.ledger):
            for what, path in others:
                if _same(file, path):
                    which = f"--ledger {self.ledger}" if own == _LEDGER else f"{file}, {own},"
                    raise UsageError(f"{which} is {what}; name another file")


def spare_for_results(target: Path, run: Run, settings: Settings) -> None:
    """Make sure that the results of a run, written to `target` by themselves, overwrite nothing that is in use.

    Raises:
        UsageError: they would; the run's input is known where it is still beside the ledger or in the current folder.
    """
    ledger = Paths.ledger_of(settings)
    files = _files_of(ledger)
    for what, path in (*files, *_read_for(settings), *_metrics(settings)):
        if _same(target, path):
            raise UsageError(f"-o {target} is {what}; name another file")
    _spare_input(target, run, files[0][1].parent if files else Path())


def spare_for_metrics(settings: Settings, source: Path | None = None) -> None:
    """Make sure that the file of metrics, which is written before all else, overwrites nothing that is in use.

    Args:
        settings: of the command.
        source: its input, where it has one.

    Raises:
        UsageError: it would.
    """
    target, output = settings.telling.metrics_file, settings.output
    if target is None:
        return
    ledger = output.ledger or str((Path() if source is None else source.parent) / DEFAULT_LEDGER)
    results = () if output.results is None else (("the --results file", output.results),)
    for what, path in (*_input(source), *_files_of(ledger), *_read_for(settings), *results):
        if _same(target, path):
            raise UsageError(f"--metrics-file {target} is {what}; name another file")


_LEDGER: Final = "the ledger"


def _files_of(ledger: str) -> tuple[tuple[str, Path], ...]:
    """An SQLite ledger's own file and those beside it, each with what it is; of another database none."""
    scheme, is_url, rest = ledger.partition("://")
    if is_url:
        if scheme != "sqlite":
            return ()
        ledger = rest.removeprefix("/")
    beside = ((f"a file of the ledger {ledger}", Path(f"{ledger}{ending}")) for ending in _BESIDE_LEDGER)
    return ((_LEDGER, Path(ledger)), *beside)


def _input(source: Path | None) -> tuple[tuple[str, Path], ...]:
    return () if source is None else (("the input itself", source),)


def _read_for(settings: Settings) -> Iterable[tuple[str, Path]]:
    """What the settings, the keys and the trust were read from."""
    authority = settings.target.ca_file
    return (*settings.files, *(() if authority is None else (("the --ca-file", authority),)))


def _metrics(settings: Settings) -> Iterable[tuple[str, Path]]:
    file = settings.telling.metrics_file
    return () if file is None else (("the --metrics-file", file),)


def _spare_input(results: Path, run: Run, folder: Path) -> None:
    if any(_same(results, place / run.input_name) for place in (folder, Path())):
        raise UsageError(f"{results} is the input of run {run.id}; name another file for the results")


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
