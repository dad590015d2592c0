"""The group of commands, which imports a command only when it is called."""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Final

import click

from worker.cli.failures import Invocation, ends_quietly
from worker.cli.stdout import writing

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["COMMANDS", "LazyGroup", "cli"]

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "run": ("worker.cli.run", "Send the assignments of a file; the same command again resumes."),
    "check": ("worker.cli.check", "Find bad rows, duplicates and conflicts, offline."),
    "plan": ("worker.cli.plan", "Say what a sync would do with each row; nothing is sent."),
    "retry": ("worker.cli.retry", "Send again what did not succeed in a finished run."),
    "verify": ("worker.cli.verify", "Read back what a run assigned: owner, sync, issue, warnings."),
    "undo": ("worker.cli.undo", "Give back what a run assigned to whom it belonged before."),
    "results": ("worker.cli.results", "Export the results of a run, in input order."),
    "show": ("worker.cli.show", "Show the summary of a run."),
    "runs": ("worker.cli.runs", "List the runs of a ledger; prune old ones."),
    "schedule": ("worker.cli.schedule", "Run profiles every night, by cron expression."),
    "fleet": ("worker.cli.fleet", "Send one file from many machines, over a PostgreSQL ledger."),
    "simulate": ("worker.cli.simulate", "Serve a local look-alike of Seam to rehearse against."),
}
"""By name, in the order of the help: the module, and what the command does."""


class LazyGroup(click.Group):
    """A group whose help is written from a table, and whose every failure ends in one message."""

    table: ClassVar[Mapping[str, tuple[str, str]]] = COMMANDS

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names, in the order of the table."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - likewise
        """Import one command."""
        if cmd_name not in self.table:
            return None
        command: click.Command = import_module(self.table[cmd_name][0]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; a misspelt one is answered with the nearest."""
        name = args[0]
        if name not in self.table and not name.startswith("-"):
            near = difflib.get_close_matches(name, self.table, n=1)
            ctx.fail(f"No such command {name!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - likewise
        """Write the table, without importing any command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, does) for name, (_, does) in self.table.items()])

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,  # noqa: ANN401 - likewise
    ) -> click.Context:
        """Read the options; `--help` and `--version` write here."""
        with ends_quietly(Invocation()), writing():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's signature
        """Call the command; what it raises becomes one message on stderr and an exit code."""
        with ends_quietly(ctx.ensure_object(Invocation)):
            return super().invoke(ctx)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="`assign-worker COMMAND --help` tells the options of a command. "
    "To begin: check a file, rehearse it with `run --simulate`, then run it with SEAM_API_KEY set.",
)
@click.version_option(package_name="assign-worker", message="%(prog)s %(version)s")
def cli() -> None:
    """Assign thousands of Seam ACS credentials from a file.

    Bounded, retried, resumable, and recorded row by row.
    """
