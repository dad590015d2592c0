"""Notifications through Apprise, the one place that knows it. Needs the extra `notify`.

A URL is a secret: neither it nor what Apprise logs about it is shown, only its scheme.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from typing import TYPE_CHECKING, Final

from worker.config import hide_notify_url
from worker.errors import UsageError
from worker.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

    from apprise import Apprise

    from worker.cli.message import Message

__all__ = ["Notifier"]

SEND_SECONDS: Final = 10.0
"""How long the end of a command waits for its notifications."""


class Notifier:
    """Sends one message to several services at once.

    Raises:
        UsageError: the extra is missing, or a URL is none that Apprise can use.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        try:
            import apprise  # noqa: PLC0415 - optional
        except ImportError:
            raise UsageError(
                "--notify needs Apprise, which is not installed: pip install '.[notify]' in a checkout"
            ) from None
        # Its own lines would be more than one for a failure, and may show what a URL holds.
        logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
        asset = apprise.AppriseAsset(app_id="assign-worker")
        if hasattr(asset, "_service_timeout"):
            # Newer ones have a time limit, and so send in a pool for whose threads the interpreter's exit would wait.
            asset = apprise.AppriseAsset(app_id="assign-worker", service_timeout=0)
        self._targets: list[tuple[str, Apprise]] = []
        for number, url in enumerate(urls, 1):
            target = apprise.Apprise(asset=asset)
            if not target.add(url):
                raise UsageError(
                    f"--notify: URL {number} ({hide_notify_url(url)}) is none that Apprise can use; "
                    "https://github.com/caronc/apprise/wiki tells how each service's URL is written"
                )
            self._targets.append((hide_notify_url(url), target))

    def send(self, message: Message) -> None:
        """Send it everywhere, within `SEND_SECONDS`; what fails is a warning each."""
        sendings = [(shown, _Sending(target, message)) for shown, target in self._targets]
        until = time.monotonic() + SEND_SECONDS
        # Whoever interrupts it waits for the summary, and has it now, under the run's own exit code.
        with contextlib.suppress(KeyboardInterrupt), _terminated_as_interrupted():
            for _, sending in sendings:
                sending.start()
            for _, sending in sendings:
                sending.ended.wait(max(0.0, until - time.monotonic()))
        for shown, sending in sendings:
            if not sending.sent:
                how = "could not be sent" if sending.ended.is_set() else "was not sent in time"
                get_logger().warning(f"the notification to {shown} {how}; the run is not affected")


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM, too, ends no more than the waiting: the run has ended, and is to be told under its own exit code."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Sending:
    """One message on its way to one service, in a thread that nobody has to wait for."""

    def __init__(self, target: Apprise, message: Message) -> None:
        self.sent = False
        self.ended = threading.Event()
        self._target = target
        self._message = message

    def start(self) -> None:
        """Begin to send it."""
        threading.Thread(target=self._send, name="notification", daemon=True).start()

    def _send(self) -> None:
        from apprise import NotifyFormat, NotifyType  # noqa: PLC0415 - optional

        code = self._message.exit_code
        kind = NotifyType.SUCCESS if code == 0 else NotifyType.WARNING if code == 1 else NotifyType.FAILURE
        try:
            self.sent = bool(
                self._target.notify(
                    title=self._message.title, body=self._message.body, notify_type=kind, body_format=NotifyFormat.TEXT
                )
            )
        except Exception:  # noqa: BLE001 - a plugin may raise anything, with the URL in it; that it failed is told
            self.sent = False
        finally:
            self.ended.set()
