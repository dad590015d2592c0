"""What the command line says of itself, and what it imports to say it."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from worker.cli.group import COMMANDS, cli
from worker.cli.options import all_settings
from worker.config import Settings, options_of
from worker.simulator import SimulatorSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAVY = ("sqlalchemy", "aiohttp", "pydantic", "rich", "structlog", "asyncio")

runner = CliRunner()


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["run", "--help"], ["runs", "--help"]])
def test_short_answers_import_nothing_heavy(arguments: list[str]) -> None:
    """Help and version come without the libraries that a run needs."""
    script = (
        "import sys\n"
        "from worker.__main__ import main\n"
        f"sys.argv[1:] = {arguments!r}\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        f"    print('imported:', *[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(  # noqa: S603 - this interpreter, our own script
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert done.stdout
    assert done.stderr == "imported:\n"


def test_version_is_the_distribution_s() -> None:
    """`--version` names the command and the installed version."""
    result = runner.invoke(cli, ["--version"], prog_name="assign-worker")
    assert result.output == f"assign-worker {version('assign-worker')}\n"


def test_module_and_script_are_the_same() -> None:
    """`python -m worker` answers under the command's own name."""
    done = subprocess.run([sys.executable, "-m", "worker", "--help"], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("Usage: assign-worker ")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_is_there(name: str) -> None:
    """Each module of the table holds a command of that name, with help of its own."""
    command = import_module(COMMANDS[name][0]).command
    assert isinstance(command, click.Command)
    assert command.name == name
    assert command.help


def test_help_lists_the_commands_in_their_order() -> None:
    """The group's help is the table."""
    output = runner.invoke(cli, ["--help"]).output
    listed = re.findall(r"^  ([a-z]+)  ", output.partition("Commands:")[2], re.MULTILINE)
    assert listed == list(COMMANDS)


def test_every_setting_has_its_option() -> None:
    """No setting lacks a flag, and each flag is spelt as messages about the setting spell it."""
    table = options_of(Settings)
    assert set(all_settings()) == set(table)
    command = import_module("worker.cli.run").command
    flags = {param.name: param.opts for param in command.params}
    for name, option in table.items():
        assert option.flag in flags[name]


def test_stated_defaults_are_the_settings_own() -> None:
    """The help tells the defaults that the settings have."""
    command = import_module("worker.cli.run").command
    helps = {param.name: param.help or "" for param in command.params if isinstance(param, click.Option)}
    settings = Settings()
    assert f"Default: {settings.sending.concurrency}." in helps["concurrency"]
    assert f"Default: {settings.sending.timeout:g}." in helps["timeout"]
    assert f"Default: {settings.sending.max_attempts}." in helps["max_attempts"]
    assert f"Default: {settings.sending.outage_patience / 60:g}m." in helps["outage_patience"]
    assert f"Default: {settings.target.endpoint}." in helps["endpoint"]
    assert f"Default: {settings.logging.log_level}." in helps["log_level"]
    assert f"Default: {settings.logging.log_format}." in helps["log_format"]


def test_stated_defaults_of_the_look_alike_are_its_own() -> None:
    """Each option that stands for one of its settings tells what that is without it."""
    simulate = import_module("worker.cli.simulate")
    helps = {param.name: param.help or "" for param in simulate.command.params if isinstance(param, click.Option)}
    for name, place in simulate._PLACES.items():
        value: object = SimulatorSettings()
        for part in place:
            value = getattr(value, part)
        told = re.search(r"Default: (.+?)[.,;]( |$)|Default: (.+)\.", helps[name])
        assert told, name
        if value is not None:
            assert (told[1] or told[3]) == (f"{value:g}" if isinstance(value, float) else str(value)), name


def _all_commands(command: click.Command, *names: str) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            found = command.get_command(click.Context(command), name)
            assert found is not None
            yield from _all_commands(found, *names, name)
    if not isinstance(command, click.Group) or command.invoke_without_command:
        yield " ".join(names), command


def test_every_command_tells_its_exit_codes() -> None:
    """Scripts rely on them."""
    commands = dict(_all_commands(cli))
    assert {"run", "runs", "runs prune", "fleet worker"} <= commands.keys()
    assert [name for name, command in commands.items() if "Exit codes: " not in (command.epilog or "")] == []


def test_help_of_run_fits_a_page() -> None:
    """All options of `run` on some 75 lines of 80 columns."""
    output = runner.invoke(cli, ["run", "--help"], terminal_width=80).output
    assert len(output.splitlines()) <= 80
    assert max(map(len, output.splitlines())) <= 80


def test_a_misspelt_command_is_answered_with_the_nearest() -> None:
    """The message names the command that was meant."""
    result = runner.invoke(cli, ["chek"])
    assert result.exit_code == 2
    assert "Did you mean 'check'?" in result.stderr
