"""Whether a command line that is to run later means anything: read by click as if it ran, and not run."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from worker.cli.group import cli
from worker.cli.options import all_settings
from worker.config import load_settings
from worker.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["judge_command", "judge_in"]

_ENDLESS: Final = frozenset({"schedule", "simulate", "fleet worker"})


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
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # where --help would go
            context = cli.make_context("assign-worker", list(words))
            while isinstance(context.command, click.Group) and (words_left := _words_of(context)):
                context = _enter(context.command, context, words_left)
        if context.command_path.partition(" ")[2] in _ENDLESS:
            return f"{context.info_name} does not end by itself, and a run has to"
        _judge_alone(context.params)
        _judge_settings(context.params)
    except click.UsageError as error:
        at_fault = error.ctx.command_path.partition(" ")[2] if error.ctx is not None else ""
        return f"{at_fault}: {error.format_message()}" if at_fault else error.format_message()
    except UsageError as error:
        return f"{words[0]}: {error}"
    except click.exceptions.Exit:
        return f"{words[0]}: asks for a page of help or the version"
    return None


def _words_of(context: click.Context) -> list[str]:
    """What a group has not read itself; nothing where it does without a command, as `runs` does."""
    # Private, and the only place where click keeps the words between reading and running them.
    return [*context._protected_args, *context.args]  # noqa: SLF001 - see above


def _enter(group: click.Group, context: click.Context, words: list[str]) -> click.Context:
    """The context of the command that a group's words name."""
    name, command, rest = group.resolve_command(context, words)
    assert command is not None  # noqa: S101 - resolve_command fails where there is none
    return command.make_context(name, rest, parent=context)


def _judge_alone(given: dict[str, Any]) -> None:
    """Refuse what needs somebody at a terminal.

    Raises:
        UsageError: it asks, or it reads what nobody writes.
    """
    if given.get("confirm"):
        raise UsageError("--confirm asks on a terminal, and a run that starts by itself has none; leave it out")
    if given.get("jobs") == "-":
        raise UsageError("JOBS cannot be -, since nobody writes to a run that starts by itself; name a file")


def _judge_settings(given: dict[str, Any]) -> None:
    """Raise what loading the settings of a command raises.

    Raises:
        ConfigError: a flag, a variable or the `--config` cannot be used.
    """
    flags = {name: value for name, value in given.items() if name in all_settings() and value != ()}
    config_file = given.get("config_file")
    load_settings(flags, config_file=None if config_file is None else Path(config_file), environ=os.environ, keys=False)
