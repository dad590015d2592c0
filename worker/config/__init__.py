"""Settings: from flags, the environment, a file and defaults, in small frozen sections, loaded once."""

from worker.config.credentials import Credentials, KeyKind, MissingKey, ResolvedKey
from worker.config.destinations import Address, hide_notify_url
from worker.config.sections import Guards, Input, Logging, Output, Sending, Target, Telling
from worker.config.settings import Settings, load_settings
from worker.config.sources import Option, options_of
from worker.config.values import Bound, Deadline, hide_password, is_loopback, resolve_deadline

__all__ = [
    "Address",
    "Bound",
    "Credentials",
    "Deadline",
    "Guards",
    "Input",
    "KeyKind",
    "Logging",
    "MissingKey",
    "Option",
    "Output",
    "ResolvedKey",
    "Sending",
    "Settings",
    "Target",
    "Telling",
    "hide_notify_url",
    "hide_password",
    "is_loopback",
    "load_settings",
    "options_of",
    "resolve_deadline",
]
