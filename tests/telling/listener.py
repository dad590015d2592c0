"""A web server that keeps what it is sent: a webhook, or a collector of spans."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple, Self


class Heard(NamedTuple):
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes


class Listener:
    """Answers every POST with one status; within a `with` block.

    Args:
        status: the answer.
        silent: take requests and never answer them.
    """

    def __init__(self, status: int = 200, *, silent: bool = False) -> None:
        self.heard: list[Heard] = []
        self._released = threading.Event()
        if not silent:
            self._released.set()
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                """Keep it, then answer."""
                body = self.rfile.read(int(self.headers["Content-Length"]))
                listener.heard.append(
                    Heard(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                )
                listener._released.wait()
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self.port = self._server.server_port

    def __enter__(self) -> Self:
        """Listen."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End it, and let those go that wait."""
        self._released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
