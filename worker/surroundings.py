"""What an execution is given, beside the run itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from worker.config import Settings
    from worker.control import Control, Progress
    from worker.guards import Intent
    from worker.models import Step
    from worker.paths import Paths
    from worker.ports import AttemptObserver

__all__ = ["Surroundings"]


def _nobody(_: Progress) -> None:
    """Nobody watches."""


@dataclass(frozen=True)
class Surroundings:
    """Settings, files, and who is told and asked."""

    settings: Settings
    paths: Paths
    control: Control
    watch: Callable[[Progress], None] = _nobody
    """Called in the event loop some ten times a second."""
    observers: tuple[AttemptObserver, ...] = ()
    on_step: Callable[[Step], None] | None = None
    command: Sequence[str] = ()
    """What the report names as the way to go on."""
    rehearsal: bool = False
    confirm: Callable[[Intent], Awaitable[bool]] | None = None
    """Asked before the first send; cancelled when the run is stopped meanwhile."""
