"""Every option that commands share, declared once: its flag, its help, and where in the help it stands.

Values pass as text: `worker.config` reads and judges them, in the same words for flags, variables and files.
Defaults stand in the texts, since an option that was not given must stay None. A test holds this table
against `worker.config.options_of`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from worker.cli.stdout import writing
from worker.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "TELLING",
    "GroupedCommand",
    "GroupedGroup",
    "GroupedOption",
    "all_settings",
    "as_json",
    "config",
    "declare",
    "ledger_here",
    "ledger_on_server",
    "option",
    "reading_tries",
    "recover",
    "setting",
    "takes_no_key",
]

_Decorated = TypeVar("_Decorated", bound="Callable[..., Any] | click.Command")

TELLING: Final = ("notify", "notify_on", "metrics_port", "metrics_file")
"""The settings of `telling`, for every command that changes or verifies something."""
_FEW: Final = 12
_KEY_FLAGS: Final = (
    *("--api-key", "--apikey", "--api_key", "--key", "--secret"),
    *("--token", "--access-token", "--personal-access-token", "--pat", "--seam-api-key"),
)


class GroupedOption(click.Option):
    """An option that stands under a heading of its command's help."""

    def __init__(self, *args: Any, heading: str = "Options", **attributes: Any) -> None:  # noqa: ANN401 - click's
        super().__init__(*args, **attributes)
        self.heading = heading


class GroupedCommand(click.Command):
    """A command whose help shows its options by heading, in the order of declaration."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the options; `--help` writes here."""
        with writing():
            return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section a heading, or one in all where the options are few."""
        sections: dict[str, list[tuple[str, str]]] = {}
        shown = [param for param in self.get_params(ctx) if isinstance(param, click.Option) and not param.hidden]
        for param in shown:
            heading = param.heading if isinstance(param, GroupedOption) and len(shown) >= _FEW else "Options"
            record = param.get_help_record(ctx)
            if record is not None:
                sections.setdefault(heading, []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records, col_max=34)


class GroupedGroup(GroupedCommand, click.Group):
    """Such a command that has commands of its own, and does its own work where none of them is called."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands after the options."""
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


def option(heading: str, *flags: str, **attributes: Any) -> Callable[[_Decorated], _Decorated]:  # noqa: ANN401 - click's
    """`click.option`, under a heading; a flag that is not given is None."""
    attributes.setdefault("default", None)
    return click.option(*flags, cls=GroupedOption, heading=heading, **attributes)


def _flag(heading: str, *flags: str, **attributes: Any) -> Callable[[_Decorated], _Decorated]:  # noqa: ANN401 - click's
    return option(heading, *flags, is_flag=True, **attributes)


_INPUT, _OUTPUT, _SERVICE, _SENDING = "Input", "Record", "Service", "Sending"
_GUARDS, _TELLING, _SAYING = "When to stop early", "Tell somebody", "What is said"

_SETTINGS: Final[dict[str, Callable[[Any], Any]]] = {
    "format": option(
        _INPUT, "--format", metavar="csv|jsonl", help="How it is written. Default: by its name; stdin needs it."
    ),
    "encoding": option(_INPUT, "--encoding", metavar="NAME", help="Of its text. Default: utf-8."),
    "map": option(
        _INPUT,
        "--map",
        metavar="FIELD=COLUMN",
        multiple=True,
        help="Read FIELD from another column. Repeatable.",
    ),
    "ledger": option(_OUTPUT, "--ledger", metavar="URL", help="Path or URL. Default: assign-ledger.db beside JOBS."),
    "results": option(_OUTPUT, "--results", metavar="FILE", help="Default: NAME.results.csv or .jsonl beside JOBS."),
    "name": option(_OUTPUT, "--name", metavar="NAME", help="What history compares by. Default: the file's name."),
    "include_codes": _flag(_OUTPUT, "--include-codes", help="Show PINs and card numbers. Default: masked."),
    "raw_cells": _flag(_OUTPUT, "--raw-cells", help="Write cells as they are that a spreadsheet would run."),
    "endpoint": option(_SERVICE, "--endpoint", metavar="URL", help="Default: https://connect.getseam.com."),
    "proxy": option(_SERVICE, "--proxy", metavar="URL", help="Default: none; proxy variables are not read."),
    "ca_file": option(_SERVICE, "--ca-file", metavar="FILE", help="PEM certificates to trust. Default: the system's."),
    "concurrency": option(_SENDING, "--concurrency", metavar="N", help="Most requests in flight. Default: 256."),
    "rate": option(_SENDING, "--rate", metavar="R", help="Most requests a second. Default: no bound."),
    "timeout": option(_SENDING, "--timeout", metavar="SECONDS", help="For a whole attempt. Default: 30."),
    "max_attempts": option(_SENDING, "--max-attempts", metavar="N", help="Assign calls for a row. Default: 5."),
    "outage_patience": option(
        _SENDING,
        "--outage-patience",
        metavar="SPAN",
        help="Wait so long while the service is down. Default: 30m.",
    ),
    "details": _flag(_SENDING, "--details/--no-details", help="Read what an empty reply left out. Default: yes."),
    "sync": _flag(_SENDING, "--sync", help="Read the present owners first; send only what differs."),
    "takeover": option(
        _SENDING,
        "--takeover",
        metavar="allow|refuse",
        help="Replace another owner? Default: allow; with --sync, refuse.",
    ),
    "max_failures": option(
        _GUARDS, "--max-failures", metavar="N|P%", help="More failed rows than this. Default: no bound."
    ),
    "max_takeovers": option(
        _GUARDS, "--max-takeovers", metavar="N|P%", help="With --sync: more owners to replace than this."
    ),
    "canary": option(_GUARDS, "--canary", metavar="N", help="Unless the first N rows, which go alone, are well."),
    "fail_on_warning": option(
        _GUARDS, "--fail-on-warning", metavar="CODE", multiple=True, help="At this warning of Seam's. Repeatable."
    ),
    "allow_shrink": _flag(_GUARDS, "--allow-shrink", help="Send a file with less than half of the last one's rows."),
    "deadline": option(
        _GUARDS, "--deadline", metavar="HH:MM|SPAN", help="At this time (06:00), or after so long (2h30m)."
    ),
    "notify": option(
        _TELLING, "--notify", metavar="URL", multiple=True, help="At the end, by Apprise; a secret. Repeatable."
    ),
    "notify_on": option(_TELLING, "--notify-on", metavar="always|failure", help="Default: always."),
    "metrics_port": option(
        _TELLING, "--metrics-port", metavar="[HOST:]PORT", help="For Prometheus. Host by default: 127.0.0.1."
    ),
    "metrics_file": option(_TELLING, "--metrics-file", metavar="FILE", help="For a textfile collector: *.prom."),
    "log_format": option(_SAYING, "--log-format", metavar="console|json", help="Of the log. Default: console."),
    "log_level": option(
        _SAYING, "--log-level", metavar="LEVEL", help="debug, info, warning or error. Default: warning."
    ),
    "quiet": _flag(_SAYING, "--quiet", help="Nothing but warnings and the result."),
    "progress": _flag(_SAYING, "--progress/--no-progress", help="A bar, on a terminal. Default: yes."),
}


def declare(*decorators: Callable[[Any], Any]) -> Callable[[_Decorated], _Decorated]:
    """Make one decorator of several, in the order in which the help shows them."""

    def decorate(function: _Decorated) -> _Decorated:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def setting(*names: str) -> Callable[[_Decorated], _Decorated]:
    """The options of these settings; each is None where it was not given, a repeatable one an empty tuple."""
    return declare(*(_SETTINGS[name] for name in names))


def all_settings() -> Sequence[str]:
    """The names of all settings that have an option."""
    return tuple(_SETTINGS)


config = option(
    "Options",
    "--config",
    "config_file",
    metavar="FILE",
    help="Settings as TOML; flags and variables go before it.",
)

reading_tries = option(_SENDING, "--max-attempts", metavar="N", help="Tries to read a row. Default: 5.")
ledger_on_server = option(_OUTPUT, "--ledger", metavar="URL", help="postgresql://USER@HOST/DATABASE.")
ledger_here = option("Options", "--ledger", metavar="URL", help="Default: assign-ledger.db in this folder.")

recover = _flag("Options", "--recover", default=False, help="The ledger is from a backup: read owners before sending.")

as_json = _flag("Options", "--json", "as_json", default=False, help="One JSON document on stdout.")


def _refuse_key(_ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is not None:
        raise UsageError(
            "a key on the command line can be read by every user of this machine and stays in the shell's "
            "history; put it into SEAM_API_KEY, or alone into a file that key_file under [credentials] of the "
            "--config file names. If the key was a real one, replace it."
        )


def takes_no_key(function: _Decorated) -> _Decorated:
    """Answer the flags by which people give keys elsewhere, without repeating the value."""
    return click.option(
        *_KEY_FLAGS,
        is_flag=False,
        flag_value="",
        default=None,
        hidden=True,
        expose_value=False,
        is_eager=True,
        callback=_refuse_key,
    )(function)
