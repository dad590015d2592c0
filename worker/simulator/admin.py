"""The simulator's own routes, below `/_simulator`: seed, change behind everybody's back, look."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from aiohttp import web

from worker.errors import ConfigError
from worker.simulator.ids import NOBODY, canonical, packed
from worker.simulator.mutations import shown_id
from worker.simulator.settings import FOREVER, OutageMode
from worker.simulator.truth import Origin, Owner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from worker.simulator.settings import SimulatorSettings
    from worker.simulator.state import State

__all__ = ["Admin", "outage_patch"]

_PIECE = 1 << 18


class _BadRequestError(Exception):
    """The message is the reply."""


def outage_patch(age: float, mode: OutageMode | None, seconds: float | None) -> dict[str, Any]:
    """Settings for an outage from now on; a mode of None ends every outage."""
    if mode is None:
        return {"outage": {"windows": []}}
    end = FOREVER if seconds is None else age + seconds
    return {"outage": {"mode": mode.value, "windows": [[age, end]]}}


class Admin:
    """Handlers of the control routes.

    Args:
        state: what they look at and change.
        configure: takes new settings, wherever they matter.
    """

    def __init__(self, state: State, configure: Callable[[SimulatorSettings], None]) -> None:
        self._state = state
        self._configure = configure

    async def answer(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        """Answer one control request."""
        try:
            match request.method, path.removeprefix("/_simulator/"):
                case "POST", "credentials":
                    return await self._seed(request)
                case "POST", "owners":
                    return await self._hand_over(request)
                case "POST", "settings":
                    return self._patch(_json(await request.read()))
                case "POST", "outage":
                    return self._outage(_json(await request.read()))
                case "GET", "settings":
                    return web.json_response(self._state.settings.model_dump(mode="json"))
                case "GET", "stats":
                    return web.json_response(self._state.stats.snapshot())
                case "GET", "log":
                    return await _streamed(request, self._log(request.rel_url.query.get("after", "0")))
                case "GET", "owners":
                    return await _streamed(request, self._owners())
        except (_BadRequestError, ConfigError) as error:
            return web.json_response({"error": str(error)}, status=HTTPStatus.BAD_REQUEST)
        return web.json_response({"error": "no such control route"}, status=HTTPStatus.NOT_FOUND)

    def _patch(self, values: object) -> web.Response:
        self._configure(self._state.settings.patched(values))
        return web.json_response(self._state.settings.model_dump(mode="json"))

    def _outage(self, values: object) -> web.Response:
        if not isinstance(values, dict) or not values.keys() <= {"mode", "seconds"}:
            raise _BadRequestError("an object with mode and seconds is needed")
        mode, seconds = values.get("mode"), values.get("seconds")
        if mode is not None and mode not in list(OutageMode):
            raise _BadRequestError(f"mode is one of {', '.join(OutageMode)}, or null")
        if seconds is not None and not isinstance(seconds, int | float):
            raise _BadRequestError("seconds is a number")
        if mode == OutageMode.REFUSED and seconds is None:
            raise _BadRequestError("seconds is needed: nobody could end it over HTTP")
        found = None if mode is None else OutageMode(mode)
        return self._patch(outage_patch(self._state.age, found, seconds))

    async def _seed(self, request: web.BaseRequest) -> web.Response:
        number = 0
        async for number, record in _records(request):
            credential, workspace = self._named(record, number)
            for key in ("acs_user_id", "user_identity_id", "acs_system_id"):
                if record.get(key) is not None:
                    record[key] = _id(record, key, number)
            self._state.world.seed(credential, workspace, record)
        return web.json_response({"seeded": number})

    async def _hand_over(self, request: web.BaseRequest) -> web.Response:
        state, number = self._state, 0
        async for number, record in _records(request):
            text = _id(record, "acs_credential_id", number)
            credential, workspace = self._named(record, number)
            user, identity = (
                NOBODY if record.get(key) is None else packed(_id(record, key, number))
                for key in ("acs_user_id", "user_identity_id")
            )
            change = state.world.hand_over(credential, workspace, user, identity)
            if change is None:
                raise _BadRequestError(f"record {number}: no such credential")
            state.truth.changed(
                state.clock(),
                Origin("owners", None, workspace, text),
                Owner(shown_id(user), shown_id(identity)),
                shown_id(change.before.user),
            )
        return web.json_response({"changed": number})

    def _named(self, record: dict[str, Any], number: int) -> tuple[bytes, str]:
        credential = packed(_id(record, "acs_credential_id", number))
        record.pop("acs_credential_id")
        if record.get("workspace_id") is None:
            record.pop("workspace_id", None)
            workspace = next(iter(self._state.settings.access.api_keys.values()), None)
            if workspace is None:
                raise _BadRequestError(f"record {number}: workspace_id is needed")
            return credential, workspace
        workspace = _id(record, "workspace_id", number)
        record.pop("workspace_id")
        return credential, workspace

    def _log(self, after: str) -> Iterator[bytes]:
        if not (after.isascii() and after.isdigit()):
            raise _BadRequestError("after is a number")
        return self._state.truth.chunks(int(after))

    def _owners(self) -> Iterator[bytes]:
        lines: list[str] = []
        size = 0
        for owner in self._state.world.owners():
            lines.append(json.dumps(owner))
            size += len(lines[-1])
            if size > _PIECE:
                yield ("\n".join(lines) + "\n").encode()
                lines, size = [], 0
        if lines:
            yield ("\n".join(lines) + "\n").encode()


async def _streamed(request: web.BaseRequest, pieces: Iterator[bytes]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    for piece in pieces:
        await response.write(piece)
    await response.write_eof()
    return response


async def _records(request: web.BaseRequest) -> AsyncIterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON list, or of JSON lines, numbered from 1."""
    body = bytearray()
    async for piece in request.content.iter_any():
        body += piece
    if body.lstrip().startswith(b"["):
        records = _json(bytes(body))
    else:
        records = [_json(line) for line in bytes(body).splitlines() if line.strip()]
    for number, record in enumerate(records if isinstance(records, list) else [], 1):
        if not isinstance(record, dict):
            raise _BadRequestError(f"record {number} is no object")
        yield number, record


def _json(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError:
        raise _BadRequestError("the body is not JSON") from None


def _id(record: dict[str, Any], key: str, number: int) -> str:
    found = canonical(record.get(key))
    if found is None:
        raise _BadRequestError(f"record {number}: {key} is no UUID")
    return found
