"""The cost of a row layer by layer, in CPU: bare loop, client, pipeline, ledger (`ladder`)."""

from __future__ import annotations

from statistics import median
from typing import Final

from bench_speed.processes import HERE, WORKER_PYTHON, run, serving

__all__ = ["LAYERS", "measure"]

LAYERS: Final = {"bare aiohttp": None, "client": "client", "pipeline": "pipeline", "ledger": "ledger"}
"""Each holds what stands before it, the bare loop apart."""
IN_FLIGHT: Final = 64


def measure(rows: int, rounds: int) -> dict[str, float]:
    """CPU microseconds per row, at once, by layer: medians of so many rounds in alternation."""
    found: dict[str, list[float]] = {layer: [] for layer in LAYERS}
    with serving(0.0) as service:
        for _ in range(rounds):
            for layer, step in LAYERS.items():
                command = [HERE / "ladder.py", step] if step else [HERE / "peers/bare_aiohttp.py"]
                took = run([WORKER_PYTHON, *command, service.url, rows, IN_FLIGHT]).json()
                found[layer].append(took["cpu_seconds"] / rows * 1e6)
    return {layer: median(samples) for layer, samples in found.items()}
