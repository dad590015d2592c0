"""A run's results as a file: one record per input row, in input order (DESIGN 5)."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Literal

from worker.ledger.queries import stream_export
from worker.models import Step
from worker.results.formats import CsvFormat, JsonlFormat
from worker.results.replacing import check_destination, replacing

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from sqlalchemy import Engine

    from worker.ledger.queries import ExportRow
    from worker.ledger.runs import Run

__all__ = ["ExportSummary", "check_destination", "export_results", "format_of"]


@dataclass(frozen=True)
class ExportSummary:
    """What was written."""

    rows: int
    path: Path


def format_of(name: str, run: Run) -> Literal["csv", "jsonl"]:
    """The format of a results file: by its name, and as the input was where that says nothing."""
    if name.endswith((".jsonl", ".ndjson")):
        return "jsonl"
    return "csv" if name.endswith(".csv") or run.input_format == "csv" else "jsonl"


def export_results(  # noqa: PLR0913 - keywords: what to write, and how
    engine: Engine,
    run: Run,
    path: Path,
    *,
    format: Literal["csv", "jsonl"] | None = None,  # noqa: A002 - the option's name
    include_codes: bool = False,
    raw_cells: bool = False,
    rows: Generator[ExportRow] | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> ExportSummary:
    """Write the rows of a run's chain to `path`, whole or not at all; a file or link that was there is replaced.

    Args:
        engine: the ledger.
        run: any of its chain, finished or not; rows without a result are `pending` or `in_doubt`.
        path: mode 0600, whatever was there before.
        format: of the results; None goes by `format_of`.
        include_codes: write PINs and card numbers in the clear, where the ledger has them.
        raw_cells: leave CSV cells that a spreadsheet would run as they are.
        rows: what to write in place of the run's results.
        on_step: told half-way; for tests.

    Raises:
        UsageError: `path` cannot be a results file; see `check_destination`.
        ResultsWriteError: writing failed, for example on a full disk; what was at `path` is untouched.
    """
    records = (
        CsvFormat(run.header, include_codes=include_codes, raw_cells=raw_cells)
        if (format or format_of(path.name, run)) == "csv"
        else JsonlFormat(run.header, include_codes=include_codes)
    )
    with replacing(path) as file, closing(rows or stream_export(engine, run.run_no)) as stream:
        file.write(records.heading)
        written = records.write(file, islice(stream, run.rows // 2))
        if on_step is not None:
            on_step(Step.DURING_EXPORT)
        written += records.write(file, stream)
    return ExportSummary(written, path)
