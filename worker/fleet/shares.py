"""How the jobs under way in one worker share its requests in flight and its commits: equally, as they come and go."""

from __future__ import annotations

from worker.lane import Endpoint

__all__ = ["Shares"]


class Shares:
    """Divides the bound. Used from one event loop.

    A share that shrinks is kept to as its requests end; until then it is the session's pool that keeps all of them
    within the bound.
    """

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._taken: list[Endpoint] = []

    def take(self) -> Endpoint:
        """A job begins: its share, which will change; give it back."""
        endpoint = Endpoint(self._concurrency)
        self._taken.append(endpoint)
        self._divide()
        return endpoint

    def give_back(self, endpoint: Endpoint) -> None:
        """The job is over."""
        self._taken.remove(endpoint)
        self._divide()

    def _divide(self) -> None:
        for endpoint in self._taken:
            endpoint.sharers = len(self._taken)
            endpoint.concurrency = max(self._concurrency // len(self._taken), 1)
