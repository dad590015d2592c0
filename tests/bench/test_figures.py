"""The bench's arithmetic, and the quick server's replies."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - a fixture's type

import pytest
from bench_speed.figures import (
    Bar,
    Sample,
    as_json,
    bars,
    best_concurrency,
    drawn_out,
    growth,
    markdown,
    summarize,
    table,
)
from bench_speed.jobs import write_jobs
from bench_speed.ladder import job_of
from bench_speed.server import WORKSPACE, answer

from worker.models import Call, Verdict
from worker.outcomes import names_another
from worker.readers import ReadOptions, open_input
from worker.replies import read_reply

BARE = [Sample(100.0, 10.0, 40.0), Sample(200.0, 5.0, 41.0), Sample(50.0, 20.0, 42.0)]
SLOWED = [Sample(90.0, 12.0, 80.0), Sample(180.0, 6.0, 80.0), Sample(45.0, 24.0, 90.0)]


def test_ratios_are_taken_within_a_round() -> None:
    """A machine that is slow in one round slows both sides of its ratio."""
    bare, worker = summarize({"bare": BARE, "worker": SLOWED}, {"bare": 64, "worker": 256}, bare="bare")
    assert (bare.of_bare, bare.cpu_of_bare, bare.rate) == (1.0, 1.0, 100.0)
    assert (worker.rate, worker.cpu_us, worker.peak_mib, worker.concurrency) == (90.0, 12.0, 80.0, 256)
    assert (worker.of_bare, worker.cpu_of_bare) == pytest.approx((0.9, 1.2))


def test_rounds_must_be_complete() -> None:
    """A client that missed a round cannot be compared."""
    with pytest.raises(ValueError, match="longer"):
        summarize({"bare": BARE, "worker": SLOWED[:2]}, {"bare": 1, "worker": 1}, bare="bare")


def test_goals() -> None:
    """The better one of the two official clients is the measure."""
    names = ["bare", "worker, sending", "worker, whole command", "AsyncSeam", "seam in threads"]
    rates = [100.0, 90.0, 60.0, 10.0, 20.0]
    samples = {name: [Sample(rate, 1.0, 1.0)] for name, rate in zip(names, rates, strict=True)}
    found = bars(summarize(samples, dict.fromkeys(names, 1), bare="bare"), sdk_multiple=4.5)
    assert [bar.reached for bar in found] == pytest.approx([0.9, 4.5, 0.6])
    assert [bar.held for bar in found] == [True, True, False]
    assert as_json(found)[2]["held"] is False


def test_the_table_of_the_readme() -> None:
    """What the README shows, in its words, with a column for each delay."""
    names = ["bare", "worker, sending", "worker, whole command", "AsyncSeam", "seam in threads"]
    rates = [100.0, 90.0, 60.0, 10.0, 20.0]
    samples = {name: [Sample(rate, 1.5, 98.4)] for name, rate in zip(names, rates, strict=True)}
    found = summarize(samples, dict.fromkeys(names, 1), bare="bare")
    shown = markdown({"at once": found, "after 20 ms": found}, about="5 rows").splitlines()
    assert shown[:3] == [
        "| 5 rows | reply at once | reply after 20 ms |",
        "|---|---|---|",
        "| sending phase, rows/s beside the bare aiohttp loop | 0.90 | 0.90 |",
    ]
    assert [line.split(" | ")[1] for line in shown[3:]] == ["0.60", "4.5", "1.00", "1.00", "98"]


def test_the_best_concurrency() -> None:
    """The highest rate; of two that are equal, the one with less in flight."""
    assert best_concurrency({64: 10.0, 16: 12.0, 8: 12.0}) == 8


@pytest.mark.parametrize(("large", "exponent"), [((100.0, 7.0), 0.0), ((100.0, 70.0), 1.0), ((1000.0, 70000.0), 2.0)])
def test_growth(large: tuple[float, float], exponent: float) -> None:
    """Flat, linear and square."""
    assert growth((10.0, 7.0), large) == pytest.approx(exponent)


def test_drawn_out() -> None:
    """A start of one second and a hundredth a row; what was measured itself stays as it is."""
    assert drawn_out((100, 300), 1000, (2.0, 4.0)) == pytest.approx(11.0)
    assert drawn_out((100, 300), 300, (2.0, 4.0)) == pytest.approx(4.0)
    assert drawn_out((100, 300), 1000, (4.0, 2.0)) == pytest.approx(2.0), "no more rows take less than none"


def test_the_table_aligns() -> None:
    """Names to the left, figures to the right, three digits."""
    shown = table(("client", "rate"), [("worker", 12345.6), ("x", 0.8512), ("y", "MISSED")])
    assert shown.splitlines() == ["client    rate", "worker  12,346", "x        0.851", "y       MISSED"]


def test_a_goal_is_held_at_its_bound() -> None:
    """As good as asked is good enough."""
    assert Bar("g", 0.85, 0.85).held
    assert not Bar("g", 0.85, 0.8499).held


@pytest.mark.parametrize("blank", ["", " "])
def test_the_quick_server_answers_for_the_ids_that_it_was_asked_for(blank: str) -> None:
    """Else the worker would read every row back; and the reply is a full one, whatever the JSON's style."""
    job = job_of(7)
    body = f'{{"acs_credential_id":{blank}"{job.acs_credential_id}",{blank}"acs_user_id":{blank}"{job.user_id}"}}'
    reply = answer(f"POST /acs/credentials/assign HTTP/1.1\r\nHost: a\r\n\r\n{body}".encode())
    head, _, content = reply.partition(b"\r\n\r\n")
    assert f"content-length: {len(content)}".encode() in head
    assert len(json.loads(content)["acs_credential"]) == 29
    reading = read_reply(Call.ASSIGN, 200, content, has_request_id=True)
    assert reading.verdict is Verdict.DONE
    assert not names_another(job, reading.credential)


def test_the_quick_server_lists_one_credential() -> None:
    """What a run asks for before its first send."""
    content = answer(b'POST /acs/credentials/list HTTP/1.1\r\n\r\n{"limit":1}').partition(b"\r\n\r\n")[2]
    reading = read_reply(Call.LIST, 200, content, has_request_id=True)
    assert [credential.workspace_id for credential in reading.credentials] == [WORKSPACE]


def test_the_jobs_file_holds_what_the_peers_send(tmp_path: Path) -> None:
    """Rows of the file are the ladder's jobs, line for line."""
    with open_input(write_jobs(tmp_path / "jobs.csv", 3), ReadOptions()) as rows:
        assert [row.parsed for row in rows] == [job_of(number) for number in (1, 2, 3)]
