"""A way to the service that can be cut: a process that passes bytes on, to be named as a plain proxy."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
from functools import partial
from typing import Self
from urllib.parse import urlsplit

__all__ = ["Forwarder"]


class Forwarder:
    """Passes on what it gets to the service at a URL, for as long as its block runs."""

    def __init__(self, service: str) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "tests.soak.forwarder", str(urlsplit(service).port)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{self._process.stdout.readline().strip()}"

    def refuse(self) -> None:
        """Reset what is open, and take no connection any more."""
        self._process.kill()

    def fall_silent(self) -> None:
        """Still take connections, and give nothing back."""
        self._process.send_signal(signal.SIGSTOP)

    def __enter__(self) -> Self:
        """It works since it was made."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it; what it still had is not passed on."""
        self._process.kill()
        self._process.communicate()


async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await source.read(1 << 16):
            target.write(piece)
            await target.drain()
    target.transport.abort()  # a reset stays one


async def _serve(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        there, onward = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        writer.transport.abort()
        return
    await asyncio.gather(_pass_on(reader, onward), _pass_on(there, writer))


async def _main(port: int) -> None:
    server = await asyncio.start_server(partial(_serve, port), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - a command
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
