"""`assign-worker simulate` in a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.simulator.calls import a_user, an_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE = 30.0


@contextmanager
def simulate(*options: str, stdin: int | None = subprocess.DEVNULL) -> Iterator[subprocess.Popen[str]]:
    """The command, running."""
    process = subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", "worker", "simulate", *options],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def told(process: subprocess.Popen[str]) -> dict[str, str]:
    """The line that says that it is ready."""
    assert process.stdout is not None
    line: dict[str, str] = json.loads(process.stdout.readline())
    return line


def assign(url: str, key: str) -> int:
    """The status of one assign."""
    body = json.dumps({"acs_credential_id": an_id(1), "acs_user_id": a_user(1)}).encode()
    request = urllib.request.Request(  # noqa: S310 - to loopback
        f"{url}/acs/credentials/assign", body, {"Authorization": f"Bearer {key}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as reply:  # noqa: S310 - to loopback
            status: int = reply.status
            return status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serves_until_a_signal(number: signal.Signals, tmp_path: Path) -> None:
    """One line on stdout, faults as ordered by file and option, a clean end without another word."""
    config = tmp_path / "s.toml"
    config.write_text('seed = 4\n[access.api_keys]\nseam_of_file = "5eed0000-0000-4000-8000-000000000009"\n')
    with simulate("--config", str(config), "--fault", "http_503=1", "--latency", "0.01") as process:
        ready = told(process)
        assert sorted(ready) == ["api_key", "url"]
        statuses = [assign(ready["url"], key) for key in (ready["api_key"], "seam_of_file", "seam_wrong")]
        assert statuses == [503, 200, 401]
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, out, err) == (0, "", "")


def test_ends_with_its_starter() -> None:
    """With the option, the end of stdin is the end."""
    with simulate("--end-with-stdin", stdin=subprocess.PIPE) as process:
        told(process)
        out, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fault", "bogus=0.1"], "faults.shares.bogus"),
        (["--fault", "never"], "KIND=SHARE"),
        (["--outage", "5"], "FROM:TO"),
        (["--errors", "2"], "0<=x<=1"),
        (["--host", "203.0.113.1"], "cannot listen on 203.0.113.1"),
    ],
)
def test_bad_use_is_exit_2(options: list[str], message: str) -> None:
    """One message, nothing on stdout."""
    with simulate(*options) as process:
        out, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, out) == (2, "")
        assert message in err


def test_options_reach_the_settings() -> None:
    """Each option stands where it belongs."""
    options = (
        "--seed=9 --latency-sigma=0.5 --rate=50 --burst=2 --retry-after=date --limit-scope=global --errors=0.4 "
        "--error-form=mixed --fault=drip=0.1 --read-fault=never=0.2 --fault-times=3 --applied-share=0.5 "
        "--unknown-credentials=0.01 --unknown-users=0.02 --foreign-credentials=0.03 --children=0.04 "
        "--warnings=0.05 --void=empty_body --outage=100:200 --outage-mode=reset --log=applied"
    )
    with simulate(*options.split()) as process:
        url = f"{told(process)['url']}/_simulator/settings"
        with urllib.request.urlopen(url, timeout=PATIENCE) as reply:  # noqa: S310 - to loopback
            settings = json.load(reply)
        process.terminate()
        process.communicate(timeout=PATIENCE)
    assert (settings["seed"], settings["limit_scope"], settings["log"]) == (9, "global", "applied")
    assert settings["latency"]["sigma"] == 0.5
    limit = settings["limit"]
    assert (limit["kind"], limit["rate"], limit["burst"], limit["retry_after"]) == ("token_bucket", 50, 2, "date")
    faults = settings["faults"]
    assert faults["shares"] == {**dict.fromkeys([f"http_50{n}" for n in (0, 2, 3, 4)], 0.1), "drip": 0.1}
    assert (faults["error_form"], faults["times"], faults["applied_share"]) == ("mixed", 3, 0.5)
    assert settings["read_faults"]["shares"] == {"never": 0.2}
    world = settings["world"]
    shares = ["unknown_credentials", "unknown_users", "foreign_credentials", "children", "warnings"]
    assert [world[name] for name in shares] == [0.01, 0.02, 0.03, 0.04, 0.05]
    assert settings["void"] == {"empty_body": 1}
    assert (settings["outage"]["windows"], settings["outage"]["mode"]) == ([[100, 200]], "reset")


def test_the_command_imports_nothing_heavy() -> None:
    """Help must be quick."""
    code = "import sys, worker.cli.simulate; print([m for m in ('aiohttp', 'pydantic', 'uvloop') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - our own
    assert done.stdout == "[]\n"
