"""What a run would do, said before anything is sent: the input is staged, the present owners are read, nothing stays.

stage the input ─> preflight ─> survey ─> group and stream ─> discard
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from worker.control import Control, Progress
from worker.intake import Intake
from worker.ledger import Ledger
from worker.ledger.chains import chain_before
from worker.ledger.intentions import Intention, wanted_by_sync
from worker.ledger.plans import group_plan, stream_plan
from worker.ledger.runs import Run, discard_staging
from worker.ledger.tables import owners
from worker.models import Outcome
from worker.paths import Paths
from worker.readers import ReadOptions
from worker.replies import tidy
from worker.report import exit_code_of
from worker.results import check_destination, export_results
from worker.session import Session
from worker.surroundings import Surroundings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.config import Settings
    from worker.ledger.plans import PlanGroup
    from worker.models import Stop
    from worker.ports import AttemptObserver

__all__ = ["PlanReport", "make_plan"]

_QUIET: Final = frozenset({Intention.NEW, Intention.UNCHANGED, Outcome.DUPLICATE})


@dataclass(frozen=True)
class PlanReport:
    """What a run would do with the rows of an input."""

    name: str
    rows: int
    intentions: dict[str, int]
    """Rows by `Intention`, and by outcome where they were decided as they were read."""
    examples: dict[str, int]
    """The first row of each."""
    may_create_users: int
    """Rows by identity, to be sent, of which no user was seen: Seam may create one for each."""
    drifted: int
    """Rows that were right after the last finished run of this name, and are not now."""
    takeover: Literal["allow", "refuse"]
    """The rule that the figures below follow."""
    to_send: int
    requests: int
    """Reading calls that this plan took."""
    stops: tuple[Stop, ...] = ()
    """Why some owners could not be read, where that is so."""
    results: str | None = None

    @property
    def exit_code(self) -> int:
        """0: every row is right or would be sent; 1: some row needs a look; 3, 130 or 143: not all could be read."""
        if self.stops:
            return exit_code_of({}, (stop.cause for stop in self.stops), finished=False)
        quiet = {*_QUIET, *([Intention.TAKEOVER] if self.takeover == "allow" else [])}
        return int(any(rows for word, rows in self.intentions.items() if word not in quiet))

    def as_dict(self) -> dict[str, Any]:
        """The report for `--json`."""
        return {**asdict(self), "stops": [stop.as_dict() for stop in self.stops], "exit_code": self.exit_code}


async def make_plan(  # noqa: PLR0913 - keywords, each of them optional
    source: Path | str | None,
    settings: Settings,
    *,
    control: Control | None = None,
    watch: Callable[[Progress], None] | None = None,
    observers: tuple[AttemptObserver, ...] = (),
    command: Sequence[str] = (),
) -> PlanReport:
    """Say what `run --sync` would do with every row of a file; nothing is sent, and no run is kept.

    Args:
        source: the file of jobs; None reads stdin.
        settings: as for `run_batch`; where `output.results` is set, every row is written there.
        control: ends it in order from outside.
        watch: called in the event loop some ten times a second.
        observers: told of every HTTP call.
        command: not used; what is executed from the command line is given it.

    Raises:
        UsageError: the settings, the input or the ledger make no plan.
        LedgerError: the ledger cannot be used, and was left as it was.
        LedgerHeldError: another process works on this ledger.
        LedgerWriteError: the disk is full or failed; nothing of the plan stays.
        ResultsWriteError: the plan could not be written.
        StoppedError: it was stopped while the input was being read.
    """
    settings.target.credentials.require_any()
    settings = settings if settings.sending.sync else settings.replace(sync=True)
    source = None if source is None else Path(source)
    options = ReadOptions.of(settings.input)
    target = settings.output.results
    paths = Paths.of(source, settings, options.format_of(source), rehearsal=False)
    if target is not None:
        await asyncio.to_thread(check_destination, target)
    around = Surroundings(settings, paths, control or Control(), watch or (lambda _: None), observers, command=command)
    with await asyncio.to_thread(Ledger, paths.ledger, exclusive=True) as ledger:
        await asyncio.to_thread(discard_staging, ledger.engine)
        async with Intake(ledger, options, around).staged() as staged:
            return await _plan(ledger, staged.run, around, target)


async def _plan(ledger: Ledger, run: Run, around: Surroundings, target: Path | None) -> PlanReport:
    engine, settings = ledger.engine, around.settings
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    session = Session(engine, replace(around, observers=(*around.observers, count)))
    async with session.connected() as (client, preflight):
        stops: Sequence[Stop] = () if preflight.stop is None else (preflight.stop,)
        run = replace(run, workspace_id=preflight.workspace_id or run.workspace_id)
        if not stops:
            await session.judge_workspaces(run)
            wanted = await asyncio.to_thread(wanted_by_sync, engine, run.run_no)
            stops = await session.survey(client, run, owners, wanted)
    chain = await asyncio.to_thread(chain_before, engine, run)
    before = [] if chain is None else chain.numbers
    groups = await asyncio.to_thread(group_plan, engine, run.run_no, before)
    if target is not None:
        around.watch(Progress("exporting", None, 0))
        await asyncio.to_thread(
            export_results,
            engine,
            run,
            target,
            include_codes=settings.output.include_codes,
            raw_cells=settings.output.raw_cells,
            rows=stream_plan(engine, run.run_no, before, _sentence(run.mode.takeover_refused)),
        )
    return _report(run.name, groups, calls, stops, refused=run.mode.takeover_refused, target=target)


def _report(  # noqa: PLR0913 - what the groups do not tell
    name: str,
    groups: Sequence[PlanGroup],
    calls: int,
    stops: Sequence[Stop],
    *,
    refused: bool,
    target: Path | None,
) -> PlanReport:
    intentions: dict[str, int] = {}
    examples: dict[str, int] = {}
    for group in groups:
        intentions[group.intention] = intentions.get(group.intention, 0) + group.rows
        examples[group.intention] = min(group.first_row, examples.get(group.intention, group.first_row))
    sent = intentions.get(Intention.NEW, 0) + (0 if refused else intentions.get(Intention.TAKEOVER, 0))
    return PlanReport(
        name=name,
        rows=sum(intentions.values()),
        intentions=intentions,
        examples=examples,
        may_create_users=sum(group.rows for group in groups if group.may_create),
        drifted=sum(group.rows for group in groups if group.drifted),
        takeover="refuse" if refused else "allow",
        to_send=sent,
        requests=calls,
        stops=tuple(stops),
        results=None if target is None else str(target),
    )


def _sentence(refused: bool) -> Callable[[str, str | None, bool], str]:  # noqa: FBT001 - the rule
    def say(word: str, owner: str | None, may_create: bool) -> str:  # noqa: FBT001 - as `stream_plan` calls it
        creates = "; Seam may create a user for this identity" if may_create else ""
        match word:
            case Intention.NEW:
                return f"nobody has it; it would be given{creates}"
            case Intention.TAKEOVER:
                whose = f"user {tidy(owner)} has it" if owner else "somebody else has it"
                if refused:
                    return f"{whose}, and takeover is refused; it would stay so. --takeover allow replaces owners"
                return f"{whose}; it would be taken over{creates}"
            case Intention.UNCHANGED:
                return "the person has it already; nothing would be sent"
            case Intention.UNKNOWN_CREDENTIAL:
                return "Seam knows no such credential in this workspace; nothing would be sent"
            case Intention.BEING_DELETED:
                return "it is being deleted; nothing would be sent"
            case Intention.CHILD:
                return "it is one phone's part of a multi-phone credential; nothing would be sent. Assign its parent"
        return "whose it is could not be read"

    return say
