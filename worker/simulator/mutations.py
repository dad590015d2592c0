"""Assign and unassign: the change, its event, and the reply that tells of it."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from worker.simulator.fault_settings import Fault
from worker.simulator.ids import NOBODY, Draw, id_text, packed
from worker.simulator.replies import VOID_BODIES, Reply, seam_error
from worker.simulator.settings import VoidForm
from worker.simulator.truth import Owner
from worker.simulator.world import UnknownUserError

if TYPE_CHECKING:
    from worker.simulator.ids import Subject
    from worker.simulator.requests import Mutation
    from worker.simulator.state import State
    from worker.simulator.truth import Origin
    from worker.simulator.world import Holding

__all__ = ["Mutator", "credential_not_found", "shown_id"]


def credential_not_found() -> Reply:
    """404 of Seam's."""
    return seam_error(HTTPStatus.NOT_FOUND, "acs_credential_not_found", "ACS credential not found.")


def shown_id(raw: bytes) -> str | None:
    """The id, or None for nobody."""
    return None if raw == NOBODY else id_text(raw)


class Mutator:
    """Changes owners."""

    def __init__(self, state: State) -> None:
        self._state = state

    def apply(self, call: Origin, mutation: Mutation, subject: Subject, *, fault: Fault | None = None) -> Reply:
        """Do what was asked for, log it, and say so; or refuse, with nothing changed.

        Args:
            call: for the log; its route tells assign from unassign.
            mutation: the body.
            subject: the credential.
            fault: whose reply this is to be, where it names somebody else.
        """
        state, is_assign = self._state, call.route == "assign"
        user = packed(mutation.user)
        holding = state.world.find(subject)
        if holding is None:
            return credential_not_found()
        now = state.clock()
        try:
            if is_assign:
                change = state.world.assign(subject, holding, mutation.user_key, user, now)
            else:
                change = state.world.unassign(subject.raw, holding, mutation.user_key, user)
        except UnknownUserError:
            return self._unknown_user(mutation.user_key)
        after = change.after
        state.stats.applied(subject.workspace)
        owner = Owner(shown_id(after.user), shown_id(after.identity))
        state.truth.applied(now, call, owner, shown_id(change.before.user))
        form = state.void.kind_of(subject.draws[Draw.VOID]) if is_assign else None
        if form is not None:
            status = HTTPStatus.NO_CONTENT if form is VoidForm.NO_CONTENT_204 else HTTPStatus.OK
            return Reply(status, VOID_BODIES[form])
        return self._told(subject, after, fault)

    def _unknown_user(self, user_key: str) -> Reply:
        if user_key == "acs_user_id":
            return seam_error(HTTPStatus.NOT_FOUND, "acs_user_not_found", "ACS user not found.")
        status = self._state.settings.world.unknown_identity_status
        return seam_error(status, "user_identity_not_found", "User identity not found.")

    def _told(self, subject: Subject, holding: Holding, fault: Fault | None) -> Reply:
        state = self._state
        id_shown = None
        if fault is Fault.OTHER_CREDENTIAL:
            id_shown = state.seeded.derived(b"other credential", subject.raw)
        elif fault is Fault.OTHER_USER:
            other = state.seeded.derived(b"other user", subject.raw)
            identity = NOBODY
            if holding.identity != NOBODY:
                identity = state.seeded.derived(b"other identity", subject.raw)
            holding = holding._replace(user=other, identity=identity)
        body = state.writer.credential(subject, holding, state.clock(), id_shown=id_shown)
        return Reply(HTTPStatus.OK, f'{{"acs_credential":{body},"ok":true}}'.encode())
