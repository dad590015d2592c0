"""Calls against a running simulator: by aiohttp, and by bare bytes where the wire itself is looked at."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import UUID

import aiohttp

from worker.simulator import API_KEY, RunningSimulator, Simulator, SimulatorSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

ASSIGN = "/acs/credentials/assign"
UNASSIGN = "/acs/credentials/unassign"
GET = "/acs/credentials/get"
LIST = "/acs/credentials/list"
GET_USER = "/acs/users/get"

PATIENCE = 10.0


def an_id(number: int, kind: int = 0xC) -> str:
    """A UUID by number; `kind` keeps credentials and people apart."""
    return str(UUID(int=(kind << 120) | number))


def a_user(number: int) -> str:
    """An ACS user's id."""
    return an_id(number, 0xA)


def an_identity(number: int) -> str:
    """A user identity's id."""
    return an_id(number, 0xB)


@dataclass(frozen=True)
class Answer:
    """A complete reply."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    @property
    def credential(self) -> dict[str, Any]:
        """The credential in the body."""
        found: dict[str, Any] = self.json["acs_credential"]
        return found

    @property
    def error(self) -> str:
        """Seam's `error.type`."""
        kind: str = self.json["error"]["type"]
        return kind


class Caller:
    """A client of one simulator."""

    def __init__(self, server: RunningSimulator, session: aiohttp.ClientSession) -> None:
        self.server = server
        self._session = session

    async def send(
        self,
        path: str,
        body: object = None,
        *,
        method: str = "POST",
        key: str | None = API_KEY,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send JSON (or bytes as they are), and read the reply whole."""
        sent = dict(headers or {})
        if key is not None:
            sent["Authorization"] = f"Bearer {key}"
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self._session.request(
            method, self.server.url + path, data=data, headers=sent, allow_redirects=False
        ) as reply:
            return Answer(reply.status, dict(reply.headers), await reply.read())

    async def assign(self, credential: int, user: int = 1, **sent: Any) -> Answer:
        """Assign to an ACS user, all by number."""
        body = {"acs_credential_id": an_id(credential), "acs_user_id": a_user(user)}
        return await self.send(ASSIGN, body, **sent)

    async def assign_identity(self, credential: int, identity: int = 1) -> Answer:
        """Assign to an identity, all by number."""
        body = {"acs_credential_id": an_id(credential), "user_identity_id": an_identity(identity)}
        return await self.send(ASSIGN, body)

    async def get(self, credential: int, **sent: Any) -> Answer:
        """Read a credential by number."""
        return await self.send(GET, {"acs_credential_id": an_id(credential)}, **sent)

    async def control(self, path: str, body: object = None) -> Answer:
        """Call a control route: POST with a body, else GET."""
        return await self.send(f"/_simulator/{path}", body, method="GET" if body is None else "POST")

    def kinds(self) -> list[str]:
        """The truth log as a list of kinds."""
        return [event["kind"] for event in self.server.events()]

    def applied(self) -> list[dict[str, Any]]:
        """What the truth log says was applied."""
        return [event for event in self.server.events() if event["kind"] == "applied"]

    async def wire(
        self, path: str, body: object, *, until: Callable[[bytes], bool] = lambda _: False
    ) -> tuple[bytes, str]:
        """Send one request as bare bytes, and read until the end, or until `until` is satisfied.

        Returns:
            All bytes, and how it ended: `open`, `closed` or `reset`.
        """
        async with asyncio.timeout(PATIENCE):
            where = urlsplit(self.server.url)
            reader, writer = await asyncio.open_connection(where.hostname, where.port)
            data = json.dumps(body).encode()
            head = (
                f"POST {path} HTTP/1.1\r\nHost: simulator\r\nAuthorization: Bearer {API_KEY}\r\n"
                f"Content-Length: {len(data)}\r\n\r\n"
            )
            writer.write(head.encode() + data)
            seen = b""
            try:
                while not until(seen):
                    piece = await reader.read(1 << 16)
                    if not piece:
                        return seen, "closed"
                    seen += piece
            except ConnectionResetError:
                return seen, "reset"
            else:
                return seen, "open"
            finally:
                writer.close()


@asynccontextmanager
async def running(*, clock: Callable[[], float] | None = None, **settings: Any) -> AsyncIterator[Caller]:
    """A simulator with settings as in a file, and a client of it."""
    built = SimulatorSettings().patched(settings)
    simulator = Simulator(built) if clock is None else Simulator(built, clock=clock)
    async with simulator.serve() as server, aiohttp.ClientSession(auto_decompress=False) as session:
        async with asyncio.timeout(60):
            yield Caller(server, session)


def split_reply(wire: bytes) -> tuple[str, dict[str, str], bytes]:
    """Status line, headers (lower case) and the rest."""
    head, _, rest = wire.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    pairs = (line.split(": ", 1) for line in lines)
    return status, {name.lower(): value for name, value in pairs}, rest


def whole(wire: bytes) -> bool:
    """Whether a reply with a Content-Length is complete."""
    if b"\r\n\r\n" not in wire:
        return False
    _, headers, rest = split_reply(wire)
    return len(rest) >= int(headers.get("content-length", "0"))
