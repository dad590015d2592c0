"""The words of a notification."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.telling.reports import report
from worker.cli.message import LONGEST_TEXT, MOST_LINES, Message, of_ended, of_error
from worker.models import Outcome, Stop, StopCause
from worker.report import Failure, RunReport
from worker.verifying import VerifyReport


def told(ended: RunReport | VerifyReport) -> Message:
    """The message of a report."""
    return of_ended(ended, "not to be used")


def test_a_finished_run_with_failures() -> None:
    """Counts, the worst failures, what to do."""
    message = told(report())
    assert message.title == "assign-worker: residents.csv finished, 13 rows of 1 000 to look at"
    assert message.body == (
        "Run 20261124-035853-ab6e of residents.csv ended with exit code 1.\n"
        "1 000 rows: 987 assigned, 13 failed.\n"
        "\n"
        "What failed most:\n"
        "- 13 rows failed, acs_user_not_found; e.g. row 76: ACS user not found.\n"
        "\n"
        "To do:\n"
        "- 13 rows need a look: column detail in residents.results.csv, says what to do"
    )
    assert message.exit_code == 1


def test_a_run_that_went_well() -> None:
    """Two lines, and nothing to do."""
    well = report(outcomes={Outcome.ASSIGNED: 1_000}, failures=(), exit_code=0, next_steps=())
    message = told(well)
    assert message.title == "assign-worker: residents.csv finished, all is well"
    assert message.body.splitlines()[1:] == ["1 000 rows: 1 000 assigned."]


def test_a_run_that_was_stopped() -> None:
    """Why, for which workspace, and the way on."""
    stop = Stop(StopCause.KEY_REFUSED, "the service refuses the key", "11111111-1111-4111-8111-111111111111")
    message = told(
        report(
            state="open",
            outcomes={Outcome.ASSIGNED: 999, Outcome.PENDING: 1},
            failures=(),
            stops=(stop,),
            exit_code=3,
            next_steps=("The same command goes on from here",),
        )
    )
    assert message.title == "assign-worker: residents.csv stopped early, 1 row of 1 000 not sent"
    assert "Stopped (workspace 11111111-1111-4111-8111-111111111111): the service refuses the key" in message.body
    assert "- The same command goes on from here" in message.body


def test_a_rehearsal_is_called_one() -> None:
    """In the title, which is all that many people read."""
    assert told(report(rehearsal=True)).title.startswith("assign-worker: rehearsal of residents.csv ")


def test_an_error_instead_of_a_report() -> None:
    """The reason, and the exit code."""
    message = of_error("the run of jobs.csv", "process 12 on this machine holds the ledger", 4)
    assert message.title == "assign-worker: the run of jobs.csv ended with an error"
    assert message.body == (
        "The run of jobs.csv ended with exit code 4.\n\nprocess 12 on this machine holds the ledger"
    )


def test_a_sync_tells_what_had_drifted() -> None:
    """And the warnings, the most frequent first."""
    body = told(report(drifted=7, warnings={"needs_to_be_reissued": 8, "odd\ncode": 2})).body
    assert "Drifted since the last run of this name: 7 rows.\n" in body
    assert "Warnings: 8 needs_to_be_reissued, 2 odd\\ncode.\n" in body


def test_a_verification() -> None:
    """What was found, stage by stage."""
    verified = VerifyReport(
        run_id="20261124-035853-ab6e",
        name="residents.csv",
        accepted=10,
        findings={"confirmed": 7, "waiting": 2, "other_owner": 1},
        examples={},
        confirmed=9,
        synced=7,
        sync_untold=0,
        cards=4,
        issued=3,
        issue_untold=0,
        warnings={},
        stops=(Stop(StopCause.KEY_REFUSED, "the service refuses the key"),),
    )
    message = told(verified)
    assert message.title == "assign-worker: residents.csv verified, 3 rows of 10 not yet right"
    assert message.body == (
        "The verification of run 20261124-035853-ab6e of residents.csv ended with exit code 3.\n"
        "10 rows accepted: 7 confirmed, 2 waiting, 1 other_owner.\n"
        "Confirmed: 9; synced with the provider: 7; cards issued: 3 of 4.\n"
        "\n"
        "Stopped: the service refuses the key"
    )
    assert message.exit_code == 3


@dataclass(frozen=True)
class Bare:
    """A report that says no more than its exit code."""

    exit_code: int


@pytest.mark.parametrize(("code", "words"), [(0, "all is well"), (1, "something is to look at")])
def test_a_report_of_another_kind(code: int, words: str) -> None:
    """That the command has ended, and how."""
    message = of_ended(Bare(code), "the tidying up")
    assert message == Message(f"assign-worker: the tidying up ended, {words}", f"It ended with exit code {code}.", code)


def test_a_message_is_bounded() -> None:
    """Many kinds of failure, and long words of the service."""
    kinds = tuple(Failure(Outcome.FAILED, f"type_{number}", 1, number, "x" * 5_000, None) for number in range(50))
    stops = tuple(Stop(StopCause.OUTAGE, "y" * 5_000, f"workspace-{number}") for number in range(50))
    body = told(report(failures=kinds, stops=stops)).body
    assert f"… and {50 - MOST_LINES} more" in body
    assert "x" * (LONGEST_TEXT + 1) not in body
    assert len(body) < 10_000


def test_no_cell_of_the_input_is_told() -> None:
    """What is wrong with a row is told with what stood in it; that stays in the results."""
    invalid = Failure(Outcome.INVALID, None, 6, 3, 'acs_user_id is "jane@example.com", which is no UUID', None)
    body = told(report(failures=(invalid,))).body
    assert "- 6 rows invalid; e.g. row 3\n" in body
    assert "jane" not in body


def test_no_id_of_a_person_is_told() -> None:
    """A conflict names the present owner, and a stop may name its row's; which workspace stopped is told."""
    person, workspace = "ad6daf45-0000-4111-8111-111111111111", "11111111-1111-4111-8111-111111111111"
    sentence = f"it belongs to user {person.upper()}, and takeover is refused"
    conflict = Failure(Outcome.CONFLICT, None, 1, 7, sentence, None)
    stop = Stop(StopCause.CANARY, f"row 7 is conflict ({sentence})", workspace)
    body = told(report(failures=(conflict,), stops=(stop,))).body
    assert "- 1 row conflict; e.g. row 7: it belongs to user (id), and takeover is refused" in body
    assert person not in body.lower()
    assert workspace in body


@pytest.mark.parametrize("text", ["two\nlines", "\x1b[2J", "a\u2028b"])
def test_foreign_words_stay_on_their_line(text: str) -> None:
    """Neither a name nor a message of the service makes a line of its own."""
    failure = Failure(Outcome.FAILED, text, 1, 1, text, None)
    plain = told(report(name="n", failures=(Failure(Outcome.FAILED, "t", 1, 1, "m", None),)))
    foreign = told(report(name=text, failures=(failure,)))
    assert text not in foreign.title + foreign.body
    assert len(foreign.body.splitlines()) == len(plain.body.splitlines())
