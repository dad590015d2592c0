"""Results to a file or to stdout."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import click

from worker.cli.stdout import writing
from worker.cli.words import in_rows
from worker.errors import UsageError
from worker.ledger.queries import stream_export
from worker.ledger.runs import get_run
from worker.paths import spare_for_results
from worker.results import export_results, format_of
from worker.results.formats import CsvFormat, JsonlFormat

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from worker.config import Output, Settings
    from worker.ledger.runs import Run

__all__ = ["STDOUT", "export"]

STDOUT: Final = "-"

_Kind = Literal["csv", "jsonl"]


def export(engine: Engine, reference: str | None, target: str, kind: _Kind | None, settings: Settings) -> None:
    """Write one run's results.

    Args:
        engine: the ledger.
        reference: the run's id; None is the latest.
        target: a file, or `-`.
        kind: None goes by the name of the file, else by the input.
        settings: where the ledger and others' files are, and which cells are masked or defused.

    Raises:
        UsageError: stdout is closed, or the results would go over what is in use.
    """
    run, output = get_run(engine, reference), settings.output
    if target == STDOUT:
        if sys.__stdout__ is None:  # and whatever is open in its place takes all, and keeps nothing
            raise UsageError("stdout is closed, so that no results can be written to it; name a file with -o FILE")
        _to_stdout(engine, run, kind or format_of(target, run), output)
        return
    spare_for_results(Path(target), run, settings)
    summary = export_results(
        engine,
        run,
        Path(target),
        format=kind,
        include_codes=output.include_codes,
        raw_cells=output.raw_cells,
    )
    click.echo(f"{in_rows(summary.rows)} of run {run.id} written to {summary.path}")


def _to_stdout(engine: Engine, run: Run, kind: _Kind, output: Output) -> None:
    if kind == "csv":
        records: CsvFormat | JsonlFormat = CsvFormat(
            run.header, include_codes=output.include_codes, raw_cells=output.raw_cells
        )
    else:
        records = JsonlFormat(run.header, include_codes=output.include_codes)
    # UTF-8 and the formats' own line ends, whatever the terminal's settings: it is a file that passes here.
    with (
        writing(),
        open(sys.stdout.fileno(), "w", encoding="utf-8", errors="backslashreplace", newline="", closefd=False) as file,
        closing(stream_export(engine, run.run_no)) as rows,
    ):
        file.write(records.heading)
        records.write(file, rows)
