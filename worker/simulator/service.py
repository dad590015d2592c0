"""Seam's routes: from a request to its reply, through outage, key, limit, checks, faults and state."""

from __future__ import annotations

import asyncio
from hashlib import blake2b
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple

from worker.simulator.access import workspace_of
from worker.simulator.exchange import Exchange
from worker.simulator.fault_settings import Fault, ReadFault
from worker.simulator.faulty import is_applied, perform, perform_read, planned, planned_read
from worker.simulator.ids import Draw, packed
from worker.simulator.mutations import Mutator
from worker.simulator.reads import Reader
from worker.simulator.replies import HTML_PAGE, HTML_TYPE, Reply, limited, plain_not_found, seam_error
from worker.simulator.requests import (
    GetRequest,
    ListRequest,
    Mutation,
    UserRequest,
    parse_get,
    parse_json,
    parse_list,
    parse_mutation,
    parse_user,
)
from worker.simulator.settings import OutageMode
from worker.simulator.truth import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from aiohttp import web

    from worker.simulator.exchange import Written
    from worker.simulator.ids import Subject
    from worker.simulator.settings import Limit
    from worker.simulator.state import State

__all__ = ["Service"]

_Parsed = Mutation | GetRequest | ListRequest | UserRequest | Reply


class _Route(NamedTuple):
    name: str
    methods: frozenset[str]
    parse: Callable[[dict[str, Any]], _Parsed]


_POST: Final = frozenset({"POST"})
"""Of the routes that only read."""
_WRITES: Final = frozenset({"POST", "PATCH"})
_ROUTES: Final[Mapping[str, _Route]] = {
    "/acs/credentials/assign": _Route("assign", _WRITES, parse_mutation),
    "/acs/credentials/unassign": _Route("unassign", _WRITES, parse_mutation),
    "/acs/credentials/get": _Route("get", _POST, parse_get),
    "/acs/credentials/list": _Route("list", _POST, parse_list),
    "/acs/users/get": _Route("users/get", _POST, parse_user),
}
_ELSEWHERE: Final = _Route("elsewhere", frozenset(), lambda _: plain_not_found())


class _Call:
    """One request on its way through the service."""

    __slots__ = ("body", "credential", "exchange", "route", "workspace")

    def __init__(self, exchange: Exchange, route: _Route) -> None:
        self.exchange = exchange
        self.route = route
        self.body = b""
        self.workspace: str | None = None
        self.credential: str | None = None

    @property
    def origin(self) -> Origin:
        """The call as the log names it."""
        return Origin(self.route.name, self.exchange.request_id, self.workspace, self.credential)


class Service:
    """Answers Seam's routes, and 404 in plain text everything else."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._mutator = Mutator(state)
        self._reader = Reader(state)
        self._late: set[asyncio.TimerHandle] = set()

    def close(self) -> None:
        """Forget what was still to be applied late."""
        for handle in self._late:
            handle.cancel()
        self._late.clear()

    async def answer(self, request: web.BaseRequest, path: str) -> Written:
        """Answer one request."""
        state = self._state
        call = _Call(Exchange(request, state.next_request_id()), _ROUTES.get(path, _ELSEWHERE))
        state.stats.enter()
        try:
            if state.settings.expect_continue and "Expect" in request.headers:
                call.exchange.continue_()
            call.body = await request.read()
            return await self._guarded(call, request)
        finally:
            state.stats.leave(call.workspace)

    async def _guarded(self, call: _Call, request: web.BaseRequest) -> Written:
        state, route = self._state, call.route
        granted = workspace_of(state.settings.access, request.headers)
        parsed = self._parsed(call)
        if isinstance(granted, str):
            call.workspace = granted
            state.stats.name(granted)
        if state.settings.outage.active(state.age):
            self._note_received(call, parsed)
            return self._down(call)
        if route is _ELSEWHERE:
            return await self._refused(call, plain_not_found())
        if request.method not in route.methods:
            return await self._refused(
                call, seam_error(HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", "Use POST.")
            )
        if isinstance(granted, Reply):
            return await self._refused(call, granted)
        limit, limiter = state.limits.of(granted)
        wait = limiter.take(state.age)
        if wait is not None:
            return await self._limited(call, limit, wait)
        try:
            if isinstance(parsed, Reply):
                return await self._refused(call, parsed)
            self._note_received(call, parsed)
            await self._pause()
            if isinstance(parsed, Mutation):
                return await self._mutate(call, parsed, granted)
            return await self._read(call, parsed, granted)
        finally:
            limiter.release()

    def _parsed(self, call: _Call) -> _Parsed:
        values = parse_json(call.body)
        if isinstance(values, Reply):
            return values
        parsed = call.route.parse(values)
        if isinstance(parsed, Mutation | GetRequest):
            call.credential = parsed.credential
        return parsed

    def _note_received(self, call: _Call, parsed: _Parsed) -> None:
        if isinstance(parsed, Mutation) and call.workspace is not None:
            self._state.truth.received(self._state.clock(), call.origin, parsed.user_key, parsed.user)

    async def _pause(self) -> None:
        seconds = self._state.latency()
        if seconds:
            await asyncio.sleep(seconds)

    async def _refused(self, call: _Call, reply: Reply) -> Written:
        await self._pause()
        return self._end(call, reply)

    def _end(self, call: _Call, reply: Reply, fault: str | None = None) -> Written:
        self._note_answered(call, reply.status, fault)
        return call.exchange.reply(reply)

    def _note_answered(self, call: _Call, status: int | None, fault: str | None) -> None:
        state = self._state
        state.stats.answered(call.route.name, status, call.workspace)
        tell = state.truth.read if call.route.methods is _POST else state.truth.replied
        tell(state.clock(), call.origin, status, fault)

    def _down(self, call: _Call) -> Written:
        outage = self._state.settings.outage
        if outage.mode is not OutageMode.HTTP_503:
            self._note_answered(call, None, "outage")
            return call.exchange.reset()
        said = "" if outage.retry_after is None else f"Retry-After: {outage.retry_after}\r\n"
        reply = Reply(HTTPStatus.SERVICE_UNAVAILABLE, HTML_PAGE, HTML_TYPE, has_request_id=False, headers=said)
        return self._end(call, reply, "outage")

    async def _limited(self, call: _Call, limit: Limit, wait: float) -> Written:
        state = self._state
        await self._pause()
        now = state.clock()
        reply, told = limited(limit, wait, now)
        state.stats.answered(call.route.name, reply.status, call.workspace)
        state.truth.limited(now, call.origin, told)
        return call.exchange.reply(reply)

    async def _mutate(self, call: _Call, mutation: Mutation, workspace: str) -> Written:
        state, faults = self._state, self._state.settings.faults
        subject = state.seeded.subject(packed(mutation.credential), workspace)
        fault = state.faults.pick(subject.raw, subject.draws[Draw.FAULT])
        if fault is None:
            return self._end(call, self._mutator.apply(call.origin, mutation, subject))
        true = Reply(HTTPStatus.OK)
        if is_applied(fault, faults, subject.draws):
            true = self._mutator.apply(call.origin, mutation, subject, fault=fault)
        elif fault is Fault.LATE:
            self._apply_later(call.origin, mutation, subject)
        shown = planned(fault, true, faults, subject.draws)
        self._note_answered(call, None if shown is None else shown.status, fault.value)
        return await perform(call.exchange, fault, shown, faults)

    def _apply_later(self, call: Origin, mutation: Mutation, subject: Subject) -> None:
        def apply() -> None:
            self._late.discard(handle)
            self._mutator.apply(call, mutation, subject)

        handle = asyncio.get_running_loop().call_later(self._state.settings.faults.late_after, apply)
        self._late.add(handle)

    async def _read(self, call: _Call, parsed: GetRequest | ListRequest | UserRequest, workspace: str) -> Written:
        state = self._state
        if isinstance(parsed, GetRequest):
            key = packed(parsed.credential)
        else:
            key = blake2b(call.body, digest_size=16).digest()
        subject = state.seeded.subject(key, workspace)
        fault = state.read_faults.pick(key, subject.draws[Draw.READ_FAULT])
        if fault is ReadFault.LIMITED_429:
            return await self._limited(call, state.settings.limit, 1.0)
        if fault is not None:
            shown = planned_read(fault, state.settings.read_faults, subject.draws)
            self._note_answered(call, None if shown is None else shown.status, fault.value)
            return await perform_read(call.exchange, fault, shown)
        match parsed:
            case GetRequest():
                return self._end(call, self._reader.get(subject))
            case ListRequest():
                return self._end(call, self._reader.list(parsed, workspace))
            case UserRequest():
                return self._end(call, self._reader.user(parsed, workspace))
