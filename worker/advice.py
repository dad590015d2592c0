"""What to do after a run: a sentence or a command each, the most urgent first."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from worker.ledger.runs import RETRY, RUN, UNDO
from worker.models import NOT_WELL
from worker.paths import DEFAULT_LEDGER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from worker.ledger.chains import Chain
    from worker.ledger.runs import Run
    from worker.models import Outcome

__all__ = ["command_on", "next_steps"]


def next_steps(  # noqa: PLR0913 - what the steps name
    chain: Chain,
    outcomes: Mapping[Outcome, int],
    retryable: int,
    *,
    command: Sequence[str] | None,
    ledger: str,
    results: str | None,
    rehearsal: bool,
) -> Iterator[str]:
    """The steps; none where nothing is to do.

    Args:
        chain: the run and its retries.
        outcomes: rows by outcome, the last word on each.
        retryable: rows that may succeed if they are sent again.
        command: argv that started the run; empty: not known; None: the same one would stop at the same place, and the
            stop's own message tells the way on.
        ledger: where it is, for people.
        results: where the rows were exported to.
        rehearsal: nothing went to Seam.
    """
    root, last = chain.root, chain.last
    if last.state == "open" and command is not None:
        if last.kind == RETRY and not command:
            command = shlex.split(command_on("retry", root, ledger))
        again = f": {shlex.join(command)}" if command else ""
        yield f"The same command goes on from here{again}"
    if not_well := sum(outcomes.get(outcome, 0) for outcome in NOT_WELL):
        where = (
            f"column detail in {results}"
            if results
            else f"`{command_on('results', root, ledger)} -o FILE`, column detail"
        )
        rows = "1 row needs" if not_well == 1 else f"{not_well} rows need"
        yield f"{rows} a look: {where}, says what to do"
    if retryable and root.kind == RUN and last.state == "finished" and not rehearsal:
        rows = "1 row" if retryable == 1 else f"{retryable} rows"
        yield f"{rows} may succeed now: `{command_on('retry', root, ledger)}` sends nothing else"
    if retryable and root.kind == UNDO and last.state == "finished":
        yield "To give back what did not succeed, run the same command once more"
    if not any(outcomes.values()) and root.kind in {RUN, UNDO}:
        yield (
            f"{root.input_name} has no rows: look at what made it"
            if root.kind == RUN
            else "The run assigned nothing, so there was nothing to give back"
        )
    if rehearsal:
        yield "This was a rehearsal: nothing went to Seam. Without --simulate the rows are sent"


def command_on(verb: str, run: Run, ledger: str) -> str:
    """The command that does something with a run; a server's URL is left out, since it may need its password."""
    place = () if ledger == DEFAULT_LEDGER or "://" in ledger else ("--ledger", ledger)
    return shlex.join(("assign-worker", verb, run.id, *place))
