"""The metrics themselves, and the dashboard that shows them."""

from __future__ import annotations

import json
import math
import re
import time
from pathlib import Path
from typing import Any, get_args

import pytest
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from worker.control import Phase
from worker.metrics import MOST_WORKSPACES, OTHER, STATES, Metrics, read_last_success
from worker.models import Attempt, Call, Outcome, Verdict

DASHBOARD = Path(__file__).parents[2] / "configs" / "grafana" / "assign-worker.json"

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(metrics: Metrics) -> Samples:
    """What is exposed: (name, labels) -> value, each once."""
    found: Samples = {}
    for family in text_string_to_metric_families(generate_latest(metrics.registry).decode()):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


def value(metrics: Metrics, name: str, **labels: str) -> float:
    """One sample of the run "night"; NaN where there is none."""
    return samples(metrics).get((name, tuple(sorted({"name": "night", **labels}.items()))), math.nan)


def look(metrics: Metrics, rows: dict[str | None, dict[Outcome, int]], **more: Any) -> None:
    """A run under way."""
    told: dict[str, Any] = {"state": "sending", "in_flight": 7, "rows_per_second": 12.5, "limit": None}
    metrics.look(rows=rows, **told | more)


def full() -> Metrics:
    """Metrics of a run of which everything is known."""
    metrics = Metrics("night", last_success=5.0)
    metrics("run", 1, 1, Attempt(Call.ASSIGN, Verdict.DONE, 0.0, 0.02, 200))
    metrics.committed(0.003)
    look(metrics, {None: {Outcome.ASSIGNED: 1}}, limit=40.0)
    metrics.end(1, state="finished", rows=None, rows_per_second=3.0)
    return metrics


def test_attempts_are_counted_by_route_and_verdict() -> None:
    """With their durations by route."""
    metrics = Metrics("night")
    for verdict, duration in ((Verdict.DONE, 0.02), (Verdict.DONE, 0.3), (Verdict.LIMITED, 0.001)):
        metrics("run", 1, 1, Attempt(Call.ASSIGN, verdict, 0.0, duration))
    metrics("run", None, 1, Attempt(Call.GET, Verdict.DONE, 0.0, 0.1))
    assign, get = Call.ASSIGN.value, Call.GET.value
    assert value(metrics, "assign_worker_attempts_total", route=assign, verdict="done") == 2
    assert value(metrics, "assign_worker_attempts_total", route=assign, verdict="limited") == 1
    assert value(metrics, "assign_worker_attempts_total", route=get, verdict="done") == 1
    assert value(metrics, "assign_worker_attempt_duration_seconds_bucket", route=assign, le="0.025") == 2
    assert value(metrics, "assign_worker_attempt_duration_seconds_sum", route=assign) == pytest.approx(0.321)
    assert value(metrics, "assign_worker_attempt_duration_seconds_count", route=get) == 1


def test_a_run_under_way() -> None:
    """Rows by workspace and outcome, pace, requests in flight, state; what is unknown is absent."""
    metrics = Metrics("night")
    look(metrics, {"north": {Outcome.ASSIGNED: 3, Outcome.FAILED: 1}, None: {Outcome.ASSIGNED: 2}})
    assert value(metrics, "assign_worker_rows", workspace="north", outcome="assigned") == 3
    assert value(metrics, "assign_worker_rows", workspace="north", outcome="pending") == 0
    assert value(metrics, "assign_worker_rows", workspace="default", outcome="assigned") == 2
    assert value(metrics, "assign_worker_rows_per_second") == 12.5
    assert value(metrics, "assign_worker_requests_in_flight") == 7
    assert [state for state in STATES if value(metrics, "assign_worker_run_state", state=state)] == ["sending"]
    for name in ("limit_requests_per_second", "exit_code", "last_success_timestamp_seconds"):
        assert math.isnan(value(metrics, f"assign_worker_{name}"))


def test_every_phase_is_a_state() -> None:
    """Whatever progress may tell."""
    assert set(get_args(Phase)) < set(STATES)


def test_the_end() -> None:
    """Exit code 0 is a success, at this moment; nothing is in flight any more; the limit that was found stays."""
    metrics = Metrics("night", last_success=5.0)
    look(metrics, {None: {Outcome.ASSIGNED: 1}}, limit=40.0)
    metrics.end(0, state="finished", rows={None: {Outcome.ASSIGNED: 2}}, rows_per_second=3.0)
    assert value(metrics, "assign_worker_exit_code") == 0
    assert abs(value(metrics, "assign_worker_last_success_timestamp_seconds") - time.time()) < 60
    assert value(metrics, "assign_worker_requests_in_flight") == 0
    assert value(metrics, "assign_worker_limit_requests_per_second") == 40
    assert value(metrics, "assign_worker_rows", workspace="default", outcome="assigned") == 2


@pytest.mark.parametrize("code", [1, 3, 143])
def test_only_exit_code_0_is_a_success(code: int) -> None:
    """Any other leaves the last success where it was."""
    metrics = Metrics("night", last_success=5.0)
    metrics.end(code, state="stopped", rows=None, rows_per_second=0.0)
    assert value(metrics, "assign_worker_last_success_timestamp_seconds") == 5


def test_many_workspaces_are_bounded() -> None:
    """The first hundred keep their names; the others are counted together, and none is lost."""
    metrics = Metrics("night")
    counts: dict[str | None, dict[Outcome, int]] = {f"w{number}": {Outcome.ASSIGNED: 1} for number in range(1_000)}
    look(metrics, counts)
    rows = {
        dict(labels)["workspace"]: amount
        for (name, labels), amount in samples(metrics).items()
        if name == "assign_worker_rows" and dict(labels)["outcome"] == "assigned"
    }
    assert len(rows) == MOST_WORKSPACES + 1
    assert (rows["w0"], rows[OTHER], sum(rows.values())) == (1, 1_000 - MOST_WORKSPACES, 1_000)


def test_workspaces_that_are_learnt_late_do_not_count_twice() -> None:
    """The rows of a look are replaced by those of the next."""
    metrics = Metrics("night")
    look(metrics, {None: {Outcome.ASSIGNED: 3}})
    assert value(metrics, "assign_worker_rows", workspace="default", outcome="assigned") == 3
    look(metrics, {"north": {Outcome.ASSIGNED: 3}})
    assert value(metrics, "assign_worker_rows", workspace="north", outcome="assigned") == 3
    assert math.isnan(value(metrics, "assign_worker_rows", workspace="default", outcome="assigned"))


def test_nothing_is_global() -> None:
    """Two runs in one process do not mix, and the library's own registry holds neither."""
    one, other = full(), Metrics("night")
    assert value(one, "assign_worker_ledger_commit_duration_seconds_count") == 1
    assert value(other, "assign_worker_ledger_commit_duration_seconds_count") == 0
    assert b"assign_worker" not in generate_latest(REGISTRY)


@pytest.mark.parametrize("text", [None, "", "# nothing", "not { prometheus", "\x00\xff"])
def test_a_file_without_a_success(text: str | None, tmp_path: Path) -> None:
    """Absent, empty, another's or broken: no success is known."""
    path = tmp_path / "m.prom"
    if text is not None:
        path.write_text(text, encoding="latin-1")
    assert read_last_success(path) is None


def test_every_sample_carries_the_name() -> None:
    """So that the files of several jobs can lie in one folder."""
    assert {dict(labels)["name"] for _, labels in samples(full())} == {"night"}


def exported() -> dict[str, set[str]]:
    """Metric -> its labels; the parts of a histogram as one."""
    found: dict[str, set[str]] = {}
    for name, labels in samples(full()):
        found.setdefault(family_of(name), set()).update(dict(labels))
    return found


def family_of(name: str) -> str:
    """The histogram that a sample belongs to, or its own name."""
    return re.sub(r"_seconds_(bucket|count|sum)$", "_seconds", name)


def expressions() -> list[str]:
    """Every query of the dashboard."""
    document = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in document["panels"] for target in panel["targets"]]
    return [*queries, *(item["definition"] for item in document["templating"]["list"] if "definition" in item)]


def test_the_dashboard_shows_all_there_is_and_nothing_else() -> None:
    """Each metric of its queries is exported, and each exported metric is in a query."""
    named = {family_of(name) for text in expressions() for name in re.findall(r"assign_worker_\w+", text)}
    assert named == set(exported())


def test_the_dashboard_asks_for_labels_that_exist() -> None:
    """In `by (…)` and in `{…}`, for each query the labels of its own metric."""
    known = exported()
    for text in expressions():
        (metric,) = {family_of(name) for name in re.findall(r"assign_worker_\w+", text)}
        grouped = [label for group in re.findall(r"by \(([^)]*)\)", text) for label in group.split(", ")]
        matched = re.findall(r"(\w+)=~?\"", text)
        assert set(grouped + matched) <= known[metric], text


def test_the_dashboard_asks_for_values_that_exist() -> None:
    """Outcomes and verdicts, as they are spelt."""
    words = {"outcome": {outcome.value for outcome in Outcome}, "verdict": {verdict.value for verdict in Verdict}}
    asked = [pair for text in expressions() for pair in re.findall(r'(outcome|verdict)=~?"([^"]+)"', text)]
    assert {label for label, _ in asked} == set(words)
    for label, values in asked:
        assert set(values.split("|")) <= words[label]


def test_the_dashboard_has_a_place_for_each_panel() -> None:
    """Each with an id of its own, within 24 columns, over no other."""
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken
        taken |= cells
