"""Spans, in memory and as a collector gets them over OTLP/HTTP."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from tests.cli.service import call, make_jobs, write_jobs
from tests.telling.listener import Listener
from worker.models import Attempt, Call, Verdict
from worker.seam import AcsCredential
from worker.tracing import Tracing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from opentelemetry.proto.trace.v1.trace_pb2 import Span
    from opentelemetry.sdk.trace import ReadableSpan

    from tests.cli.service import Service


@pytest.fixture
def memory() -> InMemorySpanExporter:
    """Keeps spans."""
    return InMemorySpanExporter()


def test_a_span_for_each_attempt_within_the_run(memory: InMemorySpanExporter) -> None:
    """With its times, what it proved, and the workspace that the call or else the reply named."""
    tracing = Tracing("assign-worker jobs.csv", memory)
    credential = AcsCredential.model_construct(acs_credential_id="c", workspace_id="from-reply")
    began = time.time()
    tracing("run-1", 7, 1, Attempt(Call.ASSIGN, Verdict.DONE, began, 0.25, 200, "req-1", credential))
    refused = Attempt(
        Call.GET, Verdict.REFUSED, began, 0.5, 404, "req-2", error_type="not_found", workspace_id="from-call"
    )
    tracing("run-1", None, 2, refused)
    tracing.end({"assign_worker.exit_code": 1}, failed=False)
    assert tracing.close() == 0
    assign, get, run = memory.get_finished_spans()
    assert run.name == "assign-worker jobs.csv"
    assert run.context is not None
    assert dict(run.attributes or {}) == {"assign_worker.exit_code": 1}
    for span in (assign, get):
        assert span.kind is SpanKind.CLIENT
        assert span.parent is not None
        assert span.parent.span_id == run.context.span_id
    assert assign.name == "acs/credentials/assign"
    assert dict(assign.attributes or {}) == {
        "assign_worker.run_id": "run-1",
        "assign_worker.row": 7,
        "assign_worker.attempt": 1,
        "assign_worker.route": "acs/credentials/assign",
        "assign_worker.verdict": "done",
        "seam.workspace_id": "from-reply",
        "seam.request_id": "req-1",
        "http.request.method": "POST",
        "http.response.status_code": 200,
    }
    assert assign.start_time == pytest.approx(began * 1e9, abs=1e4)
    assert (assign.end_time or 0) - (assign.start_time or 0) == 250_000_000
    assert dict(get.attributes or {}).items() >= {
        ("seam.workspace_id", "from-call"),
        ("error.type", "not_found"),
        ("assign_worker.verdict", "refused"),
    }
    assert (assign.status.status_code, get.status.status_code) == (StatusCode.UNSET, StatusCode.ERROR)


def test_a_run_that_failed_is_marked(memory: InMemorySpanExporter) -> None:
    """The run's span has the status of an error."""
    tracing = Tracing("assign-worker jobs.csv", memory)
    tracing.end({}, failed=True)
    tracing.close()
    (run,) = memory.get_finished_spans()
    assert run.status.status_code is StatusCode.ERROR


def test_the_service_is_named_as_the_user_says(memory: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_SERVICE_NAME goes before our own name."""

    def service_name() -> object:
        memory.clear()
        tracing = Tracing("assign-worker jobs.csv", memory)
        tracing.end({}, failed=False)
        tracing.close()
        spans: tuple[ReadableSpan, ...] = memory.get_finished_spans()
        return spans[0].resource.attributes["service.name"]

    assert service_name() == "assign-worker"
    memory._stopped = False
    monkeypatch.setenv("OTEL_SERVICE_NAME", "night-shift")
    assert service_name() == "night-shift"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    """A collector, and the variables that lead to it."""
    with Listener() as listener:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{listener.port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=collector-canary")
        yield listener


def received(collector: Listener) -> list[Span]:
    """All spans that it got."""
    spans: list[Span] = []
    for heard in collector.heard:
        assert heard.path == "/v1/traces"
        assert heard.headers["content-type"] == "application/x-protobuf"
        assert heard.headers["api-key"] == "collector-canary"
        request = ExportTraceServiceRequest.FromString(heard.body)
        spans += [span for one in request.resource_spans for scope in one.scope_spans for span in scope.spans]
    return spans


def attributes(span: Span) -> dict[str, object]:
    """As plain values."""
    return {
        item.key: item.value.string_value if item.value.HasField("string_value") else item.value.int_value
        for item in span.attributes
    }


def test_a_collector_gets_the_spans_of_a_run(service: Service, collector: Listener, tmp_path: Path) -> None:
    """Each row once, in one trace with the run, whose span tells what came of it; no id of a person among them."""
    jobs = make_jobs(700)
    ended = call(["run", write_jobs(tmp_path / "jobs.csv", jobs), "--json"], service.environ())
    assert (ended.code, ended.err) == (0, "")
    spans = received(collector)
    assert len({span.trace_id for span in spans}) == 1
    (run,) = (span for span in spans if not span.parent_span_id)
    assert run.name == "assign-worker", "names are for groups of spans; the file's is an attribute"
    assert attributes(run) == {
        "assign_worker.name": "jobs.csv",
        "assign_worker.exit_code": 0,
        "assign_worker.run_id": ended.document()["run_id"],
        "assign_worker.rows": 700,
        "assign_worker.rows.assigned": 700,
    }
    attempts = [attributes(span) for span in spans if span.parent_span_id == run.span_id]
    assert sorted(int(str(attempt["assign_worker.row"])) for attempt in attempts) == list(range(1, 701))
    assert {attempt["assign_worker.run_id"] for attempt in attempts} == {ended.document()["run_id"]}
    sent = b"".join(heard.body for heard in collector.heard)
    for secret in (service.api_key, jobs[0]["acs_user_id"], jobs[0]["acs_credential_id"]):
        assert secret.encode() not in sent


def test_a_collector_that_refuses_is_one_warning(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code and results are as without it."""
    with Listener(status=400) as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"http://127.0.0.1:{collector.port}/v1/traces")
        ended = call(["run", write_jobs(tmp_path / "jobs.csv", make_jobs(5)), "--json"], service.environ())
    assert len(collector.heard) == 1
    assert ended.code == 0
    (line,) = ended.err.splitlines()
    assert "6 spans could not be exported; the run is not affected" in line


def test_a_collector_that_is_silent_is_not_waited_for(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of the run comes within the bound."""
    monkeypatch.setattr("worker.tracing.FLUSH_SECONDS", 0.3)
    with Listener(silent=True) as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.port}")
        ended = call(["run", write_jobs(tmp_path / "jobs.csv", make_jobs(2)), "--json"], service.environ())
        assert len(collector.heard) == 1, "it is still being asked"
    assert ended.code == 0
    assert "3 spans could not be exported" in ended.err


@pytest.mark.parametrize("how", ["disabled", "no endpoint", "no extra"])
def test_without_being_asked_for_there_are_none(
    how: str, service: Service, collector: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a word of it either."""
    if how == "disabled":
        monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    elif how == "no endpoint":
        monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT")
    else:
        monkeypatch.delitem(sys.modules, "worker.tracing", raising=False)
        monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    ended = call(["run", write_jobs(tmp_path / "jobs.csv", make_jobs(2)), "--json"], service.environ())
    assert (ended.code, ended.err) == (0, "")
    assert collector.heard == []


def test_a_missing_extra_can_be_found_out(
    service: Service, collector: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At level info, by whoever wonders where the spans are; the variables may be there for other programs."""
    monkeypatch.delitem(sys.modules, "worker.tracing", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    command = ["run", write_jobs(tmp_path / "jobs.csv", make_jobs(1)), "--log-level", "info"]
    ended = call(command, service.environ())
    assert ended.code == 0
    assert "spans need the extra otel" in ended.err
    assert collector.heard == []


def test_a_variable_that_cannot_be_used_is_exit_2(
    service: Service, collector: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence, before anything is sent."""
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "100000")
    before = service.assigns()
    ended = call(["run", write_jobs(tmp_path / "jobs.csv", make_jobs(2))], service.environ())
    assert ended.code == 2
    assert ended.err.startswith("assign-worker: error: a variable of OpenTelemetry's cannot be used: ")
    assert len(ended.err.splitlines()) == 1
    assert (service.assigns(), collector.heard) == (before, [])
