"""The sections of the settings: every option with its type, range, default and meaning.

A field here is all that an option needs: its flag, its variable and its key in a file follow from it.
"""

from __future__ import annotations

import ssl
from datetime import time, timedelta  # noqa: TC003 - pydantic reads the annotations at run time
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    PlainSerializer,
    StringConstraints,
)

from worker.config.credentials import Credentials
from worker.config.destinations import Address, hide_notify_url, parse_notify_urls
from worker.config.sources import Leaf
from worker.config.values import (
    Bound,
    format_deadline,
    hide_password,
    parse_codes,
    parse_deadline,
    parse_endpoint,
    parse_mapping,
    parse_proxy,
    parse_seconds,
    spelt_passwords,
)

__all__ = ["Guards", "Input", "Logging", "Output", "Sending", "Target", "Telling"]


def _not_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("is not a number")  # noqa: TRY004 - pydantic turns only ValueError into its own
    return value


def _certificates(path: Path) -> Path:
    if not path.is_file():
        raise ValueError("is not a file")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        raise ValueError("holds no certificates in PEM format") from None
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    return path


def _textfile(path: Path) -> Path:
    if path.suffix != ".prom":  # the collector reads no other, and so no input or ledger is overwritten
        raise ValueError("does not end in .prom")
    return path


def _text_encoding(name: str) -> str:
    try:
        "".encode(name).decode(name)
    except (LookupError, ValueError):
        raise ValueError("is not a text encoding that Python knows") from None
    return name


_Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
_Number = BeforeValidator(_not_bool)
_Seconds = Annotated[float, BeforeValidator(parse_seconds)]
_BoundOfRows = Annotated[
    InstanceOf[Bound] | None,
    BeforeValidator(lambda value: value if value is None else Bound.parse(value)),
    PlainSerializer(lambda value: value and str(value), when_used="json"),
]
_SecretUrl = Annotated[_Text, PlainSerializer(hide_password, when_used="json")]
_FIELDS = ("acs_credential_id", "acs_user_id", "user_identity_id", "workspace_id")


def _known_fields(mapping: dict[str, str]) -> dict[str, str]:
    for field in mapping:
        if field not in _FIELDS:
            raise ValueError(f"names {field!a}, which is no field")
    return mapping


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)


class Target(_Section):
    """The service, how it is reached, and the keys that open it."""

    endpoint: Annotated[
        str,
        BeforeValidator(parse_endpoint),
        Leaf("https://HOST[:PORT][/PATH]; http:// to this machine only", seam_env="SEAM_ENDPOINT"),
    ] = "https://connect.getseam.com"
    """Base URL without a trailing `/`; its host is lower case and a default port is left out."""
    proxy: Annotated[
        _SecretUrl | None,
        BeforeValidator(lambda value: value if value is None else parse_proxy(value)),
        Leaf("http[s]://HOST[:PORT], with USER:PASSWORD@ before HOST where it asks for them", is_secret=True),
    ] = Field(default=None, repr=False)
    """Requests go through it; the usual proxy variables of the environment are not read."""
    ca_file: Annotated[
        Annotated[Path, AfterValidator(_certificates)] | None,
        Leaf("a file of PEM certificates", is_path=True),
    ] = None
    """Certificates to trust in place of the system's, for a private endpoint."""
    credentials: InstanceOf[Credentials] = Field(default_factory=Credentials, exclude=True)

    def secret_values(self) -> tuple[str, ...]:
        """Every key, and the proxy's password, in the clear, for whatever removes them from output."""
        return (*self.credentials.secret_values(), *spelt_passwords(self.proxy))


class Sending(_Section):
    """How rows are sent."""

    concurrency: Annotated[int, _Number] = Field(default=256, ge=1, le=4096)
    """Upper bound on requests in flight; the throttle finds its own way below it."""
    rate: Annotated[Annotated[float, _Number, Field(gt=0)] | None, Leaf("a number of requests a second above 0")] = None
    """Upper bound on requests a second."""
    timeout: Annotated[_Seconds, Leaf("0.1 to 600 seconds, or a duration such as 45s or 2m")] = Field(
        default=30.0, ge=0.1, le=600
    )
    """Seconds for one whole attempt."""
    max_attempts: Annotated[int, _Number] = Field(default=5, ge=1, le=100)
    """Assign calls for one row; 429 and outages apart."""
    outage_patience: Annotated[_Seconds, Leaf("0 to 604800 seconds, or a duration such as 90m or 2h30m")] = Field(
        default=1800.0, ge=0, le=604_800
    )
    """Seconds for which a service that is down is waited for before the run ends, resumable."""
    details: bool = True
    """Read a credential's details where the reply to assign carries none."""
    sync: bool = False
    """Read the present owners first, and send only what differs."""
    takeover: Literal["allow", "refuse"] | None = None
    """Whether another owner may be replaced; None is the command's own: a plain run allows, sync refuses."""


class Guards(_Section):
    """What ends a run before its last row, resumable."""

    max_failures: Annotated[_BoundOfRows, Leaf("a number of rows (20) or a percentage (5%)")] = None
    """As many failed rows as this are borne."""
    max_takeovers: Annotated[_BoundOfRows, Leaf("a number of rows (20) or a percentage (5%)")] = None
    """So many credentials of other people may a sync take; more, and it sends nothing at all."""
    canary: Annotated[
        Annotated[int, _Number, Field(ge=1, le=1_000_000_000)] | None, Leaf("a number of rows from 1 to 1000000000")
    ] = None
    """So many rows go alone, and the rest only if all of them are well."""
    fail_on_warning: Annotated[
        tuple[str, ...], BeforeValidator(parse_codes), Leaf("a warning code, such as needs_to_be_reissued")
    ] = ()
    """The first result with one of these warnings ends the run."""
    allow_shrink: bool = False
    """Send a file with less than half of the rows that the last finished run of the same name had."""
    deadline: Annotated[
        InstanceOf[time] | InstanceOf[timedelta] | None,
        BeforeValidator(lambda value: value if value is None else parse_deadline(value)),
        PlainSerializer(lambda value: value and format_deadline(value), when_used="json"),
        Leaf("a time of day (06:00) or a duration (90m, 2h30m, 45s)"),
    ] = None
    """When to stop sending; `resolve_deadline` says which moment that is."""


class Input(_Section):
    """How the file of jobs is read, where that cannot be told from the file."""

    format: Literal["csv", "jsonl"] | None = None
    """None goes by the file's name."""
    encoding: Annotated[
        Annotated[_Text, AfterValidator(_text_encoding)] | None,
        Leaf("a text encoding, such as utf-8 or cp1252"),
    ] = None
    """None is UTF-8."""
    mapping: Annotated[
        dict[str, _Text],
        BeforeValidator(parse_mapping),
        AfterValidator(_known_fields),
        Leaf(f"FIELD=COLUMN, with FIELD one of {', '.join(_FIELDS)}", name="map"),
    ] = Field(default_factory=dict)
    """The input's column for a field, where the names differ."""


class Output(_Section):
    """Where the record goes."""

    ledger: Annotated[
        _SecretUrl | None,
        BeforeValidator(lambda value: str(value) if isinstance(value, Path) else value),
        Leaf("a path or a database URL", is_path=True, is_secret=True),
    ] = Field(default=None, repr=False)
    """A URL, or a path of an SQLite file; None is `assign-ledger.db` beside the input."""
    results: Annotated[Path | None, Leaf("a path", is_path=True)] = None
    """None is a file beside the input."""
    include_codes: bool = False
    """Write PINs and card numbers in the clear."""
    raw_cells: bool = False
    """Leave cells that a spreadsheet would run as they are."""
    name: _Text | None = None
    """What history compares by; None is the input file's name."""


class Logging(_Section):
    """What is said on stderr while a command works."""

    log_format: Literal["console", "json"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "warning"
    quiet: bool = False
    """Say nothing but warnings and the result."""
    progress: bool = True
    """Show a bar where stderr is a terminal."""


class Telling(_Section):
    """Who is told of a run, while it works and when it ends."""

    notify: Annotated[
        tuple[Annotated[str, PlainSerializer(hide_notify_url, when_used="json")], ...],
        BeforeValidator(parse_notify_urls),
        Leaf("URLs as Apprise has them, such as mailto://… or slack://…", is_secret=True),
    ] = Field(default=(), repr=False)
    """Told when the command ends; each URL is a secret."""
    notify_on: Literal["always", "failure"] = "always"
    """`failure`: only where the exit code is not 0."""
    metrics_port: Annotated[
        InstanceOf[Address] | None,
        BeforeValidator(lambda value: value if value is None else Address.parse(value)),
        PlainSerializer(lambda value: value and str(value), when_used="json"),
        Leaf("a port from 1 to 65535, or HOST:PORT"),
    ] = None
    """Prometheus reads the metrics there while the command works."""
    metrics_file: Annotated[
        Annotated[Path, AfterValidator(_textfile)] | None, Leaf("a path that ends in .prom", is_path=True)
    ] = None
    """The metrics as a file for a textfile collector, kept fresh and left behind."""
