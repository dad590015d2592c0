"""Seam's schema, and what a reply has against it.

`schema.json` holds the routes in use, from Seam's OpenAPI, types 1.1038.0 (2026-08-21), without its prose.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

from jsonschema import Draft202012Validator, FormatChecker  # type: ignore[import-untyped] # it ships no types

__all__ = ["fields_of", "methods_of", "problems"]

_SCHEMA: Final[dict[str, Any]] = json.loads((Path(__file__).parent / "schema.json").read_text("utf-8"))


def problems(route: str, part: str, body: object) -> list[str]:
    """What is wrong with a body, as `path: message`; empty where it conforms.

    Args:
        route: e.g. `/acs/credentials/assign`.
        part: `request` or `response`.
        body: decoded JSON.
    """
    return [
        f"{'/'.join(map(str, error.absolute_path))}: {error.message}"
        for error in _validator(route, part).iter_errors(body)
    ]


def fields_of(component: str) -> frozenset[str]:
    """The fields that an object of the schema has at all."""
    return frozenset(_SCHEMA["components"]["schemas"][component]["properties"])


def methods_of(route: str) -> list[str]:
    """The HTTP methods of a route, in capitals."""
    methods: list[str] = _SCHEMA["routes"][route]["methods"]
    return methods


@cache
def _validator(route: str, part: str) -> Draft202012Validator:
    schema = {**_SCHEMA["routes"][route][part], "components": _SCHEMA["components"]}
    return Draft202012Validator(_standard(schema), format_checker=FormatChecker())


def _standard(schema: Any) -> Any:
    """OpenAPI 3.0 says `nullable` where JSON Schema lists null among the types."""
    if isinstance(schema, list):
        return [_standard(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _standard(value) for key, value in schema.items() if key != "nullable"}
    if schema.get("nullable") is True:
        found["type"] = [found["type"], "null"]
    return found
