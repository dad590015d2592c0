"""One table of options: names, precedence, errors, and settings made in a program."""

from __future__ import annotations

import json
import threading
from datetime import time, timedelta
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings

from worker.config import (
    Address,
    Bound,
    Credentials,
    Guards,
    Option,
    Sending,
    Settings,
    Target,
    load_settings,
    options_of,
)
from worker.errors import ConfigError

OPTIONS = options_of(Settings)

AUTHORITY = Path(__file__).with_name("authority.pem")
"""The certificate of an authority that nobody has the key of."""
CODES = ("needs_to_be_reissued", "requested_code_unavailable")
# A value for every option, as text, and what it becomes.
SAMPLES: dict[str, tuple[str, object]] = {
    "endpoint": ("https://example.com/", "https://example.com"),
    "proxy": ("http://proxy:3128", "http://proxy:3128"),
    "ca_file": (str(AUTHORITY), AUTHORITY),
    "concurrency": ("64", 64),
    "rate": ("2.5", 2.5),
    "timeout": ("45s", 45.0),
    "max_attempts": ("9", 9),
    "outage_patience": ("2h", 7200.0),
    "details": ("false", False),
    "sync": ("true", True),
    "takeover": ("refuse", "refuse"),
    "max_failures": ("5%", Bound(percent=5)),
    "max_takeovers": ("20", Bound(count=20)),
    "canary": ("10", 10),
    "fail_on_warning": ("needs_to_be_reissued, requested_code_unavailable", CODES),
    "allow_shrink": ("true", True),
    "deadline": ("06:00", time(6)),
    "format": ("jsonl", "jsonl"),
    "encoding": ("cp1252", "cp1252"),
    "map": ("acs_user_id=Person", {"acs_user_id": "Person"}),
    "ledger": ("/data/run.db", "/data/run.db"),
    "results": ("/data/out.csv", Path("/data/out.csv")),
    "include_codes": ("true", True),
    "raw_cells": ("1", True),
    "name": ("tower", "tower"),
    "log_format": ("json", "json"),
    "log_level": ("debug", "debug"),
    "quiet": ("yes", True),
    "progress": ("off", False),
    "notify": ("json://*** mailto://***", ("json://***", "mailto://***")),
    "notify_on": ("failure", "failure"),
    "metrics_port": ("0.0.0.0:9109", Address("0.0.0.0", 9109)),  # noqa: S104 - a setting, nobody listens
    "metrics_file": ("/data/night.prom", Path("/data/night.prom")),
}


def value_of(settings: Settings, option: Option) -> object:
    """One setting's value."""
    return getattr(getattr(settings, option.section), option.field)


def write(path: Path, text: str) -> Path:
    """A file of settings."""
    path.write_text(text)
    return path


def message(flags: dict[str, object], environ: dict[str, str] | None = None, config_file: Path | None = None) -> str:
    """What a load that fails says."""
    with pytest.raises(ConfigError) as caught:
        load_settings(flags, environ=environ or {}, config_file=config_file)
    return str(caught.value)


def test_defaults() -> None:
    """Nothing given, nothing read: the contract's defaults."""
    settings = load_settings({}, environ={})
    assert settings == Settings()
    assert settings.target.endpoint == "https://connect.getseam.com"
    assert settings.sending == Sending(
        concurrency=256,
        rate=None,
        timeout=30,
        max_attempts=5,
        outage_patience=1800,
        details=True,
        takeover=None,
    )
    assert settings.guards == Guards(max_failures=None, deadline=None)


def test_every_option_has_a_sample() -> None:
    """The table under test is the whole table."""
    assert set(SAMPLES) == set(OPTIONS)


@pytest.mark.parametrize("name", SAMPLES)
def test_one_option_under_all_its_names(name: str, tmp_path: Path) -> None:
    """Flag, variable, key in a file and keyword are one and the same setting."""
    option, (text, expected) = OPTIONS[name], SAMPLES[name]
    assert option.flag == "--" + name.replace("_", "-")
    path = write(tmp_path / "c.toml", f"[{option.section}]\n{name} = {json.dumps(text)}")
    for settings in (
        load_settings({name: text}, environ={}),
        load_settings({}, environ={option.env: text}),
        load_settings({}, environ={}, config_file=path),
        Settings.from_options(**{name: text}),  # type: ignore[arg-type]  # all options are text here
        Settings().replace(**{name: text}),  # type: ignore[arg-type]  # likewise
    ):
        assert value_of(settings, option) == expected


def test_precedence(tmp_path: Path) -> None:
    """Flag, environment, file, default: each goes before the next."""
    path = write(tmp_path / "c.toml", "[sending]\nconcurrency = 1\nmax_attempts = 1\nrate = 1\ntimeout = 1")
    environ = {"ASSIGN_WORKER_CONCURRENCY": "2", "ASSIGN_WORKER_MAX_ATTEMPTS": "2", "ASSIGN_WORKER_RATE": ""}
    sending = load_settings({"concurrency": 3, "timeout": None}, environ=environ, config_file=path).sending
    assert (sending.concurrency, sending.max_attempts, sending.rate, sending.timeout) == (3, 2, 1, 1)
    assert sending.outage_patience == 1800


def test_a_flag_can_take_back_what_a_file_says(tmp_path: Path) -> None:
    """False is a value, not an absence; a mapping replaces a mapping."""
    path = write(tmp_path / "c.toml", '[output]\ninclude_codes = true\n[input.map]\nworkspace_id = "W"')
    settings = load_settings({"include_codes": False, "map": ["acs_user_id=P"]}, environ={}, config_file=path)
    assert settings.output.include_codes is False
    assert settings.input.mapping == {"acs_user_id": "P"}


def test_seams_own_endpoint_variable() -> None:
    """SEAM_ENDPOINT counts; our own variable goes before it."""
    environ = {"SEAM_ENDPOINT": "https://seam.example/"}
    assert load_settings({}, environ=environ).target.endpoint == "https://seam.example"
    environ["ASSIGN_WORKER_ENDPOINT"] = "https://ours.example"
    assert load_settings({}, environ=environ).target.endpoint == "https://ours.example"


def test_native_toml_values(tmp_path: Path) -> None:
    """A file may use TOML's own types, times and tables."""
    text = (
        "[guards]\nmax_failures = 5\ndeadline = 06:00:00\n[sending]\ntimeout = 12.5\ndetails = false\n"
        '[input]\nmap = { acs_user_id = "Person" }'
    )
    settings = load_settings({}, environ={}, config_file=write(tmp_path / "c.toml", text))
    assert settings.guards == Guards(max_failures=Bound(count=5), deadline=time(6))
    assert (settings.sending.timeout, settings.sending.details) == (12.5, False)
    assert settings.input.mapping == {"acs_user_id": "Person"}


def test_paths_in_a_file_are_relative_to_it(tmp_path: Path) -> None:
    """A profile means the same files wherever the command is run; URLs stay."""
    path = write(tmp_path / "c.toml", '[output]\nledger = "n.db"\nresults = "out/r.csv"')
    output = load_settings({}, environ={}, config_file=path).output
    assert (output.ledger, output.results) == (str(tmp_path / "n.db"), tmp_path / "out/r.csv")
    path = write(tmp_path / "c.toml", '[output]\nledger = "postgresql://h/db"')
    assert load_settings({}, environ={}, config_file=path).output.ledger == "postgresql://h/db"
    assert load_settings({"ledger": "n.db"}, environ={}, config_file=path).output.ledger == "n.db"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"concurrency": 0}, "--concurrency: 0 is not allowed; allowed: 1 to 4096"),
        ({"concurrency": 4097}, "--concurrency: 4097 is not allowed; allowed: 1 to 4096"),
        ({"concurrency": "many"}, "--concurrency: 'many' is not allowed; allowed: 1 to 4096"),
        ({"concurrency": True}, "--concurrency: True is not a number; allowed: 1 to 4096"),
        ({"rate": 0}, "--rate: 0 is not allowed; allowed: a number of requests a second above 0"),
        ({"rate": "nan"}, "--rate: 'nan' is not allowed"),
        ({"rate": "inf"}, "--rate: 'inf' is not allowed"),
        ({"timeout": 601}, "--timeout: 601 is not allowed; allowed: 0.1 to 600 seconds"),
        ({"timeout": "soon"}, "--timeout: 'soon' is neither a number of seconds nor a duration"),
        ({"max_attempts": 101}, "--max-attempts: 101 is not allowed; allowed: 1 to 100"),
        ({"takeover": "maybe"}, "--takeover: 'maybe' is not allowed; allowed: allow, refuse"),
        ({"max_failures": "5 rows"}, "allowed: a number of rows (20) or a percentage (5%)"),
        ({"deadline": "tomorrow"}, "allowed: a time of day (06:00) or a duration (90m, 2h30m, 45s)"),
        ({"log_level": "loud"}, "--log-level: 'loud' is not allowed; allowed: debug, info, warning, error"),
        ({"format": "xml"}, "--format: 'xml' is not allowed; allowed: csv, jsonl"),
        ({"encoding": "klingon"}, "--encoding: 'klingon' is not a text encoding"),
        ({"encoding": "hex"}, "--encoding: 'hex' is not a text encoding"),
        ({"ca_file": "/nowhere.pem"}, "--ca-file: '/nowhere.pem' is not a file"),
        ({"ca_file": __file__}, "holds no certificates in PEM format; allowed: a file of PEM certificates"),
        ({"ca_file": "/dev/null"}, "--ca-file: '/dev/null' is not a file"),
        ({"proxy": "foo"}, "with USER:PASSWORD@ before HOST where it asks for them"),
        (
            {"map": ("acs_user=P", "workspace_id=W")},
            "names 'acs_user', which is no field; allowed: FIELD=COLUMN, with FIELD one of acs_credential_id, ",
        ),
        ({"map": ("acs_user=P", "workspace_id=W")}, "--map: 'acs_user=P', 'workspace_id=W' names 'acs_user'"),
        ({"map": {"acs_user": "P"}}, "--map: 'acs_user=P' names 'acs_user', which is no field"),
        ({"fail_on_warning": ("Needs Reissue",)}, "--fail-on-warning: 'Needs Reissue' names 'Needs Reissue', which is"),
        ({"name": " "}, "--name: ' ' is not allowed; allowed: text that is not empty"),
        ({"notify": ["slack.com/abc"]}, "--notify: the value is no URL; allowed: URLs as Apprise has them"),
        ({"notify_on": "sometimes"}, "--notify-on: 'sometimes' is not allowed; allowed: always, failure"),
        ({"metrics_port": "0"}, "--metrics-port: '0' is no port; allowed: a port from 1 to 65535, or HOST:PORT"),
        ({"metrics_file": "jobs.csv"}, "--metrics-file: 'jobs.csv' does not end in .prom"),
        ({"details": "perhaps"}, "--details: 'perhaps' is not allowed; allowed: true or false"),
        ({"endpoint": "http://example.com"}, "--endpoint: 'http://example.com' is plain http to a host"),
        ({"concurency": 3}, "--concurency: no such option; did you mean --concurrency?"),
        ({"name": "x\x1b[31m\n" * 30}, ""),
    ],
)
def test_errors_name_the_flag_and_what_is_allowed(flags: dict[str, object], words: str) -> None:
    """One sentence: the flag as written, the value, what is allowed."""
    if not words:
        load_settings(flags, environ={})
        return
    assert words in message(flags)


def test_errors_escape_what_they_show() -> None:
    """A value cannot drive the terminal that shows the error, and is cut."""
    text = message({"log_level": "\x1b[31m\n\u202e" + "x" * 500})
    assert text.isprintable()
    assert len(text) < 250


def test_errors_name_the_place(tmp_path: Path) -> None:
    """A variable is named as such; a key with its file and section."""
    assert message({}, {"ASSIGN_WORKER_RATE": "-1"}).startswith("ASSIGN_WORKER_RATE: '-1' is not allowed")
    assert message({}, {"SEAM_ENDPOINT": "ftp://x"}).startswith("SEAM_ENDPOINT: ")
    path = write(tmp_path / "c.toml", "[sending]\nrate = -1")
    assert message({}, {}, path).startswith(f"{path} [sending] rate: -1 is not allowed")


def test_the_winning_place_is_blamed(tmp_path: Path) -> None:
    """A wrong value that is overruled does no harm; the one that counts is named."""
    path = write(tmp_path / "c.toml", "[sending]\nrate = -1")
    assert load_settings({"rate": 3}, environ={}, config_file=path).sending.rate == 3
    assert message({"rate": 0}, {}, path).startswith("--rate: 0")


def test_a_variable_that_resembles_none_suggests_none() -> None:
    """The prefix, which all have, is no likeness."""
    assert message({}, {"ASSIGN_WORKER_CONFIG": "x"}, None) == "ASSIGN_WORKER_CONFIG: no such variable"


def test_a_byte_order_mark_is_no_part_of_the_settings(tmp_path: Path) -> None:
    """Some editors put one first."""
    path = tmp_path / "c.toml"
    path.write_text("\ufeff[sending]\nrate = 3\n", "utf-8")
    assert load_settings({}, environ={}, config_file=path).sending.rate == 3


def test_all_errors_are_told_together(tmp_path: Path) -> None:
    """One load, one list: flags, variables, file and keys."""
    path = write(tmp_path / "c.toml", "[sending]\nmax_atempts = 3\n[sendin]\nx = 1\n[logging]\nquiet = 7")
    environ = {"ASSIGN_WORKER_CONCURENCY": "1", "SEAM_API_KEY": "seam_cst_canary_secret"}
    text = message({"timeout": 0, "takover": "allow"}, environ, path)
    assert text.startswith("7 settings cannot be used:\n  ")
    for words in (
        "--takover: no such option; did you mean --takeover?",
        "ASSIGN_WORKER_CONCURENCY: no such variable; did you mean ASSIGN_WORKER_CONCURRENCY?",
        f"{path} [sending] max_atempts: no such key; did you mean max_attempts?",
        f"{path} [sendin]: no such section; did you mean sending?",
        f"{path} [logging] quiet: 7 is not allowed; allowed: true or false",
        "SEAM_API_KEY holds a client session token",
        "--timeout: 0 is not allowed",
    ):
        assert words in text
    assert "canary" not in text


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("concurrency = 5", "[concurrency]: no such section; it belongs under [sending]"),
        ("[target]\nconcurrency = 5", "[target] concurrency: no such key; it belongs under [sending]"),
        ("sending = 5", "[sending]: is a section; allowed: keys under [sending]"),
        ("[sending]\nzzz = 5", "[sending] zzz: no such key"),
        ("[sending]\nrate = [1]", "[sending] rate: [1] is not allowed"),
        ("[target]\ncredentials = 1", "[target] credentials: no such key"),
    ],
)
def test_misplaced_keys_are_told_where_they_belong(tmp_path: Path, toml: str, words: str) -> None:
    """A key in the wrong section is sent to the right one."""
    assert words in message({}, {}, write(tmp_path / "c.toml", toml))


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"[sending", "is not TOML"), (b"\xff\xfe", "is not TOML"), (None, "cannot be read: No such file")],
)
def test_unreadable_file(tmp_path: Path, content: bytes | None, words: str) -> None:
    """A file that is absent or no TOML is one clear line."""
    path = tmp_path / "c.toml"
    if content is not None:
        path.write_bytes(content)
    assert f"--config {path}: {words}" in message({}, {}, path)


@pytest.mark.parametrize(
    "flags",
    [
        {"ledger": ["postgresql://u:canary@h"]},
        {"proxy": "socks://u:canary@h"},
        {"endpoint": "https://u:canary@h"},
        {"endpoint": "https://h/?key=canary"},
        {"log_level": "seam_canarycanary"},
    ],
)
def test_errors_show_no_secret(flags: dict[str, object]) -> None:
    """A refused value that may hold a password or a key is not repeated."""
    text = message(flags)
    assert "the value" in text
    assert "canary" not in text


def test_settings_are_frozen() -> None:
    """Neither a section nor a setting can be changed afterwards."""
    settings = Settings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.sending.concurrency = 3  # type: ignore[misc]  # the point of the test
    with pytest.raises(ValidationError, match="frozen"):
        settings.sending = Sending()  # type: ignore[misc]  # likewise


def test_nothing_is_read_unasked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A program that makes settings gets what it gives: no environment, no .env."""
    monkeypatch.setenv("ASSIGN_WORKER_CONCURRENCY", "3")
    monkeypatch.setenv("CONCURRENCY", "3")
    monkeypatch.setenv("SENDING", "{}")
    monkeypatch.setenv("SEAM_API_KEY", "seam_canarycanary")
    monkeypatch.chdir(write(tmp_path / ".env", "SENDING__CONCURRENCY=3").parent)
    assert Settings() == Settings.from_options() == load_settings({}, environ={})
    assert Settings().sending.concurrency == 256
    assert Settings().target.credentials == Credentials()


def test_program_makes_settings() -> None:
    """Python values are welcome as they are; environment only when it is passed."""
    settings = Settings.from_options(
        concurrency=64,
        max_failures=Bound(percent=2),
        deadline=timedelta(hours=2),
        map={"acs_user_id": "P"},
        rate=None,
    )
    assert settings.guards == Guards(max_failures=Bound(percent=2), deadline=timedelta(hours=2))
    assert Settings.from_options(environ={"ASSIGN_WORKER_RATE": "3"}).sending.rate == 3
    assert Settings(sending=Sending(concurrency=64)).sending == settings.sending
    with pytest.raises(ConfigError, match="concurency: no such option; did you mean concurrency"):
        Settings.from_options(concurency=64)
    with pytest.raises(ConfigError, match=r"^concurrency: 0 is not allowed; allowed: 1 to 4096"):
        Settings.from_options(concurrency=0)


def test_replace_keeps_the_rest() -> None:
    """A rehearsal changes target and key and nothing else."""
    settings = Settings.from_options(api_key="seam_abcdefgh", deadline="2h", ledger="a.db", max_failures="5%")
    other = settings.replace(endpoint="http://127.0.0.1:9/", credentials=Credentials.of(api_key="seam_rehearsal"))
    assert other.target.endpoint == "http://127.0.0.1:9"
    assert other.target.credentials.secret_values() == ("seam_rehearsal",)
    assert other.model_copy(update={"target": settings.target}) == settings
    assert settings.replace(rate=5).target.credentials == settings.target.credentials
    with pytest.raises(ConfigError, match=r"^rate: 0 is not allowed"):
        settings.replace(rate=0)


def test_public_settings_are_json_and_can_be_read_again() -> None:
    """What the ledger keeps tells everything but secrets, and means the same settings."""
    settings = Settings.from_options(
        **{name: text for name, (text, _) in SAMPLES.items()},  # type: ignore[arg-type]  # all options are text here
        api_key="seam_abcdefgh",
    )
    public = json.loads(json.dumps(settings.public()))
    assert "credentials" not in public["target"]
    bare = settings.model_copy(update={"target": settings.target.model_copy(update={"credentials": Credentials()})})
    assert Settings(**public) == bare


def test_loads_in_threads_do_not_mix() -> None:
    """Two loads at once each see their own values."""
    seen: dict[int, list[int]] = {1: [], 2: []}

    def load(number: int) -> None:
        for _ in range(50):
            seen[number].append(load_settings({"concurrency": number}, environ={}).sending.concurrency)

    threads = [threading.Thread(target=load, args=(number,)) for number in seen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {1: [1] * 50, 2: [2] * 50}


def test_one_name_one_option() -> None:
    """A name used by two sections is found when the table is made."""

    class One(BaseModel):
        rate: int = 1

    class Twice(BaseSettings):
        one: One = One()
        two: One = One()

    with pytest.raises(TypeError, match="two sections use the name rate"):
        options_of(Twice)


def test_target_alone_can_be_made() -> None:
    """The client needs a target and no more."""
    target = Target(endpoint="http://localhost:1/", credentials=Credentials.of(api_key="seam_abcdefgh"))
    assert target.endpoint == "http://localhost:1"
