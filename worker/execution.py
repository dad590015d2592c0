"""What one execution of a run has done so far."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.models import Call, Outcome, Stop

__all__ = ["Execution"]


@dataclass
class Execution:
    """What this execution has done so far; may be read at any time."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    calls: Counter[Call] = field(default_factory=Counter)
    limited: int = 0
    """429 replies."""
    stops: list[Stop] = field(default_factory=list)
    sending_seconds: float = 0.0

    def add(self, earlier: Execution) -> None:
        """Count an earlier part of the same execution in."""
        self.outcomes += earlier.outcomes
        self.calls += earlier.calls
        self.limited += earlier.limited
        self.stops[:0] = earlier.stops
        self.sending_seconds += earlier.sending_seconds
