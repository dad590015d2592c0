"""A retry: what did not succeed in a finished run is sent again, as a run of its own in the same ledger (DESIGN 11.12).

open ledger ─> find the chain ─┬─ its last retry is open ──> go on with it ─┐
                               ├─ rows to send ────────────> make a retry ──┴─> execute
                               └─ none ─────────────────────────────────────> export ─> report
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from worker.control import Control, Progress
from worker.earlier import check_workspace, hold_earlier, is_for_one_workspace
from worker.errors import UsageError
from worker.executor import Executor, reopen
from worker.ledger.chains import chain_of
from worker.ledger.children import spec_of_child
from worker.ledger.mode import PLAIN, How, Mode
from worker.ledger.retries import RETRIABLE, Choice, count_chosen, create_retry, find_elsewhere, leave_claimed
from worker.ledger.runs import RETRY, Run
from worker.models import Outcome
from worker.paths import Paths
from worker.results import check_destination
from worker.surroundings import Surroundings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.claim import Claim
    from worker.config import Settings
    from worker.ledger import Ledger
    from worker.ledger.chains import Chain
    from worker.models import Step
    from worker.ports import AttemptObserver
    from worker.preflight import Preflight
    from worker.report import RunReport

__all__ = ["retry_run"]


async def retry_run(  # noqa: PLR0913 - keywords, each of them optional
    reference: str | None,
    settings: Settings,
    *,
    outcomes: Sequence[Outcome | str] = (),
    warnings: Sequence[str] = (),
    recover: bool = False,
    control: Control | None = None,
    watch: Callable[[Progress], None] | None = None,
    observers: tuple[AttemptObserver, ...] = (),
    command: Sequence[str] = (),
    on_step: Callable[[Step], None] | None = None,
) -> RunReport:
    """Send again what did not succeed; the same call again goes on where the last one stopped.

    The rows come from the ledger, not from the file. With neither `outcomes` nor `warnings` they are those that failed
    and may succeed now, and those in doubt.

    Args:
        reference: the id of the run, or of one of its retries; None is the latest.
        settings: as for `run_batch`; the ledger is `assign-ledger.db` in the current folder unless they name one.
        outcomes: all rows that ended so: failed, in_doubt or conflict (but for rows that the file itself disputes).
        warnings: codes: rows that are assigned or unchanged with such a warning are assigned once more.
        recover: the ledger may be older than what was sent: read every row back before sending it.
        control: ends the retry in order from outside.
        watch: called in the event loop some ten times a second.
        observers: told of every HTTP call.
        command: what the report names as the way to go on.
        on_step: told of every named step of the protocol; for tests.

    Returns:
        The report of the run with all its retries, as `run_batch` would give it, and the results file to match.

    Raises:
        UsageError: the settings, the ledger or the run make no retry; nothing was sent.
        LedgerError: the ledger cannot be used, and was left as it was.
        LedgerHeldError: another process works on this ledger, run or workspace.
        LedgerWriteError: the disk is full or failed; what was recorded is intact, and the same call resumes.
        ResultsWriteError: the results could not be written; the ledger holds every row, and the same call writes them.
    """
    choice = _choice(outcomes, warnings)
    async with hold_earlier(reference, settings, verb="retry", done="retried") as (ledger, chain):
        paths = Paths.beside_ledger(settings, chain.root)
        await asyncio.to_thread(check_destination, paths.results)
        around = Surroundings(
            settings, paths, control or Control(), watch or (lambda _: None), observers, on_step, command
        )
        return await _Retry(ledger, chain, choice, around).go(recover=recover)


def _choice(outcomes: Sequence[Outcome | str], warnings: Sequence[str]) -> Choice:
    for outcome in outcomes:
        if outcome not in RETRIABLE:
            raise UsageError(
                f"rows that are {outcome} are never sent again; outcomes to retry: {', '.join(RETRIABLE)}"
                if outcome in set(Outcome)
                else f"{str(outcome)!a} is no outcome to retry; there are {', '.join(RETRIABLE)}"
            )
    return Choice(
        tuple(sorted({Outcome(outcome) for outcome in outcomes})),
        tuple(sorted({code.strip() for code in warnings if code.strip()})),
    )


class _Retry:
    """One call of `retry_run` on its chain."""

    def __init__(self, ledger: Ledger, chain: Chain, choice: Choice, around: Surroundings) -> None:
        self._executor = Executor(ledger, around)
        self._engine = ledger.engine
        self._chain = chain
        self._choice = choice
        self._settings = around.settings

    async def go(self, *, recover: bool) -> RunReport:
        """Go on, or begin, or say that nothing is to do."""
        self._check()
        last = self._chain.last
        if last.kind == RETRY and last.state == "open":
            self._check_same(last)
            keys = self._settings.target.credentials
            return await self._executor.execute(
                partial(reopen, self._engine, last, credentials=keys),
                recover=recover,
                leave=partial(self._leave, recover),
            )
        chosen = await asyncio.to_thread(count_chosen, self._engine, self._chain, self._choice)
        note = _left_alone(chosen.left_alone)
        if not chosen.rows:
            nothing = "nothing to retry: " + self._what_is_not_there()
            return await self._executor.finish(last, note="; ".join(filter(None, (nothing, note))))
        return await self._executor.execute(self._open, recover=recover, note=note, leave=partial(self._leave, recover))

    def _leave(self, recover: bool, retry: Run, claim: Claim | None) -> str | None:  # noqa: FBT001 - bound by position
        """Leave alone what other runs took while this one was interrupted, or while the service was waited for."""
        chain = chain_of(self._engine, retry.run_no)
        return _left_alone(leave_claimed(self._engine, chain, recover=recover, now=time.time(), claim=claim))

    def _check(self) -> None:
        root, last = self._chain.root, self._chain.last
        if root.state == "open":
            why = f" ({root.stop_message})" if root.stop_message else ""
            raise UsageError(f"run {root.id} is not finished{why}; run its command again first")
        if root.state == "superseded" and last is root:
            raise UsageError(
                f"run {root.id} was superseded by a later run of {root.name}, which has taken over its rows; "
                "`assign-worker runs` lists it: retry that one"
            )
        mode = self._mode()
        if self._choice.warnings and mode != PLAIN:
            raise UsageError(
                f"--warning assigns once more to people who have the credential already, which the rule of this "
                f"retry ({mode.how}, takeover {mode.takeover}) leaves as it is; add --takeover allow"
            )

    def _check_same(self, last: Run) -> None:
        """An unfinished retry goes on as it was begun."""
        takeover = self._settings.sending.takeover
        if (self._choice and _as_json(self._choice) != last.parse_options) or (takeover and self._mode() != last.mode):
            raise UsageError(
                f"retry {last.id} of this run is not finished, and was begun with other choices; "
                f"`assign-worker retry {self._chain.root.id}` without any goes on with it"
            )

    def _mode(self) -> Mode:
        """As the root had it, unless this retry is told otherwise."""
        takeover, mode = self._settings.sending.takeover, self._chain.root.mode
        if takeover is not None:
            return Mode(How.PLAIN, takeover)
        return replace(mode, how=How.PLAIN) if mode.how is How.FLEET else mode  # one process sends what a fleet left

    def _open(self, preflight: Preflight) -> Run:
        root, workspace_id = self._chain.root, preflight.workspace_id
        for run in self._chain.runs:
            check_workspace(self._engine, run, preflight, credentials=self._settings.target.credentials)
        if workspace_id is not None and is_for_one_workspace(self._settings):
            elsewhere = find_elsewhere(self._engine, self._chain, self._choice, workspace_id)
            if elsewhere is not None:
                raise UsageError(
                    f"row {elsewhere[0]} of run {root.id} is of workspace {elsewhere[1]}, and the key is for "
                    f"{workspace_id}; use the keys or the token that the run was sent with"
                )
        spec = spec_of_child(
            root,
            kind=RETRY,
            mode=self._mode(),
            settings=json.dumps(self._settings.public(), sort_keys=True),
            workspace_id=workspace_id or root.workspace_id,
            choice=_as_json(self._choice),
        )
        return create_retry(self._engine, self._chain, self._choice, spec, now=time.time())

    def _what_is_not_there(self) -> str:
        choice = self._choice
        if not choice:
            return "no row failed that may succeed now, and none is in doubt"
        wanted = [f"{outcome}" for outcome in choice.outcomes]
        wanted += [f"assigned with the warning {code}" for code in choice.warnings]
        return f"no row that could be sent is {' or '.join(wanted)}"


def _as_json(choice: Choice) -> str:
    return json.dumps({"outcomes": choice.outcomes, "warnings": choice.warnings}, sort_keys=True)


def _left_alone(count: int) -> str | None:
    if not count:
        return None
    rows = "1 row is" if count == 1 else f"{count} rows are"
    return f"{rows} left alone, since a later run has the credential in hand"
