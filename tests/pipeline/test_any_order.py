"""Any order of commit, crash, resume, fence and retry keeps the oracle (Hypothesis)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.pipeline.harness import PERSON, job, send
from worker.errors import AssignWorkerError
from worker.models import Attempt, Call, Outcome, Stop, StopCause
from worker.testing import Fault, MemorySeam, MemoryShards

if TYPE_CHECKING:
    from worker.pipeline import Pipeline

_SENDING = st.sampled_from([fault for fault in Fault if fault not in {Fault.HALT, Fault.FORBIDDEN}])
_READING = st.sampled_from([Fault.LIMITED, Fault.LOST, Fault.BROKEN_5XX, Fault.NEVER_SENT])
_ENDS = st.lists(
    st.tuples(st.sampled_from(["crash", "fence", "drain"]), st.integers(min_value=1, max_value=40)), max_size=4
)


def _end_execution(shards: MemoryShards, seam: MemorySeam, how: str, after: int, *, takeover_refused: bool) -> None:
    """Run until `after` calls have ended, then crash, lose the fence, or drain."""
    seen = 0

    def on_attempt(pipeline: Pipeline, _: Attempt) -> None:
        nonlocal seen
        seen += 1
        if seen == after:
            if how == "drain":
                pipeline.stop(Stop(StopCause.SIGINT, "stopped"))
            elif how == "fence":
                shards.epoch += 1
            else:
                shards.fail_write = OSError("killed")

    try:
        send(shards, seam, on_attempt=on_attempt, concurrency=4, takeover_refused=takeover_refused)
    except AssignWorkerError:
        # What was sent and is not durable is unknown to whoever comes next.
        sent = {credential for kind, credential in seam.events if kind == "sent"}
        seam.events += [
            ("ambiguous", each.acs_credential_id)
            for each in shards.jobs
            if each.acs_credential_id in sent and each.row not in shards.results
        ]
    shards.fail_write = None


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    sending=st.dictionaries(st.integers(1, 12), st.lists(_SENDING, max_size=6), max_size=8),
    reading=st.dictionaries(st.integers(1, 12), st.lists(_READING, max_size=3), max_size=4),
    foreign=st.sets(st.integers(1, 12), max_size=3),
    ends=_ENDS,
    takeover_refused=st.booleans(),
)
def test_the_oracle_holds(
    sending: dict[int, list[Fault]],
    reading: dict[int, list[Fault]],
    foreign: set[int],
    ends: list[tuple[str, int]],
    *,
    takeover_refused: bool,
) -> None:
    """One result a row, assigned only if applied, applied never reported otherwise, no unread resend."""
    seam = MemorySeam(owners={job(row).acs_credential_id: "somebody" for row in foreign})
    shards = MemoryShards([job(row) for row in range(1, 13)])
    for row, faults in sending.items():
        seam.script(job(row).acs_credential_id, *faults)
    for row, faults in reading.items():
        seam.script(job(row).acs_credential_id, *faults, call=Call.GET)
    for how, after in ends:
        _end_execution(shards, seam, how, after, takeover_refused=takeover_refused)
    send(shards, seam, at={20.0: lambda _: seam.execute_late()}, concurrency=4, takeover_refused=takeover_refused)

    assert sorted(shards.results) == list(range(1, 13))
    assert seam.unverified_resends() == 0
    for row, result in shards.results.items():
        has_it = seam.owners.get(job(row).acs_credential_id) == PERSON
        if result.outcome is not Outcome.IN_DOUBT:
            assert has_it == (result.outcome in {Outcome.ASSIGNED, Outcome.UNCHANGED}), (row, result)
