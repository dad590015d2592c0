"""Metrics of real runs: scraped while they work, and left in a file."""

from __future__ import annotations

import errno
import os
import signal
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from tests.cli.service import Started, call, make_jobs, wait_for, write_jobs
from worker.cli.exposing import kept_in_file
from worker.logs import configure_logging

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.service import Service


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


def read(text: str) -> dict[str, float]:
    """What matters here: metric, then the values of its labels but for the name and buckets, in their order."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = [value for label, value in sorted(sample.labels.items()) if label not in {"name", "le"}]
            found[" ".join([sample.name.removeprefix("assign_worker_"), *labels])] = sample.value
    return found


def scrape(port: int) -> dict[str, float]:
    """What the port tells; nothing where nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
            assert reply.headers["Content-Type"].startswith("text/plain")
            return read(reply.read().decode())
    except urllib.error.URLError:
        return {}


def test_a_run_is_scraped_while_it_works(service: Service, tmp_path: Path) -> None:
    """A limit, its 429s, the pace that was found, latencies, commits, rows, requests in flight."""
    service.configure(limit={"kind": "token_bucket", "rate": 60, "burst": 5}, latency={"median": 0.05})
    port = free_port()
    before = service.assigns()
    command = ["run", write_jobs(tmp_path / "jobs.csv", make_jobs(2_000)), "--metrics-port", port, "--json"]
    with Started(command, service.environ(), tmp_path) as started:
        seen: dict[str, float] = {}

        def everything_moves() -> bool:
            seen.clear()
            seen.update(scrape(port))
            return (
                seen.get("rows assigned default", 0) > 50
                and seen.get("attempts_total acs/credentials/assign limited", 0) > 0
                and "limit_requests_per_second" in seen
                and seen["requests_in_flight"] > 0
            )

        wait_for(everything_moves)
        answered = service.assigns() - before
        ended = started.end(signal.SIGTERM)
    assert seen["run_state sending"] == 1
    assert "exit_code" not in seen
    done = seen["attempts_total acs/credentials/assign done"]
    assert seen["rows assigned default"] <= done <= answered
    assert seen["attempt_duration_seconds_count acs/credentials/assign"] >= done
    assert seen["ledger_commit_duration_seconds_count"] > 0
    assert 5 < seen["limit_requests_per_second"] < 600
    assert ended.code == 143
    assert ended.err.count("\n") == 1, "the farewell, and nothing of the scraping"
    assert scrape(port) == {}


def test_a_file_is_left(service: Service, tmp_path: Path) -> None:
    """The last figures of a short job, for a collector of another user to read, and no other file."""
    jobs = make_jobs(30)
    jobs[0]["acs_user_id"] = "nobody"
    (tmp_path / "textfiles").mkdir()
    file = tmp_path / "textfiles" / "night.prom"
    command = ["run", write_jobs(tmp_path / "jobs.csv", jobs), "--metrics-file", file]
    ended = call(command, service.environ())
    assert (ended.code, ended.err) == (1, "")
    told = read(file.read_text())
    assert (told["rows assigned default"], told["rows invalid default"], told["exit_code"]) == (29, 1, 1)
    assert told["attempts_total acs/credentials/assign done"] == 29
    assert (told["run_state finished"], told["run_state sending"]) == (1, 0)
    assert told["ledger_commit_duration_seconds_count"] > 0
    assert "last_success_timestamp_seconds" not in told
    assert file.stat().st_mode & 0o777 == 0o666 & ~umask()
    assert list(file.parent.iterdir()) == [file]


def umask() -> int:
    """Of this process."""
    present = os.umask(0)
    os.umask(present)
    return present


def test_the_last_success_outlives_a_bad_night(service: Service, tmp_path: Path) -> None:
    """A run that fails leaves the time of the one that did not, so that an alert can tell how long ago it was."""
    command = ["run", write_jobs(tmp_path / "jobs.csv", make_jobs(3)), "--metrics-file", "night.prom"]
    assert call(command, service.environ()).code == 0
    first = read(Path("night.prom").read_text())["last_success_timestamp_seconds"]
    assert abs(first - time.time()) < 60
    again = [*command, "--again"]
    assert call(again, service.environ(SEAM_API_KEY="seam_wrong_key_0123456789")).code == 3
    told = read(Path("night.prom").read_text())
    assert (told["exit_code"], told["run_state stopped"]) == (3, 1)
    assert told["last_success_timestamp_seconds"] == first


WORKSPACES = tuple(f"0000000{number}-0000-4000-8000-000000000000" for number in (1, 2))


def in_two_workspaces(service: Service, tmp_path: Path, count: int) -> tuple[list[object], dict[str, str]]:
    """A run over two workspaces by turns, its last row invalid: the command, and the environment."""
    for workspace in WORKSPACES:
        service.configure(access={"api_keys": {f"seam_key_of_{workspace[:8]}": workspace}})
    jobs = [{**job, "workspace_id": WORKSPACES[number % 2]} for number, job in enumerate(make_jobs(count))]
    jobs[-1]["acs_user_id"] = "nobody"
    tables = (f'[workspaces."{workspace}"]\napi_key_env = "KEY_{workspace[:8]}"\n' for workspace in WORKSPACES)
    (tmp_path / "c.toml").write_text("".join(tables))
    keys = {f"KEY_{workspace[:8]}": f"seam_key_of_{workspace[:8]}" for workspace in WORKSPACES}
    command: list[object] = ["run", write_jobs(tmp_path / "jobs.csv", jobs), "--config", "c.toml"]
    return command, {**service.environ(**keys), "SEAM_API_KEY": ""}


def test_rows_of_several_workspaces(service: Service, tmp_path: Path) -> None:
    """Each with its own at the end, and those that were rejected when read."""
    command, environ = in_two_workspaces(service, tmp_path, 7)
    ended = call([*command, "--metrics-file", "m.prom"], environ)
    assert ended.code == 1, ended.err
    told = read(Path("m.prom").read_text())
    assert [told[f"rows assigned {workspace}"] for workspace in WORKSPACES] == [3, 3]
    assert told["rows invalid none"] == 1


def test_workspaces_are_told_apart_while_it_works(service: Service, tmp_path: Path) -> None:
    """The rows of each, those of an earlier execution included."""
    service.configure(latency={"median": 0.05})
    command, environ = in_two_workspaces(service, tmp_path, 801)
    port = free_port()
    command += ["--metrics-port", port, "--concurrency", "8", "--json"]

    def until_each_has(rows: float) -> dict[str, float]:
        seen: dict[str, float] = {}

        def reached() -> bool:
            seen.clear()
            seen.update(scrape(port))
            return all(seen.get(f"rows assigned {workspace}", 0) >= rows for workspace in WORKSPACES)

        wait_for(reached)
        assert seen["run_state sending"] == 1
        assert seen["rows invalid none"] == 1
        assert "rows assigned default" not in seen
        return seen

    with Started(command, environ, tmp_path) as started:
        until_each_has(20)
        document = started.end(signal.SIGTERM).document()
    before = {place["workspace_id"]: place["outcomes"]["assigned"] for place in document["workspaces"]}
    with Started(command, environ, tmp_path) as started:
        seen = until_each_has(1)
        assert all(seen[f"rows assigned {workspace}"] >= before[workspace] for workspace in WORKSPACES)
        assert started.end(signal.SIGTERM).code == 143


def test_an_error_is_told_too(service: Service) -> None:
    """A run that never began: its state and its exit code."""
    assert call(["run", "absent.csv", "--metrics-file", "m.prom"], service.environ()).code == 2
    told = read(Path("m.prom").read_text())
    assert (told["exit_code"], told["run_state failed"]) == (2, 1)


def test_a_busy_port_is_exit_2(service: Service, tmp_path: Path) -> None:
    """One sentence, and nothing was sent or made."""
    before = service.assigns()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = ["run", write_jobs(tmp_path / "jobs.csv", make_jobs(2)), "--metrics-port", port]
        ended = call(command, service.environ())
    assert ended.code == 2
    assert ended.err == (
        f"assign-worker: error: --metrics-port 127.0.0.1:{port}: cannot listen there: Address already in use\n"
    )
    assert service.assigns() == before
    assert [path.name for path in tmp_path.iterdir()] == ["jobs.csv"]


@pytest.mark.parametrize("given", ["nowhere.invalid:9109", "192.0.2.1:9109"])
def test_a_host_that_is_not_ours_is_exit_2(given: str, service: Service, tmp_path: Path) -> None:
    """A name that leads nowhere, an address of another machine."""
    command = ["run", write_jobs(tmp_path / "jobs.csv", make_jobs(1)), "--metrics-port", given]
    ended = call(command, service.environ())
    assert ended.code == 2
    assert f"--metrics-port {given}: cannot listen there" in ended.err


def test_a_file_that_cannot_be_written_is_exit_2(service: Service, tmp_path: Path) -> None:
    """Before anything is sent."""
    command = ["run", write_jobs(tmp_path / "jobs.csv", make_jobs(1)), "--metrics-file", "absent/m.prom"]
    ended = call(command, service.environ())
    assert ended.code == 2
    assert "--metrics-file absent/m.prom: cannot be written: No such file or directory" in ended.err


class Ticking(CollectorRegistry):
    """A registry that counts how often it is asked."""

    asked = 0

    def collect(self) -> object:  # type: ignore[override]  # nothing is exposed
        """Nothing."""
        self.asked += 1
        return []


def waiting_for(reached: Callable[[], bool]) -> None:
    """Until the writer's thread has got so far."""
    until = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_the_file_is_kept_fresh(tmp_path: Path) -> None:
    """Written at the beginning, then again and again, and at the end."""
    registry = Ticking()
    with kept_in_file(registry, tmp_path / "m.prom", interval=0.01):
        assert registry.asked >= 1
        waiting_for(lambda: registry.asked >= 4)
    asked = registry.asked
    with kept_in_file(registry, tmp_path / "m.prom", interval=3600):
        pass
    assert registry.asked == asked + 2


def test_a_file_that_fails_later_is_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """However often it is tried; the run goes on."""
    tried: list[str] = []

    def write(path: str, _: CollectorRegistry) -> None:
        tried.append(path)
        if len(tried) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("worker.cli.exposing.write_to_textfile", write)
    configure_logging("json", "warning")
    with kept_in_file(CollectorRegistry(), tmp_path / "m.prom", interval=0.001):
        waiting_for(lambda: len(tried) >= 5)
    (line,) = capsys.readouterr().err.splitlines()
    assert "m.prom cannot be written: No space left on device" in line
