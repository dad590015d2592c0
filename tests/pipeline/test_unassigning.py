"""Rows of an undo that take a credential back: nobody has it only where no identity has it either."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.pipeline.harness import PERSON, job, send
from worker.claim import KnownOwner, OpenRow
from worker.models import Outcome
from worker.outcomes import names_another
from worker.seam import AcsCredential
from worker.testing import MemorySeam, MemoryShards

if TYPE_CHECKING:
    from collections.abc import Sequence

CREDENTIAL = job(1).acs_credential_id
STRANGER = "00000000-0000-0000-0000-00000000000b"
TAKEN_BACK = job(1)._replace(unassign=True)


class OfAnUndo(MemoryShards):
    """Rows of which the person is expected to have the credential."""

    def fetch(self, shard: int, *, after_row: int, limit: int) -> Sequence[OpenRow]:
        """`ShardSource.fetch`."""
        rows = super().fetch(shard, after_row=after_row, limit=limit)
        return [row._replace(owner=KnownOwner(PERSON, 0.0)) for row in rows]


@dataclass
class Told(MemorySeam):
    """A service that knows of identities without a user: who has the credential once no user has it."""

    identities: dict[str, str] = field(default_factory=dict)

    def _credential(self, credential: str) -> AcsCredential:
        found = super()._credential(credential)
        identity = self.identities.get(credential) if found.acs_user_id is None else None
        return found.model_copy(update={"user_identity_id": identity})


@pytest.mark.parametrize(("identity", "outcome"), [(None, Outcome.UNASSIGNED), (STRANGER, Outcome.CONFLICT)])
def test_an_identity_without_a_user_has_it_too(identity: str | None, outcome: Outcome) -> None:
    """The reply to unassign names somebody: reading it back tells that it was not taken back from everybody."""
    seam = Told(owners={CREDENTIAL: PERSON}, identities={} if identity is None else {CREDENTIAL: identity})
    shards = OfAnUndo([TAKEN_BACK])
    send(shards, seam)
    assert shards.results[1].outcome is outcome
    assert seam.events.count(("sent", CREDENTIAL)) == 1
    assert (STRANGER in (shards.results[1].detail or "")) == (identity is not None)


@pytest.mark.parametrize(
    ("user", "identity", "named"),
    [(None, None, False), (PERSON, None, True), (None, STRANGER, True), (PERSON, STRANGER, True)],
)
def test_whom_a_reply_to_unassign_names(user: str | None, identity: str | None, *, named: bool) -> None:
    """Anybody at all is one too many."""
    credential = AcsCredential(acs_credential_id=CREDENTIAL, acs_user_id=user, user_identity_id=identity)
    assert names_another(TAKEN_BACK, credential) is named
