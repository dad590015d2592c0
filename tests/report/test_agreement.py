"""One truth, told in many places: whatever a run came to, all of them count the same rows."""

from __future__ import annotations

import io
import re
from collections import Counter
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from tests.ledger.filling import NOW, claimed, finished, result, retried, row, staged
from tests.results.exporting import as_csv, as_jsonl
from worker.claim import Batch
from worker.cli.exposing import kept_in_file
from worker.cli.message import of_ended
from worker.cli.summary import print_report
from worker.cli.telling import Audience
from worker.ledger import Ledger
from worker.ledger.chains import chain_of
from worker.ledger.claims import fetch_fresh
from worker.ledger.queries import NOWHERE, count_by_workspace, count_outcomes
from worker.ledger.runs import note_stop
from worker.metrics import Metrics
from worker.models import NOT_WELL, InputRow, Outcome, Result
from worker.report import RunReport, build_report, exit_code_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Engine

    from worker.ledger.runs import Run

_SENT = (Outcome.ASSIGNED, Outcome.UNCHANGED, Outcome.FAILED, Outcome.CONFLICT, Outcome.IN_DOUBT)
_CODES = ("being_deleted", "needs_to_be_reissued", "told_by_nobody")


@st.composite
def input_rows(draw: st.DrawFn) -> list[InputRow]:
    """A file: good rows of three workspaces and of none, bad ones, duplicates and conflicts among them."""
    kinds = draw(st.lists(st.sampled_from(["good", "good", "good", "bad", "same", "other"]), min_size=1, max_size=25))
    rows = []
    for number, kind in enumerate(kinds, 1):
        credential = number if kind in {"good", "bad"} else draw(st.integers(1, number))
        rows.append(
            row(
                number,
                credential=credential,
                person=501 if kind == "other" else 500,
                workspace=draw(st.sampled_from([None, 1, 2, 3])),
                reason="no job" if kind == "bad" else None,
            )
        )
    return rows


@st.composite
def final_words(draw: st.DrawFn, rows: list[int]) -> list[Result]:
    """Results for some of the open rows."""
    made = []
    for number in rows:
        outcome = draw(st.sampled_from([None, *_SENT]))
        if outcome is None:
            continue
        well = outcome not in NOT_WELL
        codes = draw(st.lists(st.sampled_from(_CODES), unique=True, max_size=2)) if well else []
        made.append(
            result(
                number,
                outcome,
                attempts=0 if outcome is Outcome.UNCHANGED else draw(st.integers(1, 4)),
                retryable=draw(st.booleans()) if outcome is Outcome.FAILED else None,
                error_type=None if well else draw(st.sampled_from([None, "timeout", "acs_user_not_found"])),
                warning_codes=";".join(codes) or None,
            )
        )
    return made


def open_rows(engine: Engine, run: Run) -> list[int]:
    """Rows without a result, over all shards."""
    found = []
    for shard in range(4):
        found += [each.job.row for each in fetch_fresh(engine, run.run_no, shard, after_row=0, limit=99)]
    return sorted(found)


def execute(data: st.DataObject, engine: Engine, run: Run) -> Run:
    """Send some of a run; it is finished if nothing is left, and else it stopped within some shard's mark."""
    given_words = data.draw(final_words(open_rows(engine, run)))
    claim, writer = claimed(engine, run)
    if not claim.shards:  # every row was rejected when read
        return note_stop(engine, run.run_no, finished=True, cause=None, message=None, seconds=0.0, now=NOW)
    marks = {shard.shard: data.draw(st.integers(0, run.rows)) for shard in claim.shards}
    writer.write(Batch(results=given_words, marks=marks))
    writer.close()
    is_finished = not open_rows(engine, run)
    cause = None if is_finished else "outage"
    return note_stop(engine, run.run_no, finished=is_finished, cause=cause, message=cause, seconds=1.5, now=NOW)


def present(counts: Mapping[Any, int]) -> dict[str, int]:
    """Without what is 0, by plain words."""
    return {str(word): count for word, count in counts.items() if count}


def of_page(report: RunReport) -> dict[str, int]:
    """The outcomes as the page shows them, and the sum below."""
    page = io.StringIO()
    with redirect_stdout(page):
        print_report(report)
    counts = {}
    for line in page.getvalue().splitlines():
        found = re.fullmatch(r" (\w+) +([\d ]+?)(  +[\d.]+ %)? *", line)
        if found is not None:
            counts[found[1]] = int(found[2].replace(" ", ""))
            if found[1] == "all":
                break
    return counts


def of_metrics(folder: Path, report: RunReport) -> tuple[dict[str, int], dict[str, int]]:
    """Rows by outcome and by workspace, as a collector reads them from the file at the end."""
    metrics = Metrics("jobs")
    with kept_in_file(metrics.registry, folder / "m.prom"), Audience("jobs", metrics, None) as audience:
        audience.report = report
    outcomes: Counter[str] = Counter()
    places: Counter[str] = Counter()
    for family in text_string_to_metric_families((folder / "m.prom").read_text("utf-8")):
        for sample in family.samples:
            if sample.name == "assign_worker_rows":
                outcomes[sample.labels["outcome"]] += int(sample.value)
                places[sample.labels["workspace"]] += int(sample.value)
    return present(outcomes), present(places)


def judge(folder: Path, ledger: Ledger, run: Run, rows: list[InputRow]) -> None:
    """Everything that tells of the run's chain, against its rows as they are exported."""
    exported = as_jsonl(ledger.engine, run, folder / "out.jsonl")
    truth = Counter(record["outcome"] for record in exported)
    assert [record["row"] for record in exported] == list(range(1, len(rows) + 1))

    written = as_csv(ledger.engine, run, folder / "out.csv")
    for key in ("outcome", "error_type", "detail", "run_id"):
        assert [record[key] for record in written] == [record[key] or "" for record in exported]
    assert [int(record["attempts"]) for record in written] == [record["attempts"] for record in exported]

    report = build_report(ledger.engine, run, ledger=ledger.place)
    document = report.as_dict()
    assert report.rows == len(rows)
    assert present(report.outcomes) == present(document["outcomes"]) == present(truth)
    assert of_page(report) == {**present(truth), "all": len(rows)}
    assert of_metrics(folder, report)[0] == present(truth)

    warned = Counter(code for record in exported for code in record["warning_codes"] or ())
    assert report.warnings == dict(warned)
    failures: Counter[str] = Counter()
    for failure in report.failures:
        failures[failure.outcome] += failure.rows
        assert exported[failure.example_row - 1]["outcome"] == failure.outcome
        assert exported[failure.example_row - 1]["error_type"] == failure.error_type
    assert present(failures) == {word: truth[word] for word in NOT_WELL if truth[word]}

    chain = chain_of(ledger.engine, run.run_no)
    is_open = chain.last.state == "open"
    causes = [stop.cause for stop in report.stops]
    assert report.exit_code == exit_code_of(Counter(map(Outcome, truth.elements())), causes, finished=not is_open)
    assert is_open or "pending" not in truth
    body = of_ended(report, "the run").body
    for word, count in present(truth).items():
        assert f"{count} {word}" in body, body

    calls = sum(record["attempts"] for record in exported)
    again = sum(record["attempts"] > 1 for record in exported)
    if chain.retries:
        assert report.attempts >= calls
        assert report.retried_rows >= again
    else:
        assert (report.attempts, report.retried_rows) == (calls, again)
        assert present(count_outcomes(ledger.engine, run.run_no)) == present(truth)

    settled = Counter(record["outcome"] for record in exported if record["finished_at"] is not None)
    by_place = count_by_workspace(ledger.engine, chain.root.run_no)
    if not chain.retries:
        assert present(sum(by_place.values(), Counter())) == present(settled)
    if report.workspaces:
        told = {place.workspace_id: sum(place.outcomes.values()) for place in report.workspaces}
        expected = Counter(each.parsed.workspace_id for each in rows if not hasattr(each.parsed, "reason"))
        assert told == dict(expected)
        rejected = len(rows) - sum(told.values())
        assert of_metrics(folder, report)[1].get(NOWHERE, 0) == rejected


# Not shrunk, since each step makes a ledger: a failing case is told whole.
@settings(max_examples=25, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), rows=input_rows())
def test_all_places_agree(data: st.DataObject, rows: list[InputRow]) -> None:
    """CSV, JSONL, page, JSON document, metrics, notification and exit code: of a run, and of its retry after it."""
    with TemporaryDirectory() as name, Ledger(f"{name}/l.db", exclusive=True) as ledger:
        folder, engine = Path(name), ledger.engine
        run = execute(data, engine, staged(engine, rows))
        judge(folder, ledger, run, rows)
        if run.state == "finished":
            run = execute(data, engine, retried(engine, run))
            judge(folder, ledger, run, rows)
        elif left := open_rows(engine, run):
            judge(folder, ledger, finished(engine, run, *(result(number) for number in left)), rows)
