"""What is read after a void reply: details where the row's person has the credential, else a sentence that says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.pipeline.harness import PERSON, job, send
from worker.models import Call, Outcome, UserKey
from worker.testing import Fault, MemorySeam, MemoryShards

if TYPE_CHECKING:
    from worker.seam import AcsCredential

CREDENTIAL = job(1).acs_credential_id


class Moved(MemorySeam):
    """A service that says nothing about what it did, and whose credentials are somebody's by the time of a reading."""

    owner: str | None = "somebody"
    named: str = CREDENTIAL

    def _credential(self, credential: str) -> AcsCredential:
        found = super()._credential(credential)
        return found.model_copy(update={"acs_user_id": self.owner, "acs_credential_id": self.named})


def void(seam: MemorySeam, key: UserKey = UserKey.ACS_USER) -> MemoryShards:
    """One row, whose reply is void."""
    seam.script(CREDENTIAL, Fault.VOID)
    return MemoryShards([job(1, key)])


@pytest.mark.parametrize("key", list(UserKey))
@pytest.mark.parametrize(("owner", "said"), [("somebody", "user somebody has it"), (None, "nobody has it")])
def test_another_owner_is_told_and_is_not_the_rows(key: UserKey, owner: str | None, said: str) -> None:
    """The outcome is recorded and stays; who has the credential now got it from somebody else."""
    seam = Moved()
    seam.owner = owner
    shards = void(seam, key)
    send(shards, seam)
    result = shards.results[1]
    assert (result.outcome, result.details_due) == (Outcome.ASSIGNED, False)
    assert result.detail == f"accepted, but a reading afterwards showed that {said}; `verify` tells what is so now"
    assert (result.assigned_acs_user_id, result.assigned_user_identity_id) == (None, None)
    assert result.acs_system_id == "system"


@pytest.mark.parametrize("key", list(UserKey))
def test_the_rows_own_person_needs_no_word(key: UserKey) -> None:
    """A person who is named by identity is asked for where the credential tells the user alone."""
    seam = MemorySeam()
    shards = void(seam, key)
    send(shards, seam)
    result = shards.results[1]
    assert result.detail is None
    assert result.assigned_acs_user_id == (PERSON if key is UserKey.ACS_USER else f"user-of-{PERSON}")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault.NOT_FOUND, "a reading afterwards showed no such credential"),
        (Fault.REFUSED, "whose it is could not be read afterwards (user_identity_not_found)"),
        (Fault.UNUSABLE, "whose it is could not be read afterwards (unusable_reply)"),
    ],
)
def test_a_reading_that_shows_no_credential_is_told(fault: Fault, said: str) -> None:
    """Details that are missing have a reason."""
    seam = MemorySeam()
    shards = void(seam)
    seam.script(CREDENTIAL, *[fault] * 9, call=Call.GET)
    send(shards, seam)
    result = shards.results[1]
    assert (result.outcome, result.acs_system_id) == (Outcome.ASSIGNED, None)
    assert result.detail == f"accepted, but {said}; `verify` tells what is so now"


def test_a_reading_of_another_credential_gives_no_details() -> None:
    """What it says is of that one."""
    seam = Moved()
    seam.named = "another"
    shards = void(seam)
    send(shards, seam)
    assert (shards.results[1].acs_system_id, shards.results[1].assigned_acs_user_id) == (None, None)
    assert "could not be read afterwards (mismatched_reply)" in (shards.results[1].detail or "")


@pytest.mark.parametrize("takeover_refused", [True, False])
def test_an_owner_that_is_no_id_forges_no_line(*, takeover_refused: bool) -> None:
    """Whom the service names is quoted in a sentence: as one line that drives no terminal, and no long one."""
    seam = Moved()
    seam.owner = "\x1b]0;x\x07\x1b[31mEVIL\u202e\nrow" + "y" * 1000
    shards = void(seam)
    send(shards, seam, takeover_refused=takeover_refused)
    detail = shards.results[1].detail or ""
    assert "user ]0;x [31mEVIL row" in detail
    assert detail.isprintable()
    assert len(detail) < 700
