"""Whoever types what the README says sees what the README shows."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from typing import TYPE_CHECKING

from tests.readme.page import README, TOP, blocks, commands_of
from tests.readme.session import Session, alike
from worker.cli.group import COMMANDS
from worker.config import load_settings

if TYPE_CHECKING:
    from pathlib import Path

LANGUAGES = {"sh", "console", "python", "toml", "text"}


def test_every_command_does_what_the_readme_shows(tmp_path: Path) -> None:
    """All blocks in their order, each command on what the ones before it left."""
    wrong, ran = [], 0
    with Session(tmp_path) as session:
        for block in blocks():
            if block.language in {"sh", "console"}:
                for command in commands_of(block):
                    ran += 1
                    if problem := session.follow(command):
                        wrong.append(f"README.md, block at line {block.line}: {command.text} {problem}")
            elif block.language == "python":
                ran += 1
                printed = session.run_python(block.text).splitlines()
                counts = ast.literal_eval(printed[-1])
                assert sum(counts.values()) == 1002
                assert counts["invalid"] == 6
    assert not wrong, "\n\n".join(wrong)
    assert ran > 20


def test_no_block_escapes_the_tests() -> None:
    """A language that is not known here would not be run."""
    assert {block.language for block in blocks()} == LANGUAGES
    assert README.count("\n```") == 2 * len(blocks())


def test_the_sample_begins_as_shown(tmp_path: Path) -> None:
    """The file that is printed is the file that is used."""
    with Session(tmp_path):
        written = (tmp_path / "residents.csv").read_bytes()
    (shown,) = (block.text for block in blocks() if block.language == "text")
    assert written.startswith(shown.replace("\n", "\r\n").encode())


def test_settings_shown_can_be_loaded(tmp_path: Path) -> None:
    """The file of settings in the README is one."""
    (shown,) = (block.text for block in blocks() if block.language == "toml")
    path = tmp_path / "settings.toml"
    path.write_text(shown, encoding="utf-8")
    settings = load_settings({}, config_file=path, environ={"SEAM_API_KEY_NORTH": "seam_north_key"})
    assert settings.sending.rate == 20
    assert settings.sending.outage_patience == 3600
    assert settings.target.credentials.secret_values() == ("seam_north_key",)


def test_options_exist() -> None:
    """No option is named that no command has."""
    known = {"--port"}
    for module, _ in COMMANDS.values():
        for parameter in import_module(module).command.params:
            known |= {*parameter.opts, *parameter.secondary_opts}
    for script in ("scripts/bench", "tests/soak/__main__.py"):
        known |= set(re.findall(r"--[a-z][a-z-]*", (TOP / script).read_text(encoding="utf-8")))
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*\b", README))
    assert named - known - {"--help", "--version"} == set()


def test_lines_are_compared_without_their_numbers() -> None:
    """What differs between two runs, and nothing else, is left out of the comparison."""
    assert alike(" assigned      980   97.8 %") == alike(" assigned   1 002   7 %") == "assigned 0 0 %"
    assert alike("Run 20261124-035853-ab6e of a: finished") == alike("Run 20270101-000000-1234 of a: finished")
    assert alike("exit code") != alike("exit codes")
