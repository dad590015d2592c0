"""Metrics for whoever reads them: over HTTP while a command works, and as a file that stays."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Final

from prometheus_client import start_http_server, write_to_textfile

from worker.errors import UsageError
from worker.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from prometheus_client import CollectorRegistry

    from worker.config import Address

__all__ = ["kept_in_file", "served"]

WRITE_INTERVAL: Final = 15.0
"""Seconds between two writings of the file."""


@contextlib.contextmanager
def served(registry: CollectorRegistry, address: Address) -> Iterator[None]:
    """Answer Prometheus within the block.

    Raises:
        UsageError: nothing can be listened to there.
    """
    try:
        server, thread = start_http_server(address.port, address.host, registry)
    except OSError as error:
        raise UsageError(f"--metrics-port {address}: cannot listen there: {error.strerror or error}") from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def kept_in_file(registry: CollectorRegistry, path: Path, interval: float = WRITE_INTERVAL) -> Iterator[None]:
    """Keep the file fresh within the block, and leave the last figures in it; each writing replaces it whole.

    Raises:
        UsageError: it cannot be written at the beginning. Later it is a warning, once.
    """
    try:
        write_to_textfile(str(path), registry)
    except OSError as error:
        raise UsageError(f"--metrics-file {path}: cannot be written: {error.strerror or error}") from None
    ended = threading.Event()
    writer = threading.Thread(target=_keep, args=(registry, path, interval, ended), name="metrics-file", daemon=True)
    writer.start()
    try:
        yield
    finally:
        ended.set()
        writer.join()


def _keep(registry: CollectorRegistry, path: Path, interval: float, ended: threading.Event) -> None:
    has_warned = False
    while True:
        is_last = ended.wait(interval)
        try:
            write_to_textfile(str(path), registry)
        except OSError as error:
            if not has_warned:
                get_logger().warning(f"--metrics-file {path} cannot be written: {error.strerror or error}")
            has_warned = True
        if is_last:
            return
