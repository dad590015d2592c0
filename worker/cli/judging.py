"""Whether a command line that is to run later means anything: read by click as if it ran, and not run."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from worker.cli.group import COMMANDS, cli
from worker.cli.options import all_settings
from worker.config import load_settings
from worker.config.sources import suggest
from worker.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["judge_command", "judge_in"]

_ENDLESS: Final = frozenset({"schedule", "simulate"})


def judge_in(folder: Path) -> Callable[[Sequence[str]], str | None]:
    """`judge_command`, for commands that run in `folder`."""

    def judge(words: Sequence[str]) -> str | None:
        with contextlib.chdir(folder):
            return judge_command(words)

    return judge


def judge_command(words: Sequence[str]) -> str | None:
    """What is wrong with a command line, the words after `assign-worker`; None where nothing is.

    Its options are judged by click, their values and the `--config` by the settings. Whether its input is there is
    not asked: that may be written shortly before the run.
    """
    name, *rest = words
    if name not in COMMANDS:
        allowed = ", ".join(command for command in COMMANDS if command not in _ENDLESS)
        return f"{name!r} is no command{suggest(name, COMMANDS)}; allowed: {allowed}"
    if name in _ENDLESS:
        return f"{name} does not end by itself, and a run has to"
    try:
        with click.Context(cli, info_name="assign-worker") as parent, contextlib.redirect_stdout(io.StringIO()):
            command = cli.get_command(parent, name)
            assert command is not None  # noqa: S101 - the table names it
            context = command.make_context(name, rest, parent=parent)
            _judge_settings(context.params)
    except click.UsageError as error:
        return f"{name}: {error.format_message()}"
    except UsageError as error:
        return f"{name}: {error}"
    except click.exceptions.Exit:
        return f"{name}: asks for a page of help"
    return None


def _judge_settings(given: dict[str, Any]) -> None:
    """Raise what loading the settings of a command raises.

    Raises:
        ConfigError: a flag, a variable or the `--config` cannot be used.
    """
    flags = {name: value for name, value in given.items() if name in all_settings() and value != ()}
    config_file = given.get("config_file")
    load_settings(flags, config_file=None if config_file is None else Path(config_file), environ=os.environ, keys=False)
