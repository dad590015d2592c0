"""Loads the settings of a command, sets up its logs, and notes what messages may not show."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from worker.cli.failures import Invocation
from worker.cli.protect import forbid_cores

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.config import Settings
    from worker.ledger import Ledger

__all__ = ["begin", "load", "open_ledger", "start_logs"]


def load(flags: Mapping[str, object], config_file: str | None, *, keys: bool) -> Settings:
    """The settings of the command under way.

    Args:
        flags: as click gives them; None and an empty tuple mean that a flag was not given.
        config_file: `--config`.
        keys: whether keys are looked for.

    Raises:
        ConfigError: something cannot be used; all of it is named.
    """
    from worker.config import load_settings  # noqa: PLC0415 - slow to import

    invocation = click.get_current_context().ensure_object(Invocation)
    invocation.has_folder = _has_folder()
    settings = load_settings(
        {name: None if value == () else value for name, value in flags.items()},
        config_file=None if config_file is None else Path(config_file),
        environ=os.environ,
        keys=keys,
    )
    invocation.secrets = settings.secret_values()
    return settings


def _has_folder() -> bool:
    try:
        os.getcwd()  # noqa: PTH109 - asked for, not used
    except FileNotFoundError:
        return False
    return True


def begin(
    flags: Mapping[str, object], config_file: str | None, subject: str, *, keys: bool = True, own_results: bool = False
) -> Settings:
    """The settings of a command that may hold keys: no core of its process is written.

    Args:
        flags: as for `load`.
        config_file: likewise.
        subject: what it does, in messages: `the run of jobs.csv`.
        keys: whether keys are looked for.
        own_results: what it writes are not a run's results, so that only its flag tells where: where variables or the
            file name a place, that is the runs'.

    Raises:
        ConfigError: something cannot be used; all of it is named.
    """
    forbid_cores()
    click.get_current_context().ensure_object(Invocation).subject = subject
    settings = load(flags, config_file, keys=keys)
    if own_results and flags["results"] is None:
        return settings.model_copy(update={"output": settings.output.model_copy(update={"results": None})})
    return settings


def start_logs(settings: Settings, *, stream: TextIO | None = None, secrets: tuple[str, ...] = ()) -> None:
    """Set up the logs as the settings say; `stream` in place of stderr, `secrets` beside the settings' own."""
    from worker.logs import configure_logging  # noqa: PLC0415 - not needed by a command that fails before it

    said = settings.logging
    level = said.log_level
    if said.quiet and level in {"debug", "info"}:
        level = "warning"
    configure_logging(said.log_format, level, stream=stream, secrets=(*settings.secret_values(), *secrets))
    click.get_current_context().ensure_object(Invocation).shows_tracebacks = level == "debug"


def open_ledger(settings: Settings) -> Ledger:
    """Open the ledger for reading: the one that the settings name, or the one in the current folder.

    Raises:
        LedgerError: it is not there, or is no ledger.
    """
    from worker.ledger import Ledger  # noqa: PLC0415 - slow to import
    from worker.paths import Paths  # noqa: PLC0415 - likewise

    return Ledger(Paths.ledger_of(settings), exclusive=False)
