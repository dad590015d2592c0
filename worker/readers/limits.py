"""How much of a file is held at once, in characters unless said otherwise."""

from __future__ import annotations

from typing import Final

__all__ = ["CHUNK", "CUT", "MAX_FIELD", "MAX_RECORD", "TOO_LONG", "excerpt"]

MAX_FIELD: Final = 64 * 1024
"""A cell, or a string inside a JSON object; a longer one makes its row invalid."""
MAX_RECORD: Final = 1024 * 1024
"""A physical line, or a CSV record over several; a longer one makes its row invalid."""
CHUNK: Final = 256 * 1024
"""Bytes read, after decompression, before lines are made of them."""
CUT: Final = 1000
"""What is kept, for the results, of a text that was refused for its length."""

TOO_LONG: Final = f"The row is longer than {MAX_RECORD:,} characters."


def excerpt(text: str, limit: int = MAX_FIELD) -> str:
    """The text itself up to `limit`, of a longer one its beginning and an ellipsis."""
    return text if len(text) <= limit else text[:CUT] + "…"
