"""How commands end that do not end well: one message, one exit code, no secret."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner, Result

from worker.cli.failures import Invocation, ends_quietly, exit_of
from worker.cli.group import LazyGroup, cli
from worker.cli.stdout import print_json
from worker.errors import AssignWorkerError, ConfigError, LedgerHeldError, LedgerWriteError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY = "seam_canary_0123456789"


def end_with(error: BaseException, invocation: Invocation | None = None) -> Result:
    """A command that raises."""

    @click.command()
    def command() -> None:
        with ends_quietly(invocation or Invocation()):
            raise error

    return CliRunner().invoke(command)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("no"), 2),
        (ConfigError("no"), 2),
        (LedgerWriteError("no"), 3),
        (LedgerHeldError("no"), 4),
        (AssignWorkerError("no"), 70),
    ],
)
def test_our_errors_are_a_message_and_their_exit_code(error: AssignWorkerError, code: int) -> None:
    """No traceback, no prefix but the command's name."""
    result = end_with(error)
    assert result.exit_code == code
    assert result.stderr == "assign-worker: error: no\n"
    assert not result.stdout


def test_an_error_in_a_group_of_tasks_is_told_as_itself() -> None:
    """An exception group is opened, and an error of ours goes before the others in it."""
    group = ExceptionGroup("tasks", [ValueError("second"), ExceptionGroup("inner", [UsageError("the reason")])])
    assert end_with(ExceptionGroup("outer", [group.exceptions[1]])).stderr == "assign-worker: error: the reason\n"
    mixed = ExceptionGroup("tasks", [ValueError("second"), UsageError("the reason")])
    assert end_with(mixed).exit_code == 2


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (LedgerHeldError("process 7 holds it"), 4, "process 7 holds it"),
        (ExceptionGroup("tasks", [ValueError("second"), UsageError("the reason")]), 2, "the reason"),
        (KeyboardInterrupt(), 130, "It was interrupted"),
        (KeyError("colour"), 70, "There was an internal error (KeyError)"),
    ],
)
def test_what_others_are_told_of_an_error(error: BaseException, code: int, words: str) -> None:
    """The exit code and our own sentences; of a foreign error its kind alone."""
    told = exit_of(error)
    assert told[0] == code
    assert told[1].startswith(words)
    assert "colour" not in told[1]


def test_an_unexpected_error_names_its_subject_and_the_way_on() -> None:
    """Exit 70; which run, what happened, and where the traceback is to be had."""
    error = KeyError("colour")
    error.add_note("run 20261124-015312-4f2a")
    result = end_with(error, Invocation(subject="the run of jobs.csv"))
    assert result.exit_code == 70
    assert result.stderr == (
        "assign-worker: error: internal error in the run of jobs.csv: KeyError: 'colour' (run "
        "20261124-015312-4f2a). What was recorded is safe; run it again with --log-level debug for the "
        "traceback\n"
    )


def test_no_message_shows_a_secret() -> None:
    """Known secrets and whatever looks like a key are masked, in messages of all kinds."""
    invocation = Invocation(secrets=("hunter2-password",))
    for error in (ValueError(f"{KEY} hunter2-password"), UsageError(f"{KEY} hunter2-password")):
        output = end_with(error, invocation).output
        assert KEY not in output
        assert "hunter2" not in output
        assert "***" in output


def test_no_message_drives_the_terminal() -> None:
    """Control characters in a message are escaped; its own line breaks stay."""
    stderr = end_with(UsageError("two\nlines \x1b[31m")).stderr
    assert stderr == "assign-worker: error: two\nlines \\x1b[31m\n"


def test_an_interrupt_is_130() -> None:
    """Ctrl-C in a command that does not drain."""
    result = end_with(KeyboardInterrupt())
    assert result.exit_code == 130
    assert not result.output


def test_the_group_catches_what_its_commands_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command is inside."""

    @click.command("run")
    def broken() -> None:
        raise LedgerHeldError("another run works on this ledger")

    monkeypatch.setattr(LazyGroup, "get_command", lambda *_: broken)
    result = CliRunner().invoke(cli, ["run"])
    assert (result.exit_code, result.stderr) == (4, "assign-worker: error: another run works on this ledger\n")


@pytest.mark.parametrize("flag", ["--api-key", "--apikey", "--key", "--token", "--personal-access-token"])
@pytest.mark.parametrize("spell", [lambda flag: [flag, KEY], lambda flag: [f"{flag}={KEY}"], lambda flag: [flag]])
@pytest.mark.parametrize("command", ["run", "runs"])
def test_a_key_on_the_command_line_is_refused(flag: str, spell: Callable[[str], list[str]], command: str) -> None:
    """The message says where a key belongs and does not repeat it."""
    result = CliRunner().invoke(cli, [command, *spell(flag), *(["jobs.csv"] if command == "run" else [])])
    assert result.exit_code == 2
    assert "SEAM_API_KEY" in result.stderr
    assert KEY not in result.output


def test_a_key_in_a_wrong_place_is_not_repeated() -> None:
    """Click's own usage errors repeat arguments; keys among them are masked."""
    result = CliRunner().invoke(cli, ["run", "jobs.csv", KEY])
    assert result.exit_code == 2
    assert KEY not in result.output
    assert "unexpected extra argument (***)" in result.stderr
    assert KEY not in CliRunner().invoke(cli, [KEY]).output


def test_an_unknown_option_is_a_usage_error() -> None:
    """Exit 2, with the way to the help."""
    result = CliRunner().invoke(cli, ["run", "jobs.csv", "--paralell", "5"])
    assert result.exit_code == 2
    assert "No such option" in result.stderr
    assert "assign-worker run --help" in result.stderr.replace("cli run", "assign-worker run")


def test_a_bad_setting_is_named_by_its_flag(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Settings are judged by the settings' own words; all of them at once."""
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["run", "jobs.csv", "--concurrency", "0", "--takeover", "maybe"])
    assert result.exit_code == 2
    assert "--concurrency: '0' is not allowed; allowed: 1 to 4096" in result.stderr
    assert "--takeover: 'maybe' is not allowed; allowed: allow, refuse" in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_ledger_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Exit 2, and none is made by looking."""
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["runs"])
    assert result.exit_code == 2
    assert result.stderr == ("assign-worker: error: there is no ledger at assign-ledger.db; name it with --ledger\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("mark", ["\x7f", "\x9b31m", "\u202e", "\u2066", "\ufeff", "\udc9b", "\u2028", "\U000e0041"])
def test_no_json_drives_the_terminal(mark: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Controls, format characters and surrogates are escapes; what people write stays as it is."""
    document = {"name": f"Größe 鍵 🔑 {mark}.csv"}
    print_json(document)
    out = capsys.readouterr().out
    assert out.replace("\n", "").isprintable()
    assert "Größe 鍵 🔑 \\u" in out
    assert json.loads(out) == document
