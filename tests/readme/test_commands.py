"""Whoever types what the README says sees what the README shows."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
from importlib import import_module
from typing import TYPE_CHECKING

import click
import pytest
import yaml

from tests.readme.page import README, TOP, blocks, commands_of
from tests.readme.session import Session, alike
from worker.cli.group import COMMANDS
from worker.cli.judging import judge_in
from worker.config import load_settings
from worker.schedule import load_schedule
from worker.simulator import SimulatorSettings

if TYPE_CHECKING:
    from pathlib import Path

LANGUAGES = {"sh", "console", "json", "python", "toml", "text", "yaml"}


@pytest.mark.timeout(400)  # of some forty commands, each with a limit of its own
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
            elif block.language == "python" and "airflow" not in block.text:  # not installed here; read below
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
    (shown,) = (block.text for block in blocks() if block.language == "toml" and "[profiles." not in block.text)
    path = tmp_path / "settings.toml"
    path.write_text(shown, encoding="utf-8")
    settings = load_settings({}, config_file=path, environ={"SEAM_API_KEY_NORTH": "seam_north_key"})
    assert settings.sending.rate == 20
    assert settings.sending.outage_patience == 3600
    assert settings.target.credentials.secret_values() == ("seam_north_key",)


def test_the_simulators_settings_shown_are_some() -> None:
    """Two workspaces by their keys, and a limit for one of them."""
    (shown,) = (block.text for block in blocks() if block.language == "json")
    settings = SimulatorSettings.model_validate_json(shown)
    assert settings.workspace_limits.keys() < set(settings.access.api_keys.values())


def test_the_schedule_shown_can_be_loaded(tmp_path: Path) -> None:
    """And its commands could be run."""
    (shown,) = (block.text for block in blocks() if block.language == "toml" and "[profiles." in block.text)
    (tmp_path / "schedule.toml").write_text(shown, encoding="utf-8")
    shutil.copy(TOP / "configs/nightly.toml", tmp_path)
    schedule = load_schedule(tmp_path / "schedule.toml", judge_in(tmp_path))
    assert [(profile.name, profile.missed) for profile in schedule.profiles] == [
        ("north", "run_once"),
        ("south", "skip"),
    ]


def test_other_schedulers_are_given_commands_that_exist() -> None:
    """Airflow's lines are Python, GitHub's are YAML, and each has one command line."""
    (airflow,) = (block.text for block in blocks() if block.language == "python" and "airflow" in block.text)
    calls = [node for node in ast.walk(ast.parse(airflow)) if isinstance(node, ast.keyword)]
    lines = [node.value.value for node in calls if node.arg == "bash_command" and isinstance(node.value, ast.Constant)]
    (actions,) = (yaml.safe_load(block.text) for block in blocks() if block.language == "yaml")
    lines += [step["run"] for job in actions["jobs"].values() for step in job["steps"]]
    assert len(lines) == 2
    for line in lines:
        program, *words = shlex.split(str(line))
        assert program == "assign-worker"
        assert judge_in(TOP / "configs")(words) is None


def test_options_exist() -> None:
    """No option is named that no command has."""
    known = {"--port"}
    commands = [import_module(module).command for module, _ in COMMANDS.values()]
    for command in commands:  # a group's own come after it
        if isinstance(command, click.Group):
            context = click.Context(command)
            commands += [command.get_command(context, name) for name in command.list_commands(context)]
        for parameter in command.params:
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
