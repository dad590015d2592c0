"""Somebody who follows the README from top to bottom, in a folder of their own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from demo_steps.residents import write_residents

from tests.readme.page import TOP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.readme.page import Command

__all__ = ["Session", "alike"]

_PATIENCE: Final = 60.0
_RUN: Final = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}")
_NUMBER: Final = re.compile(r"\d+(?:\s\d{3})*(?:\.\d+)?")
_GIVEN: Final = {"PATH", "SEAM_API_KEY"}
"""Variables whose values are the reader's own."""


def alike(line: str) -> str:
    """A line without what differs from run to run: numbers, run ids and the widths of columns."""
    return " ".join(_NUMBER.sub("0", _RUN.sub("RUN", line)).split())


class Session:
    """A shell with the sample files, and a look-alike in place of Seam from the start."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._services: list[subprocess.Popen[str]] = []
        self._ports: dict[str, str] = {}
        write_residents(folder / "residents.csv")
        write_residents(folder / "jobs.csv", seed=8)
        shutil.copytree(TOP / "configs", folder / "configs")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SEAM_", "ASSIGN_"))}
        told = self._serve(["--port", "0"])
        self.environ = {
            **kept,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}",
            "SEAM_ENDPOINT": told["url"],
            "SEAM_API_KEY": told["api_key"],
        }

    def __enter__(self) -> Self:
        """The service is up since it was made."""
        return self

    def __exit__(self, *_: object) -> None:
        """End every service."""
        for service in self._services:
            service.terminate()
            service.wait(_PATIENCE)
            assert service.stdout is not None
            service.stdout.close()

    def follow(self, command: Command) -> str | None:
        """Do what a line says; the first thing that is not as the README has it, if any."""
        words = command.words
        if words[0].startswith("./"):
            return None if os.access(TOP / words[0], os.X_OK) else "is no command of this repository"
        if words[0] == "export":
            return self._export(words[1:])
        if words[-1] == "&":
            port = words[words.index("--port") + 1]
            told = self._serve(["0" if word == port else word for word in words[2:-1]])
            self._ports[port] = told["url"].rsplit(":", 1)[1]
            return None
        if words[0] == "curl":  # not everybody has it
            with urllib.request.urlopen(self._moved(words[-1]), timeout=_PATIENCE) as reply:  # noqa: S310 - to loopback
                return None if json.loads(reply.read()) else "was answered with nothing"
        return self._run(command)

    def run_python(self, code: str) -> str:
        """Run an example; what it prints."""
        return self._call([sys.executable, "-c", code], 0)

    def _export(self, assignments: Sequence[str]) -> str | None:
        for name, value in (assignment.split("=", 1) for assignment in assignments):
            if name == "SEAM_ENDPOINT":
                self.environ[name] = self._moved(value)
            elif name not in _GIVEN:
                return f"sets {name}, which nobody reads"
        return None

    def _moved(self, url: str) -> str:
        """The README's ports may be taken here; those of this session are free ones."""
        for port, here in self._ports.items():
            url = url.replace(f":{port}", f":{here}")
        return url

    def _serve(self, options: Sequence[str]) -> dict[str, str]:
        service = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "worker", "simulate", *options], stdout=subprocess.PIPE, text=True
        )
        self._services.append(service)
        assert service.stdout is not None
        told: dict[str, str] = json.loads(service.stdout.readline())
        return told

    def _run(self, command: Command) -> str | None:
        done = subprocess.run(  # noqa: S602 - a line of the README, for a shell
            command.text,
            shell=True,
            cwd=self._folder,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE,
        )
        if done.returncode not in ({0, 1} if command.code is None else {command.code}):
            return f"ended with exit code {done.returncode}: {done.stderr}"
        printed = iter([alike(line) for line in done.stdout.splitlines()])
        # Asking an iterator whether it holds something uses it up to there: so the order is compared, too.
        missing = next((line for line in command.shown if alike(line) not in printed), None)
        return None if missing is None else f"did not print {missing!r} where it should, but:\n{done.stdout}"

    def _call(self, arguments: Sequence[str], code: int) -> str:
        done = subprocess.run(  # noqa: S603 - this interpreter, an example of the README
            arguments,
            cwd=self._folder,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE,
        )
        assert done.returncode == code, done.stderr
        return done.stdout
