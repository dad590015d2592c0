"""What the look-alike is told to be: frozen models, read from a TOML or JSON file, patched at run time.

Shares are numbers from 0 to 1, taken by hash of the credential (or user) id. Times are seconds; points in
time are seconds since the simulator started.
"""

from __future__ import annotations

import json
import re
import tomllib
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - a public signature, readable at run time
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from worker.errors import ConfigError
from worker.simulator.fault_settings import Faults, ReadFaults, Share, checked_shares

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = [
    "API_KEY",
    "FOREVER",
    "WORKSPACE_ID",
    "Access",
    "Latency",
    "Limit",
    "LimitKind",
    "LimitScope",
    "LimitStep",
    "LogDetail",
    "Outage",
    "OutageMode",
    "RetryAfterForm",
    "SimulatorSettings",
    "VoidForm",
    "World",
]

API_KEY: Final = "seam_simulator_key"
WORKSPACE_ID: Final = "5eed0000-0000-4000-8000-000000000001"
FOREVER: Final = 1e9
"""Seconds: the end of an outage that is switched off by hand."""

_FROZEN: Final = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Lower = Annotated[
    str,
    Field(
        pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
        description="a UUID in lower case",
    ),
]


class Access(BaseModel):
    """Who may call."""

    model_config = _FROZEN

    api_keys: dict[str, _Lower] = {API_KEY: WORKSPACE_ID}
    """API key to its one workspace."""
    personal_access_tokens: dict[str, tuple[_Lower, ...]] = {}
    """Token to the workspaces that it may name in `seam-workspace`; none listed means any."""
    refused_keys: tuple[str, ...] = ()
    """Keys and tokens that are answered 401 although they stand above: revoked."""


class World(BaseModel):
    """What exists, and how it looks."""

    model_config = _FROZEN

    systems_per_workspace: Annotated[int, Field(ge=1, le=10_000)] = 4
    unknown_credentials: Share = 0.0
    unknown_users: Share = 0.0
    """Of ACS users, and of user identities."""
    unknown_identity_status: Literal[400, 404] = 404
    foreign_credentials: Share = 0.0
    """Belong to somebody else until they are assigned."""
    children: Share = 0.0
    """Have a `parent_acs_credential_id`."""
    warnings: Share = 0.0
    """Carry a warning: every known code, and one that no client knows."""
    credential_errors: Share = 0.0
    identity_on_credential: bool = True
    """Whether a credential tells the `user_identity_id` of its owner."""
    becomes_issued_after: _Seconds = 0.0
    """After its assignment; until then a card is not issued and waits with a warning."""
    synced_after: _Seconds = 0.0
    """After its assignment; until then the lock maker's system has not heard of it."""
    canary_code: str | None = None
    """Stands as the PIN of every credential that has one; likewise below."""
    canary_card_number: str | None = None
    canary_original_code: str | None = None
    canary_new_code: str | None = None


class LimitKind(StrEnum):
    """How requests are counted against a limit."""

    NONE = "none"
    TOKEN_BUCKET = "token_bucket"  # noqa: S105 - no secret: a scheme of rate limits
    FIXED_WINDOW = "fixed_window"
    SLIDING_WINDOW = "sliding_window"
    CONCURRENCY = "concurrency"


class LimitScope(StrEnum):
    """Who shares a limit."""

    WORKSPACE = "workspace"
    GLOBAL = "global"


class RetryAfterForm(StrEnum):
    """What a 429 says of the time to come back."""

    NONE = "none"
    SECONDS = "seconds"
    DATE = "date"
    GARBAGE = "garbage"


class LimitStep(BaseModel):
    """From `at` on, the limit is another."""

    model_config = _FROZEN

    at: _Seconds
    rate: Annotated[float, Field(gt=0)]


class Limit(BaseModel):
    """A rate limit. `rate` is requests a second; a window's quota is `rate` times `window`."""

    model_config = _FROZEN

    kind: LimitKind = LimitKind.NONE
    rate: Annotated[float, Field(gt=0)] = 100.0
    burst: Annotated[float, Field(ge=1)] | None = None
    """Tokens in a full bucket; by default those of one second."""
    window: Annotated[float, Field(gt=0)] = 1.0
    concurrency: Annotated[int, Field(ge=1)] = 10
    counts_rejects: bool = False
    """Whether a 429 counts against the limit too."""
    retry_after: RetryAfterForm = RetryAfterForm.SECONDS
    retry_after_seconds: _Seconds | None = None
    """Said in place of the time that it really takes."""
    html: bool = False
    """A proxy's 429: an HTML page without a request id."""
    steps: tuple[LimitStep, ...] = ()

    def rate_at(self, age: float) -> float:
        """The rate `age` seconds after the start."""
        rate = self.rate
        for step in self.steps:
            if step.at <= age:
                rate = step.rate
        return rate


class Latency(BaseModel):
    """How long a reply takes: lognormal around `median`, plus what a crowd adds."""

    model_config = _FROZEN

    median: _Seconds = 0.0
    sigma: Annotated[float, Field(ge=0, le=5)] = 0.0
    """Of the logarithm; 0 makes every reply take `median`."""
    free_in_flight: Annotated[int, Field(ge=0)] = 0
    per_in_flight: _Seconds = 0.0
    """Added for every request in flight beyond `free_in_flight`."""


class OutageMode(StrEnum):
    """What callers see while the service is down."""

    HTTP_503 = "http_503"
    RESET = "reset"
    """A connection is made, and reset once a request has come."""
    REFUSED = "refused"
    """Nobody listens; open connections are reset."""


class Outage(BaseModel):
    """When the service is down: `windows` of (from, to)."""

    model_config = _FROZEN

    mode: OutageMode = OutageMode.HTTP_503
    windows: tuple[tuple[_Seconds, Annotated[float, Field(ge=0)]], ...] = ()
    retry_after: Annotated[int, Field(ge=0)] | None = None
    """Seconds, said with every 503."""

    def active(self, age: float) -> bool:
        """Whether the service is down `age` seconds after the start."""
        return any(begin <= age < end for begin, end in self.windows)


class VoidForm(StrEnum):
    """A success that carries no credential."""

    OK_ONLY = "ok_only"
    EMPTY_OBJECT = "empty_object"
    EMPTY_BODY = "empty_body"
    NO_CONTENT_204 = "no_content_204"


class LogDetail(StrEnum):
    """What the truth log keeps."""

    ALL = "all"
    APPLIED = "applied"
    """Changes of owners only."""


class SimulatorSettings(BaseModel):
    """Everything together. `seed` decides all that the shares hit."""

    model_config = _FROZEN

    seed: int = 0
    access: Access = Access()
    world: World = World()
    void: dict[VoidForm, Share] = {}
    """Shares of assignments whose success carries no credential; the rest answers in full."""
    limit: Limit = Limit()
    limit_scope: LimitScope = LimitScope.WORKSPACE
    workspace_limits: dict[_Lower, Limit] = {}
    """Workspaces with a limit of their own."""
    latency: Latency = Latency()
    faults: Faults = Faults()
    read_faults: ReadFaults = ReadFaults()
    outage: Outage = Outage()
    expect_continue: bool = True
    """Whether `Expect: 100-continue` is answered at all."""
    log: LogDetail = LogDetail.ALL

    @model_validator(mode="after")
    def _void_shares(self) -> Self:
        checked_shares(self.void)
        return self

    @classmethod
    def load(cls, path: Path) -> SimulatorSettings:
        """Read a TOML file, or a JSON file where the name ends in `.json`.

        Raises:
            ConfigError: The file cannot be read, or a key in it is unknown or out of range.
        """
        try:
            content = path.read_text("utf-8")
            values = json.loads(content) if path.suffix == ".json" else tomllib.loads(content)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path} cannot be read as settings: {error}") from None
        return cls().patched(values, source=str(path))

    def patched(self, values: object, *, source: str = "the settings") -> SimulatorSettings:
        """A copy with `values` (nested objects, as in a file) laid over it.

        Raises:
            ConfigError: A key is unknown or out of range; the message names it.
        """
        if not isinstance(values, dict):
            raise ConfigError(f"{source}: an object of settings is needed")
        try:
            return SimulatorSettings.model_validate(_merged(self.model_dump(mode="json"), values))
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            key = ".".join(str(part) for part in first["loc"] if part != "[key]") or "settings"
            raise ConfigError(f"{source}: {key}: {_reason(first)}") from None


def _reason(error: ErrorDetails) -> str:
    """What is wrong with one setting; a name that does not exist is answered with the nearest, or with all."""
    if error["type"] == "extra_forbidden":
        return "no such setting"
    if error["type"] == "enum" and error["loc"][-1] == "[key]":
        known = re.findall(r"'(\w+)'", error["ctx"]["expected"])
        near = get_close_matches(str(error["loc"][-2]), known, n=1)
        return f"no such kind; did you mean {near[0]}?" if near else f"no such kind; there are {', '.join(known)}"
    return error["msg"]


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged
