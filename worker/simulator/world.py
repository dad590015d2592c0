"""Who owns what: the state behind the routes. No I/O; the time is always an argument.

Whatever id is asked for exists, unless its hash falls into an unknown share; it is remembered from then on,
in the workspace that asked first. Ids are 16 bytes here (`worker.simulator.ids`).
"""

from __future__ import annotations

from itertools import islice
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from worker.simulator.ids import NOBODY, Draw, Seeded, Subject, id_text, packed, share_hits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.simulator.settings import World as WorldSettings

__all__ = ["Change", "Holding", "Person", "UnknownUserError", "World"]

_HOLDING: Final = Struct("<16s16sId")
NEVER: Final = 0.0


class Holding(NamedTuple):
    """A credential as it stands."""

    user: bytes
    """`NOBODY` where it is free."""
    identity: bytes
    workspace: int
    assigned_at: float
    """Unix seconds; 0 where nobody was assigned here yet."""


class Person(NamedTuple):
    """An ACS user: who it is, and in which system."""

    user: bytes
    identity: bytes
    system: bytes


class Change(NamedTuple):
    """What a call did to a credential."""

    before: Holding
    after: Holding


class UnknownUserError(Exception):
    """The user or identity does not exist; a reply, not a failure."""


class World:
    """All workspaces of one simulator."""

    def __init__(self, seeded: Seeded, settings: WorldSettings) -> None:
        self.settings = settings
        self._seeded = seeded
        self._holdings: dict[bytes, bytes] = {}
        self._order: dict[int, list[bytes]] = {}
        self._people: dict[bytes, bytes] = {}
        self._named: dict[bytes, bytes] = {}
        self._extras: dict[bytes, dict[str, Any]] = {}
        self._systems: dict[tuple[str, int], bytes] = {}
        self._workspaces: dict[str, int] = {}
        self._workspace_ids: list[str] = []

    def find(self, subject: Subject) -> Holding | None:
        """The credential as it stands; None where its workspace has no such one."""
        credential, draws, workspace = subject
        place = self._place(workspace)
        known = self._holdings.get(credential)
        if known is not None:
            holding = Holding._make(_HOLDING.unpack(known))
            return holding if holding.workspace == place else None
        if share_hits(draws[Draw.UNKNOWN], self.settings.unknown_credentials):
            return None
        user = identity = NOBODY
        if share_hits(draws[Draw.FOREIGN], self.settings.foreign_credentials):
            user = self._seeded.derived(b"owner", credential)
            if draws[Draw.HAS_IDENTITY] % 2 == 0:
                identity = self._seeded.derived(b"owner identity", credential)
            self._introduce(Person(user, identity, self.system_of(subject)))
        holding = Holding(user, identity, place, NEVER)
        self._keep(credential, holding)
        self._order.setdefault(place, []).append(credential)
        return holding

    def assign(self, subject: Subject, holding: Holding, key: str, user: bytes, now: float) -> Change:
        """Give the credential to an ACS user, or to an identity, which gets a user where it has none.

        Raises:
            UnknownUserError: There is no such user or identity; nothing was changed.
        """
        person = self.person(user) if key == "acs_user_id" else self._linked(user, self.system_of(subject))
        after = Holding(person.user, person.identity, holding.workspace, now)
        self._keep(subject.raw, after)
        return Change(holding, after)

    def exists(self, key: str, user: bytes) -> bool:
        """Whether the user or identity exists."""
        if key == "acs_user_id" and user in self._people:
            return True
        return not share_hits(self._seeded.draws(user)[Draw.UNKNOWN], self.settings.unknown_users)

    def unassign(self, credential: bytes, holding: Holding, key: str, user: bytes) -> Change:
        """Take the credential away, where the one named has it; else nothing changes."""
        if user != (holding.user if key == "acs_user_id" else holding.identity):
            return Change(holding, holding)
        after = Holding(NOBODY, NOBODY, holding.workspace, NEVER)
        self._keep(credential, after)
        return Change(holding, after)

    def person(self, user: bytes) -> Person:
        """An ACS user by its own id.

        Raises:
            UnknownUserError: There is no such user.
        """
        known = self._people.get(user)
        if known is not None:
            return Person(user, known[:16], known[16:])
        if not self.exists("acs_user_id", user):
            raise UnknownUserError
        return Person(user, NOBODY, NOBODY)

    def person_of(self, identity: bytes, system: bytes) -> Person:
        """The ACS user that an identity has in a system.

        Raises:
            UnknownUserError: It has none yet.
        """
        user = self._named.get(identity + system) or self._seeded.derived(b"user", identity + system)
        known = self._people.get(user)
        if known is None:
            raise UnknownUserError
        return Person(user, known[:16], known[16:])

    def system_of(self, subject: Subject) -> bytes:
        """The access system that a credential (or a user) lives in."""
        extra = self._extras.get(subject.raw)
        if extra is not None and "acs_system_id" in extra:
            return packed(extra["acs_system_id"])
        number = subject.draws[Draw.SYSTEM] % self.settings.systems_per_workspace
        known = self._systems.get((subject.workspace, number))
        if known is None:
            raw = packed(subject.workspace) + number.to_bytes(4, "big")
            known = self._systems[subject.workspace, number] = self._seeded.derived(b"system", raw)
        return known

    def home_of(self, person: Person, workspace: str) -> bytes:
        """The system of a person; one who was never introduced lives where the hash says."""
        if person.system != NOBODY:
            return person.system
        return self.system_of(self._seeded.subject(person.user, workspace))

    def extras_of(self, credential: bytes) -> dict[str, Any] | None:
        """Fields that were seeded for a credential, to stand over the derived ones."""
        return self._extras.get(credential)

    def seed(self, credential: bytes, workspace: str, extras: dict[str, Any]) -> None:
        """Make a credential known, or another one than it was; `extras` are fields as Seam names them."""
        fields = dict(extras)
        user_id, identity_id = fields.pop("acs_user_id", None), fields.pop("user_identity_id", None)
        if fields:
            self._extras[credential] = fields
        identity = packed(identity_id) if identity_id else NOBODY
        system = self.system_of(self._seeded.subject(credential, workspace))
        if user_id is None and identity_id is not None:
            user = self._linked(identity, system, certain=True).user
        else:
            user = packed(user_id) if user_id else NOBODY
            if identity != NOBODY or user != NOBODY:
                self._introduce(Person(user, identity, system))
        if credential not in self._holdings:
            self._order.setdefault(self._place(workspace), []).append(credential)
        self._keep(credential, Holding(user, identity, self._place(workspace), NEVER))

    def hand_over(self, credential: bytes, workspace: str, user: bytes, identity: bytes) -> Change | None:
        """Change the owner behind everybody's back; None where this workspace has no such credential."""
        subject = self._seeded.subject(credential, workspace)
        before = self.find(subject)
        if before is None:
            return None
        if user != NOBODY:
            self._introduce(Person(user, identity, self.system_of(subject)))
        after = Holding(user, identity, before.workspace, before.assigned_at)
        self._keep(credential, after)
        return Change(before, after)

    def page(self, workspace: str, start: int) -> Iterator[tuple[int, bytes, Holding]]:
        """The workspace's known credentials from a place on, in the order in which they became known."""
        order = self._order.get(self._place(workspace), [])
        for place, credential in enumerate(islice(order, start, None), start):
            yield place, credential, Holding._make(_HOLDING.unpack(self._holdings[credential]))

    def owners(self) -> Iterator[dict[str, object]]:
        """Every credential that has an owner now."""
        for credential in list(self._holdings):  # more may become known while this is read
            holding = Holding._make(_HOLDING.unpack(self._holdings[credential]))
            if holding.user == NOBODY:
                continue
            yield {
                "acs_credential_id": id_text(credential),
                "acs_user_id": id_text(holding.user),
                "user_identity_id": None if holding.identity == NOBODY else id_text(holding.identity),
                "workspace_id": self._workspace_ids[holding.workspace],
                "assigned_here": holding.assigned_at > NEVER,
            }

    def _linked(self, identity: bytes, system: bytes, *, certain: bool = False) -> Person:
        try:
            return self.person_of(identity, system)
        except UnknownUserError:
            if not certain and not self.exists("user_identity_id", identity):
                raise
        person = Person(self._seeded.derived(b"user", identity + system), identity, system)
        self._people[person.user] = identity + system
        return person

    def _introduce(self, person: Person) -> None:
        self._people[person.user] = person.identity + person.system
        if person.identity != NOBODY:
            self._named[person.identity + person.system] = person.user

    def _keep(self, credential: bytes, holding: Holding) -> None:
        self._holdings[credential] = _HOLDING.pack(*holding)

    def _place(self, workspace: str) -> int:
        place = self._workspaces.get(workspace)
        if place is None:
            place = self._workspaces[workspace] = len(self._workspace_ids)
            self._workspace_ids.append(workspace)
        return place
