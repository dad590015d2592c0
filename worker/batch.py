"""What a run is: an input, staged once, sent until every row has its result, resumed by the same call.

open ledger ─> find the run ─┬─ none ──> stage the input ─┐
                             ├─ open ────────────────────┴─> preflight ─> claim ─> send ─> export ─> report
                             └─ finished ──────────────────────────────────────────────> export ─> report
"""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from worker.client import SeamClient
from worker.config import KeyKind, MissingKey, resolve_deadline
from worker.control import Control, Progress
from worker.errors import ConfigError, InterruptedEarlyError, TerminatedEarlyError
from worker.ledger import Ledger, holder
from worker.ledger.claimed import ClaimedRun
from worker.ledger.claims import (
    claim_run,
    doubt_open_rows,
    has_open_rows,
)
from worker.ledger.queries import count_outcomes
from worker.ledger.runs import (
    Run,
    RunSpec,
    create_run,
    discard_staging,
    find_alike,
    get_run,
    learn_workspace,
    note_stop,
    workspace_of,
)
from worker.ledger.staging import finish_staging, reject_other_workspaces, stage
from worker.models import StopCause
from worker.paths import Paths
from worker.pipeline import Pipeline
from worker.preflight import Preflight, ask_workspace
from worker.readers import ReadOptions, hash_file, open_input
from worker.report import RunReport, build_report
from worker.results import check_destination, export_results
from worker.watching import tell_sending, tell_staging

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from worker.config import Settings
    from worker.models import InputRow, Step, Stop
    from worker.ports import AttemptObserver

__all__ = ["run_batch"]


async def run_batch(  # noqa: PLR0913 - keywords, each of them optional
    source: Path | str | None,
    settings: Settings,
    *,
    again: bool = False,
    recover: bool = False,
    rehearsal: bool = False,
    control: Control | None = None,
    watch: Callable[[Progress], None] | None = None,
    observers: tuple[AttemptObserver, ...] = (),
    command: Sequence[str] = (),
    on_step: Callable[[Step], None] | None = None,
) -> RunReport:
    """Send every assignment of a file; the same call again goes on where the last one stopped.

    Args:
        source: the file of jobs; None reads stdin.
        settings: `Settings.from_options(...)` or `load_settings(...)`.
        again: send a finished input once more, as a new run.
        recover: the ledger may be older than what was sent (restored from a backup): read every unsettled row back
            before sending it.
        rehearsal: use a ledger and results file apart from the real ones.
        control: ends the run in order from outside, for example on a signal.
        watch: called in the event loop some ten times a second.
        observers: told of every HTTP call.
        command: what the report names as the way to go on.
        on_step: told of every named step of the protocol; for tests.

    Returns:
        The report: counts by outcome, where the results are, and the exit code that the command would give. Rows that
        failed are in there; they raise nothing.

    Raises:
        UsageError: the settings, the input or the ledger make no run; nothing was sent.
        LedgerHeldError: another process works on this ledger.
        LedgerWriteError: the disk is full or failed; what was recorded is intact, and the same call resumes.
    """
    source = None if source is None else Path(source)
    options = ReadOptions(
        format=settings.input.format, encoding=settings.input.encoding, mapping=settings.input.mapping
    )
    paths = Paths.of(source, settings, options.format_of(source), rehearsal=rehearsal)
    settings.target.credentials.require_any()
    await asyncio.to_thread(check_destination, paths.results)
    control = control or Control()
    batch = _Run(
        paths,
        options,
        settings,
        control,
        watch or (lambda _: None),
        observers,
        on_step,
        command,
        rehearsal=rehearsal,
    )
    with await asyncio.to_thread(Ledger, paths.ledger, exclusive=True) as ledger:
        return await batch.go(ledger, again=again, recover=recover)


class _Run:
    """One call of `run_batch`."""

    def __init__(  # noqa: PLR0913, PLR0917 - the call's arguments
        self,
        paths: Paths,
        options: ReadOptions,
        settings: Settings,
        control: Control,
        watch: Callable[[Progress], None],
        observers: tuple[AttemptObserver, ...],
        on_step: Callable[[Step], None] | None,
        command: Sequence[str],
        *,
        rehearsal: bool,
    ) -> None:
        self._paths = paths
        self._settings = settings
        self._control = control
        self._watch = watch
        self._observers = observers
        self._on_step = on_step
        self._command = command
        self._rehearsal = rehearsal
        self._staged_rows = 0
        self._options = options
        self._format = options.format_of(paths.input)

    async def go(self, ledger: Ledger, *, again: bool, recover: bool) -> RunReport:
        """Find or stage the run, send it, export it, report."""
        await asyncio.to_thread(discard_staging, ledger.engine)
        run = None
        if self._paths.input is not None and not again:
            sha256 = await asyncio.to_thread(hash_file, self._paths.input)
            run = await asyncio.to_thread(find_alike, ledger.engine, self._spec(), sha256, states=_KNOWN)
        staged = None
        if run is None:
            staged, sha256 = await self._stage(ledger)
            if not again:  # stdin is known only now; a file may have changed since it was hashed
                run = await asyncio.to_thread(find_alike, ledger.engine, self._spec(), sha256, states=_KNOWN)
            if run is not None:
                await asyncio.to_thread(discard_staging, ledger.engine)
        if run is not None and run.state == "finished":
            note = f"run {run.id} has already sent this input; --again sends it once more"
            return await self._finish(ledger, run, note=note)
        deadline = self._arm_deadline()
        sending = self._settings.sending
        try:
            async with SeamClient(
                self._settings.target, concurrency=sending.concurrency, timeout=sending.timeout
            ) as client:
                preflight = await self._ask_workspace(client)
                if run is not None:
                    run = await asyncio.to_thread(self._reopen, ledger, run, preflight.workspace_id)
                elif staged is not None:
                    run = await asyncio.to_thread(self._open, ledger, staged, sha256, preflight.workspace_id)
                else:
                    raise RuntimeError("neither found nor staged")
                stops: Sequence[Stop] = (preflight.stop,) if preflight.stop is not None else ()
                if not stops:
                    stops = await self._send(ledger, client, run, recover=recover)
        finally:
            self._control.forward_to(None)
            if deadline is not None:
                deadline.cancel()
        return await self._finish(ledger, run, stops=stops)

    def _spec(self, header: tuple[str, ...] | None = None) -> RunSpec:
        settings, source = self._settings, self._paths.input
        name = source.name if source is not None else "stdin"
        parse = {
            "format": self._format,
            "encoding": settings.input.encoding,
            "mapping": dict(sorted(settings.input.mapping.items())),
        }
        return RunSpec(
            name=settings.output.name or name,
            input_name=name,
            input_format=self._format,
            header=header,
            parse_options=json.dumps(parse, sort_keys=True),
            mode=f"plain:{settings.sending.takeover or 'allow'}",
            endpoint=settings.target.endpoint,
            workspace_id=settings.target.credentials.default_workspace_id,
            settings=json.dumps(settings.public(), sort_keys=True),
        )

    async def _stage(self, ledger: Ledger) -> tuple[Run, str]:
        """The input into the ledger, in a thread; the run in state `staging`, and the input's SHA-256."""

        def read_all() -> tuple[Run, str] | None:
            with open_input(self._paths.input, self._options) as rows:
                run = create_run(ledger.engine, self._spec(rows.header), now=time.time())
                try:
                    if not stage(ledger.engine, run, self._counted(rows), now=time.time(), keep_going=self._goes_on):
                        return None
                except BaseException:
                    discard_staging(ledger.engine)
                    raise
                return run, rows.sha256

        watching = asyncio.create_task(tell_staging(self._watch, lambda: self._staged_rows))
        try:
            staged = await asyncio.to_thread(read_all)
        finally:
            watching.cancel()
        if staged is None:
            await asyncio.to_thread(discard_staging, ledger.engine)
            cause = self._control.cause
            early = TerminatedEarlyError if cause and cause.cause is StopCause.SIGTERM else InterruptedEarlyError
            raise early("stopped while the input was being read; nothing was sent")
        return staged

    def _counted(self, rows: Iterable[InputRow]) -> Iterator[InputRow]:
        for row in rows:
            self._staged_rows += 1
            yield row

    def _goes_on(self) -> bool:
        return self._control.cause is None

    def _arm_deadline(self) -> asyncio.TimerHandle | None:
        """Have the run stopped at `--deadline`."""
        wanted = self._settings.guards.deadline
        if wanted is None:
            return None
        now = datetime.now(UTC)
        moment = resolve_deadline(wanted, now)
        return asyncio.get_running_loop().call_later(
            (moment - now).total_seconds(),
            self._control.stop,
            StopCause.DEADLINE,
            f"--deadline {moment.astimezone():%Y-%m-%d %H:%M:%S} has come; the same command goes on from here",
        )

    async def _ask_workspace(self, client: SeamClient) -> Preflight:
        credentials = self._settings.target.credentials
        if credentials.default is None or self._control.cause is not None:
            return Preflight()
        if isinstance(credentials.resolve(None), MissingKey):
            return Preflight()  # a personal access token without a default: each row names its workspace
        self._watch(Progress("connecting", None, 0))
        return await ask_workspace(
            client,
            None,
            patience=self._settings.sending.outage_patience,
            sleep=self._control.sleep,
            clock=time.monotonic,
        )

    def _open(self, ledger: Ledger, run: Run, sha256: str, workspace_id: str | None) -> Run:
        run = finish_staging(ledger.engine, run, sha256=sha256, now=time.time(), workspace_id=workspace_id)
        self._reject_other_workspaces(ledger, run)
        return run

    def _reopen(self, ledger: Ledger, run: Run, workspace_id: str | None) -> Run:
        """An unfinished run goes on, if the key is still for the same workspace.

        Raises:
            ConfigError: it is not.
        """
        if workspace_id is None:
            return run
        with ledger.engine.connect() as connection:
            begun_in = workspace_of(connection, run.run_no)
        if begun_in not in {None, workspace_id}:
            raise ConfigError(
                f"run {run.id} of this input was begun in workspace {begun_in}, and the key is for "
                f"{workspace_id}; use the first key to go on, or another --ledger for a run of its own"
            )
        run = learn_workspace(ledger.engine, run.run_no, workspace_id)
        self._reject_other_workspaces(ledger, run)
        return run

    def _reject_other_workspaces(self, ledger: Ledger, run: Run) -> None:
        credentials = self._settings.target.credentials
        default = credentials.default
        if default is not None and default.kind is KeyKind.API_KEY and not credentials.workspaces and run.workspace_id:
            reject_other_workspaces(ledger.engine, run, run.workspace_id, now=time.time())

    async def _send(self, ledger: Ledger, client: SeamClient, run: Run, *, recover: bool) -> Sequence[Stop]:
        """Claim the run and send what is left of it; why it stopped early, if it did."""
        if recover:
            await asyncio.to_thread(doubt_open_rows, ledger.engine, run.run_no)
        before = await asyncio.to_thread(count_outcomes, ledger.engine, run.run_no)
        claim = await asyncio.to_thread(claim_run, ledger.engine, run.run_no, holder=holder(), now=time.time())
        claimed = ClaimedRun(ledger.engine, claim)
        try:
            pipeline = Pipeline(
                claim,
                claimed,
                client,
                self._settings.sending,
                takeover_refused=run.takeover_refused,
                include_codes=self._settings.output.include_codes,
                max_failures=self._settings.guards.max_failures,
                total_rows=run.rows,
                observers=self._observers,
                on_step=self._on_step,
            )
            self._control.forward_to(pipeline.stop)
            watching = asyncio.create_task(tell_sending(self._watch, pipeline, run.rows, before))
            try:
                execution = await pipeline.run()
            finally:
                watching.cancel()
        finally:
            claimed.close()
        finished = not await asyncio.to_thread(has_open_rows, ledger.engine, run.run_no)
        stops = () if finished else tuple(execution.stops)
        await asyncio.to_thread(
            note_stop,
            ledger.engine,
            run.run_no,
            finished=finished,
            cause=stops[0].cause.value if stops else None,
            message=stops[0].message if stops else None,
            seconds=execution.sending_seconds,
            now=time.time(),
        )
        return stops

    async def _finish(
        self, ledger: Ledger, run: Run, *, stops: Sequence[Stop] = (), note: str | None = None
    ) -> RunReport:
        """Export and report, whatever the run's state."""
        self._watch(Progress("exporting", run.rows, run.rows))
        run = await asyncio.to_thread(get_run, ledger.engine, run.run_no)
        if self._control.cause is not None and run.state != "finished" and not stops:
            stops = (self._control.cause,)
        await asyncio.to_thread(
            export_results,
            ledger.engine,
            run,
            self._paths.results,
            format=_results_format(self._paths.results, run),
            include_codes=self._settings.output.include_codes,
            raw_cells=self._settings.output.raw_cells,
            on_step=self._on_step,
        )
        return await asyncio.to_thread(
            build_report,
            ledger.engine,
            run,
            stops=stops,
            ledger=str(self._paths.ledger),
            results=str(self._paths.results),
            note=note,
            command=self._command,
            rehearsal=self._rehearsal,
        )


_KNOWN: Final = ("open", "finished")


def _results_format(path: Path, run: Run) -> Literal["csv", "jsonl"]:
    """By the name that the user gave, else as the input is."""
    if path.name.endswith((".jsonl", ".ndjson")):
        return "jsonl"
    return "csv" if path.name.endswith(".csv") or run.input_format == "csv" else "jsonl"
