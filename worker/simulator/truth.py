"""The truth log: what came, what was applied, what was answered. Tests compare the worker's ledger with it.

Every event is a line of JSON with `seq` (from 1), `t` (Unix seconds), `kind`, `route` (assign, unassign, get,
list, users/get, owners, elsewhere), `request_id`, `workspace`, `credential` (the last three null where there is
none), and by kind:

- `received` (a valid assign or unassign): `user_key`, `user`
- `applied`: `acs_user` and `user_identity` (the owner now, null for nobody), `previous_acs_user`
- `changed`: as `applied`, for an owner who was changed behind everybody's back
- `replied` (assign, unassign, elsewhere): `status` (null where no reply came), `fault` (null where it went well)
- `read` (get, list, users/get): as `replied`
- `limited`: as `replied`, for a 429 on any route, with `retry_after` (seconds, null where none was said)

Lines go to a temporary file, so that a million rows cost no memory.
"""

from __future__ import annotations

import json
import os
from array import array
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from worker.simulator.settings import LogDetail

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Origin", "Owner", "TruthLog"]

_STRIDE: Final = 256
"""Events between two remembered places in the file."""
_CHUNK: Final = 1 << 18


class Origin(NamedTuple):
    """The request that an event belongs to."""

    route: str
    request_id: str | None = None
    workspace: str | None = None
    credential: str | None = None


class Owner(NamedTuple):
    """Whose a credential is; None for nobody's."""

    acs_user: str | None
    user_identity: str | None


class TruthLog:
    """Append-only. Ids are written as they are: callers pass canonical UUIDs or None."""

    def __init__(self, detail: LogDetail) -> None:
        self.detail = detail
        self._file = TemporaryFile("ab", prefix="seam-simulator-")  # noqa: SIM115 - closed by `close`
        self._seq = 0
        self._size = 0
        self._places = array("Q")

    def close(self) -> None:
        """Forget everything."""
        self._file.close()

    def received(self, t: float, call: Origin, user_key: str, user: str) -> None:
        """A valid assign or unassign came, and no limit stood before it."""
        if self.detail is LogDetail.ALL:
            self._append(t, "received", call, f'"user_key":"{user_key}","user":"{user}"')

    def applied(self, t: float, call: Origin, owner: Owner, previous: str | None) -> None:
        """A call set the owner of a credential, be it to the same one."""
        self._append(t, "applied", call, _owner(owner, previous))

    def changed(self, t: float, call: Origin, owner: Owner, previous: str | None) -> None:
        """The owner was changed behind everybody's back."""
        self._append(t, "changed", call, _owner(owner, previous))

    def replied(self, t: float, call: Origin, status: int | None, fault: str | None) -> None:
        """A request that may change something was answered, or left without an answer."""
        if self.detail is LogDetail.ALL:
            self._append(t, "replied", call, f'"status":{status or "null"},"fault":{_text(fault)}')

    def read(self, t: float, call: Origin, status: int | None, fault: str | None) -> None:
        """A get, list or users/get was answered, or left without an answer."""
        if self.detail is LogDetail.ALL:
            self._append(t, "read", call, f'"status":{status or "null"},"fault":{_text(fault)}')

    def limited(self, t: float, call: Origin, retry_after: float | None) -> None:
        """A 429, with the seconds to wait that were told."""
        if self.detail is LogDetail.ALL:
            told = "null" if retry_after is None else repr(retry_after)
            self._append(t, "limited", call, f'"status":429,"fault":null,"retry_after":{told}')

    def chunks(self, after: int = 0) -> Iterator[bytes]:
        """The events with a higher `seq` as JSON lines, in pieces that end where a line ends."""
        end = self._size
        place = self._places[after // _STRIDE] if after < self._seq else end
        skipped = after % _STRIDE
        rest = b""
        self._file.flush()
        while place < end:
            piece = os.pread(self._file.fileno(), min(_CHUNK, end - place), place)
            place += len(piece)
            lines, _, rest = (rest + piece).rpartition(b"\n")
            if skipped:  # less than a stride, and so within the first piece
                lines = lines.split(b"\n", skipped)[skipped]
                skipped = 0
            if lines:
                yield lines + b"\n"

    def events(self, after: int = 0) -> Iterator[dict[str, Any]]:
        """The events with a higher `seq`."""
        for chunk in self.chunks(after):
            for line in chunk.splitlines():
                yield json.loads(line)

    def _append(self, t: float, kind: str, call: Origin, fields: str) -> None:
        if self._seq % _STRIDE == 0:
            self._places.append(self._size)
        self._seq += 1
        line = (
            f'{{"seq":{self._seq},"t":{t!r},"kind":"{kind}","route":"{call.route}",'
            f'"request_id":{_text(call.request_id)},"workspace":{_text(call.workspace)},'
            f'"credential":{_text(call.credential)},{fields}}}\n'
        ).encode()
        self._size += len(line)
        self._file.write(line)


def _owner(owner: Owner, previous: str | None) -> str:
    return (
        f'"acs_user":{_text(owner.acs_user)},"user_identity":{_text(owner.user_identity)},'
        f'"previous_acs_user":{_text(previous)}'
    )


def _text(value: str | None) -> str:
    return "null" if value is None else f'"{value}"'
