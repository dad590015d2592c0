"""Get, list and users/get."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING

from worker.simulator.ids import packed
from worker.simulator.mutations import credential_not_found
from worker.simulator.replies import Reply, seam_error
from worker.simulator.requests import page_cursor
from worker.simulator.world import UnknownUserError

if TYPE_CHECKING:
    from worker.simulator.ids import Subject
    from worker.simulator.requests import ListRequest, UserRequest
    from worker.simulator.state import State

__all__ = ["Reader"]


class Reader:
    """Tells what is."""

    def __init__(self, state: State) -> None:
        self._state = state

    def get(self, subject: Subject) -> Reply:
        """One credential."""
        state = self._state
        holding = state.world.find(subject)
        if holding is None:
            return credential_not_found()
        body = state.writer.credential(subject, holding, state.clock())
        return Reply(HTTPStatus.OK, f'{{"acs_credential":{body},"ok":true}}'.encode())

    def list(self, request: ListRequest, workspace: str) -> Reply:
        """One page of the workspace's known credentials, oldest known first."""
        state, world = self._state, self._state.world
        now = state.clock()
        system = packed(request.system) if request.system else None
        user = packed(request.acs_user) if request.acs_user else None
        identity = packed(request.identity) if request.identity else None
        found: list[str] = []
        cursor = None
        for place, credential, holding in world.page(workspace, request.start):
            if user is not None and holding.user != user:
                continue
            if identity is not None and holding.identity != identity:
                continue
            subject = state.seeded.subject(credential, workspace)
            if system is not None and world.system_of(subject) != system:
                continue
            if len(found) == request.limit:
                cursor = page_cursor(request, place)
                break
            found.append(state.writer.credential(subject, holding, now))
        url = None if cursor is None else f"http://simulator/acs/credentials/list?page_cursor={cursor}"
        pagination = json.dumps({"next_page_cursor": cursor, "has_next_page": cursor is not None, "next_page_url": url})
        body = f'{{"acs_credentials":[{",".join(found)}],"pagination":{pagination},"ok":true}}'
        return Reply(HTTPStatus.OK, body.encode())

    def user(self, request: UserRequest, workspace: str) -> Reply:
        """An ACS user, by its id or by identity and system."""
        world = self._state.world
        try:
            if request.acs_user is not None:
                person = world.person(packed(request.acs_user))
            else:
                person = world.person_of(packed(request.identity or ""), packed(request.system or ""))
        except UnknownUserError:
            return seam_error(HTTPStatus.NOT_FOUND, "acs_user_not_found", "ACS user not found.")
        body = self._state.writer.user(person, workspace)
        return Reply(HTTPStatus.OK, f'{{"acs_user":{body},"ok":true}}'.encode())
