"""After a run: every assigned row is read back, and told in three stages of truth.

accepted (by Seam, when it was sent) ─> owner confirmed ─> synced with the provider, and issued where it is a card
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from worker.control import Control, Progress
from worker.earlier import check_workspace, hold_earlier
from worker.errors import LedgerHeldError, RunNotFoundError
from worker.ledger.runs import get_run
from worker.ledger.tables import verifications
from worker.ledger.verifications import (
    Finding,
    count_unverified,
    forget_unsettled,
    forget_verifications,
    group_findings,
    stream_findings,
    wanted_by_verify,
)
from worker.paths import Paths
from worker.report import exit_code_of
from worker.results import check_destination, export_results
from worker.session import Session
from worker.surroundings import Surroundings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from worker.config import Settings
    from worker.ledger import Ledger
    from worker.ledger.chains import Chain
    from worker.ledger.verifications import FoundGroup
    from worker.models import Stop
    from worker.ports import AttemptObserver

__all__ = ["VerifyReport", "verify_run"]

_FIRST_PAUSE: Final = 1.0
"""Seconds until what is waited for is looked at again; each further pause is longer, up to `_LAST_PAUSE`."""
_GROWTH: Final = 1.5
_LAST_PAUSE: Final = 60.0


@dataclass(frozen=True)
class VerifyReport:
    """How the assigned rows of a run and its retries were found."""

    run_id: str
    name: str
    accepted: int
    """Rows that the run says are assigned or unchanged."""
    findings: dict[str, int]
    """Those that were read, by `Finding`."""
    examples: dict[str, int]
    """The first row of each."""
    confirmed: int
    """Rows whose person has the credential, waited for or not."""
    synced: int
    """Of the confirmed ones: the lock maker's system has them."""
    sync_untold: int
    """Seam does not say whether it has."""
    cards: int
    issued: int
    """Of the cards: encoded."""
    issue_untold: int
    warnings: dict[str, int]
    """Rows by warning code that remains."""
    stops: tuple[Stop, ...] = ()
    """Why some rows could not be read, where that is so."""
    results: str | None = None

    @property
    def exit_code(self) -> int:
        """0: every row is confirmed, nothing is waited for; 1: something is off; 3, 130 or 143: not all were read."""
        if self.stops:
            return exit_code_of({}, (stop.cause for stop in self.stops), finished=False)
        return int(self.findings.get(Finding.CONFIRMED, 0) != self.accepted)

    def as_dict(self) -> dict[str, Any]:
        """The report for `--json`."""
        return {**asdict(self), "stops": [stop.as_dict() for stop in self.stops], "exit_code": self.exit_code}


async def verify_run(  # noqa: PLR0913 - keywords, each of them optional
    reference: str | None,
    settings: Settings,
    *,
    wait: float = 0.0,
    control: Control | None = None,
    watch: Callable[[Progress], None] | None = None,
    observers: tuple[AttemptObserver, ...] = (),
    command: Sequence[str] = (),
) -> VerifyReport:
    """Read back every row that a run and its retries assigned; nothing is sent.

    Args:
        reference: the run's id, or one of its retries'; None is the latest.
        settings: as for `run_batch`; where `output.results` is set, every row is written there.
        wait: seconds for which what is not synced or issued yet is looked at again.
        control: ends it in order from outside.
        watch: called in the event loop some ten times a second.
        observers: told of every HTTP call.
        command: not used; what is executed from the command line is given it.

    Raises:
        UsageError: there is no such run, it went to another endpoint, or the key is for another workspace.
        LedgerError: the ledger cannot be used, and was left as it was.
        LedgerHeldError: another process works on this ledger, or has removed the run meanwhile.
        LedgerWriteError: the disk is full or failed; what was recorded is intact.
        ResultsWriteError: what was found could not be written; the ledger holds it.
    """
    target = settings.output.results
    if target is not None:
        await asyncio.to_thread(check_destination, target)
    async with hold_earlier(reference, settings, verb="verify", done="verified") as (ledger, chain):
        paths = Paths.beside_ledger(settings, chain.root)
        around = Surroundings(
            settings, paths, control or Control(), watch or (lambda _: None), observers, command=command
        )
        return await _Verification(ledger, chain, around).go(wait)


class _Verification:
    """One call of `verify_run` on its chain."""

    def __init__(self, ledger: Ledger, chain: Chain, around: Surroundings) -> None:
        self._engine = ledger.engine
        self._session = Session(ledger.engine, around)
        self._around = around
        self._chain = chain
        self._root = chain.root

    async def go(self, wait: float) -> VerifyReport:
        """Read all, look again while anything is waited for and time is left, report."""
        root_no = self._root.run_no
        await asyncio.to_thread(forget_verifications, self._engine, root_no)
        async with self._session.connected() as (client, preflight):
            keys = self._around.settings.target.credentials
            await asyncio.to_thread(check_workspace, self._engine, self._root, preflight, credentials=keys)
            stops: Sequence[Stop] = () if preflight.stop is None else (preflight.stop,)
            if not stops:
                stops = await self._session.survey(client, self._root, verifications, wanted_by_verify(root_no))
            until = asyncio.get_running_loop().time() + wait
            pause = _FIRST_PAUSE
            while not stops and (left := until - asyncio.get_running_loop().time()) > 0:
                groups = await asyncio.to_thread(group_findings, self._engine, root_no)
                if not any(group.finding in {Finding.WAITING, Finding.UNREADABLE} for group in groups):
                    break
                if not await self._around.control.sleep(min(pause, left)):
                    break
                pause = min(pause * _GROWTH, _LAST_PAUSE)
                await asyncio.to_thread(forget_unsettled, self._engine, root_no)
                stops = await self._session.survey(client, self._root, verifications, wanted_by_verify(root_no))
        await asyncio.to_thread(self._require_there)
        groups = await asyncio.to_thread(group_findings, self._engine, root_no)
        unread = await asyncio.to_thread(count_unverified, self._engine, root_no)
        cause = self._around.control.cause
        if cause is not None:
            stops = stops or (cause,)
        elif not unread and preflight.stop is None:  # what stopped it came too late to leave anything unread
            stops = ()
        await self._export()
        return _report(self._chain, groups, unread, tuple(stops), self._around.settings.output.results)

    def _require_there(self) -> None:
        """Nothing is told of a run that was removed while it was read: not all of it was.

        Raises:
            LedgerHeldError: it was.
        """
        try:
            get_run(self._engine, self._root.run_no)
        except RunNotFoundError:
            message = f"another process has removed run {self._root.id} while it was read; `assign-worker runs` tells"
            raise LedgerHeldError(message) from None

    async def _export(self) -> None:
        output = self._around.settings.output
        target = output.results
        if target is None:
            return
        self._around.watch(Progress("exporting", None, 0))
        await asyncio.to_thread(
            export_results,
            self._engine,
            self._root,
            target,
            include_codes=output.include_codes,
            raw_cells=output.raw_cells,
            rows=stream_findings(self._engine, self._root.run_no, self._root.id),
        )


def _report(
    chain: Chain, groups: Iterable[FoundGroup], unread: int, stops: tuple[Stop, ...], target: object
) -> VerifyReport:
    findings: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    warnings: Counter[str] = Counter()
    examples: dict[str, int] = {}
    for group in groups:
        findings[group.finding] += group.rows
        examples[group.finding] = min(group.first_row, examples.get(group.finding, group.first_row))
        for code in group.warning_codes.split(";") if group.warning_codes else ():
            warnings[code] += group.rows
        if group.finding in {Finding.CONFIRMED, Finding.WAITING}:
            counts["confirmed"] += group.rows
            counts["synced" if group.synced else "unsynced" if group.synced is not None else "untold"] += group.rows
            if group.card:
                counts["cards"] += group.rows
                counts["issued" if group.issued else "unissued" if group.issued is not None else "issue_untold"] += (
                    group.rows
                )
    return VerifyReport(
        run_id=chain.root.id,
        name=chain.root.name,
        accepted=findings.total() + unread,
        findings=dict(findings),
        examples=examples,
        confirmed=counts["confirmed"],
        synced=counts["synced"],
        sync_untold=counts["untold"],
        cards=counts["cards"],
        issued=counts["issued"],
        issue_untold=counts["issue_untold"],
        warnings=dict(warnings.most_common()),
        stops=stops,
        results=None if target is None else str(target),
    )
