"""Every exception that leaves a room of this package.

A row that fails is data (`worker.models.Result`), never an exception. What is raised is what ends a run:

    AssignWorkerError                exit 70
    ├── UsageError                   exit 2   a command that cannot mean anything
    │   ├── ConfigError              exit 2   a setting, with its key and what is allowed
    │   ├── InputError               exit 2   a file that cannot be read as jobs at all
    │   └── RunNotFoundError         exit 2   no such run, or none that the command may act on
    ├── LedgerError                  exit 2   a ledger that cannot be used: corrupt, foreign, newer, misplaced
    │   ├── LedgerWriteError         exit 3   a write or sync failed: the run stops and can be resumed
    │   └── LedgerHeldError          exit 4   another process holds the ledger, the run or the workspace
    │       └── FenceLostError       exit 4   this process held a shard and lost it: it may write nothing more
    ├── ResultsWriteError            exit 3   the results file could not be written; the ledger holds every row
    └── StoppedError                 exit 3   the run ended before its first row was sent
        ├── InterruptedEarlyError    exit 130 by SIGINT
        └── TerminatedEarlyError     exit 143 by SIGTERM

`RowStopped` is no error and leaves no room above the pipeline: it unwinds one row that stays open.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "AssignWorkerError",
    "ConfigError",
    "FenceLostError",
    "InputError",
    "InterruptedEarlyError",
    "LedgerError",
    "LedgerHeldError",
    "LedgerWriteError",
    "ResultsWriteError",
    "RowStopped",
    "RunNotFoundError",
    "StoppedError",
    "TerminatedEarlyError",
    "UsageError",
    "innermost",
]


class AssignWorkerError(Exception):
    """The root. The message is one or two sentences for an operator: what is wrong, and what to do."""

    exit_code: ClassVar[int] = 70


class UsageError(AssignWorkerError):
    """The command line asks for something that cannot be done; nothing was sent."""

    exit_code: ClassVar[int] = 2


class ConfigError(UsageError):
    """A setting is missing, unknown or out of range; the message names its key and what is allowed."""


class InputError(UsageError):
    """The input as a whole cannot be read as jobs; a single bad row is a `RejectedRow` instead."""


class RunNotFoundError(UsageError):
    """The ledger holds no run of that name, or none that the command may act on."""


class LedgerError(AssignWorkerError):
    """The ledger cannot be used as it is; it was left untouched."""

    exit_code: ClassVar[int] = 2


class LedgerWriteError(LedgerError):
    """A write to the ledger failed for good (full disk, failed sync); what it held before is intact."""

    exit_code: ClassVar[int] = 3


class LedgerHeldError(LedgerError):
    """Another process works on this ledger, run or workspace; the message names it."""

    exit_code: ClassVar[int] = 4


class FenceLostError(LedgerHeldError):
    """Another process has taken over a shard of ours: our epoch is old and nothing more was written."""


class ResultsWriteError(AssignWorkerError):
    """The results file could not be written (full disk, failed sync); the ledger holds every row."""

    exit_code: ClassVar[int] = 3


class StoppedError(AssignWorkerError):
    """The run ended before its first row was sent; the same command starts it anew or resumes it."""

    exit_code: ClassVar[int] = 3


class InterruptedEarlyError(StoppedError):
    """SIGINT while the input was being read."""

    exit_code: ClassVar[int] = 130


class TerminatedEarlyError(StoppedError):
    """SIGTERM while the input was being read."""

    exit_code: ClassVar[int] = 143


class RowStopped(Exception):  # noqa: N818 - no error: the run drains or a workspace stopped, and the row stays open
    """The row goes no further in this execution."""


def innermost(error: BaseException) -> BaseException:
    """The error inside the groups that tasks wrap around it; one of ours before others."""
    while isinstance(error, BaseExceptionGroup):
        ours = [item for item in error.exceptions if isinstance(item, AssignWorkerError)]
        error = (ours or error.exceptions)[0]
    return error
