"""An earlier run at hand, for what works on it afterwards (retry, verify, undo), and whether the settings fit it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from worker.config import KeyKind
from worker.errors import ConfigError, UsageError
from worker.ledger import hold_existing
from worker.ledger.chains import chain_of, find_chain
from worker.ledger.homes import has_home_rows, has_read_at_home, home_of
from worker.ledger.runs import RUN, discard_staging, find_alike
from worker.ledger.undos import find_undo
from worker.paths import Paths

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from sqlalchemy import Engine

    from worker.config import Credentials, Settings
    from worker.ledger import Ledger
    from worker.ledger.chains import Chain
    from worker.ledger.runs import Run, RunSpec
    from worker.preflight import Preflight

__all__ = ["check_workspace", "hold_earlier", "is_for_one_workspace", "refuse_undone"]


@asynccontextmanager
async def hold_earlier(
    reference: str | None, settings: Settings, *, verb: str, done: str
) -> AsyncIterator[tuple[Ledger, Chain]]:
    """The ledger that the settings name, held by this process, and the chain of one of its runs.

    Args:
        reference: the run's id, or one of its retries'; None is the latest.
        settings: with a key, and for the endpoint that the run went to.
        verb: what is about to be done with it, in messages: `undo`.
        done: likewise: `undone`.

    Raises:
        ConfigError: there is no key.
        LedgerError: there is no ledger, or it cannot be used.
        LedgerHeldError: another process works on it.
        UsageError: there is no such run, it is no run over a file, or it went to another endpoint.
    """
    settings.target.credentials.require_any()
    with await asyncio.to_thread(hold_existing, Paths.ledger_of(settings)) as ledger:
        await asyncio.to_thread(discard_staging, ledger.engine)
        chain = await asyncio.to_thread(find_chain, ledger.engine, reference)
        _check_root(chain.root, settings, verb=verb, done=done)
        yield ledger, chain


def _check_root(root: Run, settings: Settings, *, verb: str, done: str) -> None:
    if root.kind != RUN:
        raise UsageError(
            f"run {root.id} is itself an {root.kind}, and only a run over a file can be {done}; undo that run once "
            "more for what did not succeed, or `run` its file with --again to assign the rows anew"
        )
    if root.endpoint != settings.target.endpoint:
        raise UsageError(
            f"run {root.id} was sent to {root.endpoint}, and the settings say {settings.target.endpoint}; "
            f"{verb} it with the --endpoint (or SEAM_ENDPOINT) that it was sent to"
        )


def check_workspace(engine: Engine, run: Run, preflight: Preflight, *, credentials: Credentials | None = None) -> None:
    """Refuse a default key of another workspace than a run was begun in, where it opens any row of the run.

    Args:
        engine: the ledger.
        run: to go on with, or the one that is worked on afterwards.
        preflight: what the default key was told.
        credentials: all keys that there are; None: the default key is used for rows that name no workspace only.

    Raises:
        ConfigError: it is one.
    """
    keyed = None if credentials is None else _keyed(credentials)
    with engine.connect() as connection:
        if not has_home_rows(connection, run.run_no, keyed=keyed):
            return
        begun_in = home_of(connection, run.run_no, keyed=keyed)
        emptied = preflight.is_empty and has_read_at_home(connection, run, keyed=keyed)
    elsewhere = None not in {begun_in, preflight.workspace_id} and begun_in != preflight.workspace_id
    if elsewhere or emptied:
        other = preflight.workspace_id if elsewhere else "one that holds no credential"
        home = "another workspace" if begun_in is None else f"workspace {begun_in}"
        raise ConfigError(
            f"run {run.id} was begun in {home}, and the key is for {other}; use the key that it was "
            "begun with. A run of its own needs another --ledger"
        )


def _keyed(credentials: Credentials) -> Collection[str] | None:
    """The workspaces that an API key as default does not open; None: the default opens but its own."""
    default = credentials.default
    if default is None or default.kind is not KeyKind.API_KEY:
        return None
    return {*credentials.workspaces, *credentials.missing}


def is_for_one_workspace(settings: Settings) -> bool:
    """Whether all there is, and all that was promised, is one API key, which opens one workspace."""
    credentials = settings.target.credentials
    default = credentials.default
    if default is None or default.kind is not KeyKind.API_KEY:
        return False
    return not credentials.workspaces and not credentials.missing


def refuse_undone(engine: Engine, spec: RunSpec, sha256: str) -> None:
    """Send no input anew that was undone since it was last sent, in whatever mode either time.

    Raises:
        UsageError: it was.
    """
    run = find_alike(engine, spec, sha256, states=("open", "finished"), any_mode=True)
    if run is None or run.state == "open":
        return
    undo = find_undo(engine, chain_of(engine, run.run_no))
    if undo is not None:
        raise UsageError(
            f"run {run.id} has sent this input, and run {undo.id} undoes it; nothing was sent. If the credentials are "
            "to be assigned once more, run the same command with --again"
        )
