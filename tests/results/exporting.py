"""Short ways to a run with given cells, and to its exported file."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

from tests.ledger.filling import NOW, claimed, row
from worker.claim import Batch
from worker.ledger.mode import PLAIN
from worker.ledger.opening import finish_staging
from worker.ledger.runs import RunSpec, create_run
from worker.ledger.staging import stage
from worker.results import export_results

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from sqlalchemy import Engine

    from worker.ledger.runs import Run
    from worker.models import Result

HEADER = ("acs_credential_id", "acs_user_id")


def kept(
    engine: Engine, cells: Sequence[object], results: Iterable[Result], *, header: tuple[str, ...] | None = HEADER
) -> Run:
    """A run whose rows stood in the file as `cells` (JSON values), with these results."""
    spec = RunSpec(
        name="jobs",
        input_name="jobs",
        input_format="csv" if header is not None else "jsonl",
        header=header,
        parse_options="{}",
        mode=PLAIN,
        endpoint="http://127.0.0.1:1",
        workspace_id=None,
        settings="{}",
    )
    run = create_run(engine, spec, now=NOW)
    rows = [row(number)._replace(cells=json.dumps(given)) for number, given in enumerate(cells, 1)]
    assert stage(engine, run, rows, now=NOW)
    run = finish_staging(engine, run, sha256="a" * 64, now=NOW)
    _, writer = claimed(engine, run)
    writer.write(Batch(results=tuple(results), marks={0: len(rows)}))
    writer.close()
    return run


def as_csv(engine: Engine, run: Run, path: Path, *, include_codes: bool = False) -> list[dict[str, str]]:
    """The exported CSV, by column."""
    export_results(engine, run, path, format="csv", include_codes=include_codes)
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def as_jsonl(engine: Engine, run: Run, path: Path, *, include_codes: bool = False) -> list[dict[str, Any]]:
    """The exported JSON lines."""
    export_results(engine, run, path, format="jsonl", include_codes=include_codes)
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
