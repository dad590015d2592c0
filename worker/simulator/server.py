"""The simulator as a server: sockets, the way in, and its end."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from worker.simulator.admin import Admin, outage_patch
from worker.simulator.exchange import CLOSES, reset
from worker.simulator.service import Service
from worker.simulator.settings import OutageMode, SimulatorSettings
from worker.simulator.state import State

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

__all__ = ["RunningSimulator", "Simulator"]

_BACKLOG: Final = 4096
_GATE_CHECK: Final = 0.01
_CONTROL: Final = "/_simulator/"


class RunningSimulator:
    """A simulator that listens, and the truth that it keeps."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._service = Service(state)
        self._admin = Admin(state, self._take)
        self._http = web.Server(self._handle, access_log=None)
        self._listener: asyncio.Server | None = None
        self._gate: asyncio.Task[None] | None = None
        self._host = ""
        self._port = 0
        self.url = ""
        """Where it listens, without a slash at its end."""

    @property
    def api_key(self) -> str:
        """The first API key that it accepts."""
        return next(iter(self._state.settings.access.api_keys), "")

    @property
    def settings(self) -> SimulatorSettings:
        """As they are now."""
        return self._state.settings

    def configure(self, values: dict[str, Any]) -> None:
        """Lay settings over the present ones; nested objects, as in a file.

        Raises:
            ConfigError: A key is unknown or out of range.
        """
        self._take(self._state.settings.patched(values))

    def outage(self, mode: OutageMode | None, seconds: float | None = None) -> None:
        """Go down now, for some seconds or until `outage(None)`."""
        self.configure(outage_patch(self._state.age, mode, seconds))

    def events(self, after: int = 0) -> Iterator[dict[str, Any]]:
        """The truth log (`worker.simulator.truth`), from behind event `after`."""
        return self._state.truth.events(after)

    def owners(self) -> Iterator[dict[str, object]]:
        """Every credential that has an owner now."""
        return self._state.world.owners()

    def stats(self) -> dict[str, object]:
        """Requests by route and status, and by workspace."""
        return self._state.stats.snapshot()

    async def open(self, host: str, port: int) -> None:
        """Listen; port 0 takes a free one."""
        self._host, self._port = host, port
        await self._listen()
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._port}"
        self._watch_gate()

    async def close(self) -> None:
        """Stop listening, and drop whatever is under way."""
        if self._gate is not None:
            self._gate.cancel()
        self._stop_listening()
        self._service.close()
        await self._http.shutdown(0)
        self._state.truth.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        if not path.startswith("/"):  # the whole URL: it came through a plain proxy
            path = request.rel_url.raw_path
        if path.startswith(_CONTROL):
            return await self._admin.answer(request, path)
        try:
            return await self._service.answer(request, path)
        except ConnectionError:
            return CLOSES  # the caller went before its reply came

    def _take(self, settings: SimulatorSettings) -> None:
        self._state.configure(settings)
        self._watch_gate()

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._http, self._host, self._port, backlog=_BACKLOG)
        self._port = self._listener.sockets[0].getsockname()[1]

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _watch_gate(self) -> None:
        outage = self._state.settings.outage
        if outage.mode is OutageMode.REFUSED and outage.windows and (self._gate is None or self._gate.done()):
            self._gate = asyncio.get_running_loop().create_task(self._keep_gate())

    async def _keep_gate(self) -> None:
        """Refuse connections by not listening, as long as an outage of that kind is on or to come."""
        while True:
            outage, age = self._state.settings.outage, self._state.age
            refusing = outage.mode is OutageMode.REFUSED and outage.active(age)
            if refusing and self._listener is not None:
                self._stop_listening()
                for connection in self._http.connections:
                    if connection.transport is not None:
                        reset(connection.transport)
            elif not refusing:
                if self._listener is None:
                    await self._listen()
                if outage.mode is not OutageMode.REFUSED or all(end <= age for _, end in outage.windows):
                    return
            await asyncio.sleep(_GATE_CHECK)


class Simulator:
    """A Seam look-alike, not yet running.

    Args:
        settings: what it is to be.
        clock: Unix seconds; limits, outages and the log go by it.
    """

    def __init__(self, settings: SimulatorSettings | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings if settings is not None else SimulatorSettings()
        self._clock = clock

    @asynccontextmanager
    async def serve(self, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[RunningSimulator]:
        """Run until the block ends. Nothing outside is asked for a key, so keep it on loopback.

        Raises:
            OSError: The address cannot be listened on.
        """
        server = RunningSimulator(State(self._settings, self._clock))
        try:
            await server.open(host, port)
            yield server
        finally:
            await server.close()
