"""How a command ends when it does not end well: one message on stderr, one exit code."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from signal import SIGINT, SIGPIPE
from typing import TYPE_CHECKING, Final

import click

from worker.cli.stdout import silence_stdout
from worker.errors import AssignWorkerError, UsageError, innermost

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Invocation", "ends_quietly", "exit_of"]

INTERNAL_ERROR: Final = 70


@dataclass
class Invocation:
    """What is known of the command under way, for the message that may end it."""

    subject: str = "this command"
    secrets: tuple[str, ...] = ()
    """Values that no message may show."""
    shows_tracebacks: bool = False
    has_folder: bool = True
    """Whether the current folder was there when the command began."""


@contextlib.contextmanager
def ends_quietly(invocation: Invocation) -> Iterator[None]:
    """Turn whatever leaves the block into a message and an exit code (DESIGN 3)."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:  # its message is the page of help
        raise
    except click.UsageError as error:
        from worker.logs import mask_secrets  # noqa: PLC0415 - not needed where all is well

        # The message may repeat an argument, and a key may be among them.
        message = mask_secrets(error.format_message(), invocation.secrets)
        raise click.UsageError(message, error.ctx) from None
    except (click.ClickException, click.exceptions.Exit):
        raise
    except (KeyboardInterrupt, click.Abort):
        raise click.exceptions.Exit(128 + SIGINT) from None
    except BrokenPipeError:
        silence_stdout()
        raise click.exceptions.Exit(128 + SIGPIPE) from None
    except Exception as raised:  # noqa: BLE001 - the last place where anything can be said about it
        raise click.exceptions.Exit(_report(raised, invocation)) from None


def _report(raised: Exception, invocation: Invocation) -> int:
    error = innermost(raised)
    if isinstance(error, AssignWorkerError):
        _say(str(error), invocation)
        return error.exit_code
    if isinstance(error, FileNotFoundError) and error.filename is None and not invocation.has_folder:
        _say("the current folder is not there any more, and a path begins in it; change to another folder", invocation)
        return UsageError.exit_code
    _say(_describe(error, invocation), invocation)
    if invocation.shows_tracebacks:
        from worker.logs import get_logger  # noqa: PLC0415 - not needed where all is well

        get_logger().error("internal error", exc_info=raised)
    return INTERNAL_ERROR


def exit_of(raised: BaseException) -> tuple[int, str]:
    """The exit code that an error ends a command with, and the reason in words that may leave this machine."""
    error = innermost(raised)
    if isinstance(error, AssignWorkerError):
        return error.exit_code, str(error)
    if isinstance(error, KeyboardInterrupt):
        return 128 + SIGINT, "It was interrupted. What was recorded is safe"
    kind = type(error).__name__
    return INTERNAL_ERROR, f"There was an internal error ({kind}). What was recorded is safe; stderr says more"


def _describe(error: BaseException, invocation: Invocation) -> str:
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    kind = type(error).__name__
    reason = f"{kind}: {error}" if str(error) else kind
    advice = "" if invocation.shows_tracebacks else "; run it again with --log-level debug for the traceback"
    return f"internal error in {invocation.subject}: {reason}{notes}. What was recorded is safe{advice}"


def _say(message: str, invocation: Invocation) -> None:
    from worker.logs import escape_controls, mask_secrets  # noqa: PLC0415 - not needed where all is well

    lines = mask_secrets(message, invocation.secrets).split("\n")
    with contextlib.suppress(OSError):
        click.echo("assign-worker: error: " + "\n".join(map(escape_controls, lines)), err=True)
