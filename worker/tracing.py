"""OpenTelemetry spans: one for the run, one within it for every HTTP call. Needs the extra `otel` to be imported.

They go where OpenTelemetry's own variables say (`OTEL_EXPORTER_OTLP_ENDPOINT` and its kin), over OTLP/HTTP. The tracer
is the object's own; nothing global is set up. A span says which row and what came of it, and carries neither ids of
people nor words of replies.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

from worker.errors import UsageError
from worker.models import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from worker.models import Attempt

__all__ = ["Tracing"]

FLUSH_SECONDS: Final = 5.0
"""How long the end of a run waits for the last spans to be taken."""
_NANOSECONDS: Final = 1_000_000_000
_FAILED: Final = Status(StatusCode.ERROR)


class Tracing:
    """The spans of one run; give it to the run among its observers, and close it at the end.

    Args:
        name: of the run's span.
        exporter: where spans go; None is OTLP/HTTP, as the environment says.

    Raises:
        UsageError: a variable of OpenTelemetry's cannot be used.
    """

    def __init__(self, name: str, exporter: SpanExporter | None = None) -> None:
        given = OTELResourceDetector().detect().attributes  # what the user's variables say of the service goes first
        resource = Resource.create({"service.name": "assign-worker", **given})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        try:
            self._counting = _Counting(exporter or OTLPSpanExporter())
            self._provider.add_span_processor(BatchSpanProcessor(self._counting))
        except ValueError as error:
            raise UsageError(f"a variable of OpenTelemetry's cannot be used: {error}") from None
        self._tracer = self._provider.get_tracer("assign-worker")
        self._run = self._tracer.start_span(name)
        self._within = set_span_in_context(self._run)
        self._ended = 0

    def __call__(self, run_id: str, row: int | None, number: int, attempt: Attempt) -> None:
        """`AttemptObserver`: a span from the call's start to its end."""
        workspace, credential = attempt.workspace_id, attempt.credential
        if workspace is None and credential is not None:
            workspace = credential.workspace_id
        attributes: dict[str, str | int | None] = {
            "assign_worker.run_id": run_id,
            "assign_worker.row": row,
            "assign_worker.attempt": number,
            "assign_worker.route": attempt.call.value,
            "assign_worker.verdict": attempt.verdict.value,
            "seam.workspace_id": workspace,
            "seam.request_id": attempt.request_id,
            "http.request.method": "POST",
            "http.response.status_code": attempt.status,
            "error.type": attempt.error_type,
        }
        began = int(attempt.started_at * _NANOSECONDS)
        span = self._tracer.start_span(
            attempt.call.value,
            self._within,
            SpanKind.CLIENT,
            {name: value for name, value in attributes.items() if value is not None},
            start_time=began,
        )
        if attempt.verdict is not Verdict.DONE:
            span.set_status(_FAILED)
        self._ended += span.is_recording()
        span.end(began + int(attempt.duration * _NANOSECONDS))

    def end(self, attributes: Mapping[str, str | int], *, failed: bool) -> None:
        """End the run's span."""
        self._run.set_attributes(attributes)
        if failed:
            self._run.set_status(_FAILED)
        self._ended += self._run.is_recording()
        self._run.end()

    def close(self) -> int:
        """Have the rest exported, within `FLUSH_SECONDS`; how many spans were lost, over all."""
        closing = threading.Thread(target=self._provider.shutdown, name="spans", daemon=True)
        closing.start()
        closing.join(FLUSH_SECONDS)
        return self._ended - self._counting.exported


class _Counting(SpanExporter):
    """Counts what an exporter got rid of."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self.exported = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self.exported += len(spans)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()
