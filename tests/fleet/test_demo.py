"""The demo shows a fleet at work and leaves nothing behind, however it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil

from tests.fleet.ground import PATIENCE, wait_for


def left_behind(folder: str) -> list[str]:
    """Command lines of processes that work in this folder, or with what is in it."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        told = " ".join([*(process.info["cmdline"] or ()), *(process.info["environ"] or {}).values()])
        if folder in told:
            found.append(told)
    return found


def test_ctrl_c_ends_all_of_it() -> None:
    """Server, look-alike, workers and files are gone; exit code 130."""
    with tempfile.TemporaryDirectory(prefix="awdemo") as folder:
        said = Path(folder) / "said.txt"
        with said.open("w") as stream:
            demo = subprocess.Popen(
                [sys.executable, "-m", "worker", "fleet", "demo"],
                env={**dict(psutil.Process().environ()), "TMPDIR": folder},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
            )
        try:
            wait_for(lambda: "3 workers run" in said.read_text())
            assert len(left_behind(folder)) > 4
            demo.send_signal(signal.SIGINT)
            assert demo.wait(PATIENCE) == 130, said.read_text()
        finally:
            demo.kill()
            demo.wait()
        assert "removed again" in said.read_text()
        assert left_behind(folder) == []
        assert list(Path(folder).glob("assign-worker-demo-*")) == []
