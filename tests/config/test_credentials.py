"""Keys: where they are found, which opens what, and that none is shown."""

from __future__ import annotations

import copy
import os
import pickle
from typing import TYPE_CHECKING

import pytest

from worker.config import Credentials, KeyKind, MissingKey, ResolvedKey, Settings, load_settings
from worker.config.credentials import read_key_file
from worker.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

KEY = "seam_canary1_abcdefghijklmnop"
OTHER = "seam_canary2_abcdefghijklmnop"
TOKEN = "seam_at1canary_abcdefghijklmnop"
HOME = "11111111-1111-4111-8111-111111111111"
AWAY = "22222222-2222-4222-8222-222222222222"


def loaded(environ: dict[str, str], config_file: Path | None = None) -> Credentials:
    """The credentials of one load."""
    return load_settings({}, config_file=config_file, environ=environ).target.credentials


def resolved(credentials: Credentials, workspace_id: str | None) -> ResolvedKey:
    """The key for a workspace, which must be there."""
    key = credentials.resolve(workspace_id)
    assert isinstance(key, ResolvedKey)
    return key


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    """Where a test writes its file of settings."""
    return tmp_path / "profile.toml"


def key_file(path: Path, content: str, mode: int = 0o600) -> Path:
    """A file that holds a key."""
    path.write_text(content)
    path.chmod(mode)
    return path


def test_api_key_of_the_environment() -> None:
    """An API key goes out as a bearer token and names no workspace."""
    credentials = loaded({"SEAM_API_KEY": f" {KEY}\n"})
    key = resolved(credentials, None)
    assert key.headers() == {"Authorization": f"Bearer {KEY}"}
    assert (key.kind, key.origin, key.workspace_id) == (KeyKind.API_KEY, "SEAM_API_KEY", None)
    assert resolved(credentials, AWAY) == key
    assert credentials.default_workspace_id is None


def test_api_key_with_a_known_workspace_opens_no_other() -> None:
    """A row of another workspace is told apart before anything is sent."""
    credentials = loaded({"SEAM_API_KEY": KEY, "SEAM_WORKSPACE_ID": HOME.upper()})
    assert credentials.default_workspace_id == HOME
    assert "seam-workspace" not in resolved(credentials, HOME).headers()
    missing = credentials.resolve(AWAY)
    assert isinstance(missing, MissingKey)
    assert HOME in missing.reason
    assert AWAY in missing.reason


def test_a_workspace_without_a_key_is_told_where_to_name_one() -> None:
    """Among keys by workspace, the variables of a single key would not help."""
    credentials = Credentials.of(workspace_keys={HOME: KEY})
    missing = credentials.resolve(AWAY)
    assert isinstance(missing, MissingKey)
    assert missing.reason == (
        f'No key for workspace {AWAY}. Name a key for it under [workspaces."{AWAY}"] in the --config file.'
    )


def test_token_names_its_workspace() -> None:
    """A personal access token serves every workspace, each by its header."""
    credentials = loaded({"SEAM_PERSONAL_ACCESS_TOKEN": TOKEN, "SEAM_WORKSPACE_ID": HOME})
    assert credentials.kind is KeyKind.PERSONAL_ACCESS_TOKEN
    assert resolved(credentials, None).headers() == {
        "Authorization": f"Bearer {TOKEN}",
        "seam-workspace": HOME,
    }
    assert resolved(credentials, AWAY).headers()["seam-workspace"] == AWAY


def test_token_without_a_workspace_serves_rows_that_name_one() -> None:
    """A token alone is enough where every row has a workspace_id."""
    credentials = loaded({"SEAM_PERSONAL_ACCESS_TOKEN": TOKEN})
    assert resolved(credentials, AWAY).workspace_id == AWAY
    missing = credentials.resolve(None)
    assert isinstance(missing, MissingKey)
    assert "SEAM_WORKSPACE_ID" in missing.reason


def test_key_and_token_exclude_each_other() -> None:
    """Which of the two was meant is not guessed."""
    with pytest.raises(ConfigError, match="SEAM_API_KEY and SEAM_PERSONAL_ACCESS_TOKEN are both set"):
        loaded({"SEAM_API_KEY": KEY, "SEAM_PERSONAL_ACCESS_TOKEN": TOKEN})


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("SEAM_API_KEY", "seam_cst1canary_secretsecret", "client session token (seam_cst…)"),
        ("SEAM_API_KEY", "seam_pk1canary_secretsecret", "publishable key (seam_pk…)"),
        ("SEAM_API_KEY", "eyJcanary.secretsecret.x", "JSON web token (ey…)"),
        ("SEAM_API_KEY", TOKEN, "personal access token (seam_at…)"),
        ("SEAM_API_KEY", "sk_canary_secretsecret", "does not hold a Seam key"),
        ("SEAM_API_KEY", "seam_canary secretsecret", "does not hold a Seam key"),
        ("SEAM_API_KEY", '"seam_canary_secretsecret"', "one line that begins with seam_…, without quotes or spaces"),
        ("SEAM_API_KEY", "seam_canary\r\nx: secretsecret", "does not hold a Seam key"),
        ("SEAM_PERSONAL_ACCESS_TOKEN", KEY, "belongs in SEAM_API_KEY"),
        ("SEAM_PERSONAL_ACCESS_TOKEN", "seam_cst1canary_secretsecret", "client session token"),
        ("SEAM_WORKSPACE_ID", "tower", "SEAM_WORKSPACE_ID: 'tower' is not a workspace id"),
    ],
)
def test_unusable_keys_are_refused_by_name(variable: str, value: str, words: str) -> None:
    """The message tells the kind and the variable, and no more of the key than its prefix."""
    with pytest.raises(ConfigError) as caught:
        loaded({variable: value})
    message = str(caught.value)
    assert words in message
    assert variable in message
    assert "canary" not in message


def test_no_key_is_no_error_until_one_is_needed(config_file: Path) -> None:
    """Settings load without a key; asking for one names the variables and what was looked for."""
    config_file.write_text('[credentials]\nenv_file = "absent.env"')
    credentials = loaded({}, config_file)
    assert isinstance(credentials.resolve(None), MissingKey)
    with pytest.raises(ConfigError) as caught:
        credentials.require_any()
    for word in (
        "SEAM_API_KEY",
        "SEAM_PERSONAL_ACCESS_TOKEN",
        "SEAM_WORKSPACE_ID",
        "absent.env does not exist",
    ):
        assert word in str(caught.value)


def test_env_file_lies_beside_the_config(config_file: Path) -> None:
    """The .env gives keys and options; the environment goes before it; `$` stays as it is."""
    config_file.with_name("my.env").write_text(
        f"SEAM_API_KEY='{KEY}'\nASSIGN_WORKER_RATE=7\nASSIGN_WORKER_CONCURRENCY=9\nASSIGN_WORKER_NAME=a$HOME\n"
    )
    config_file.write_text('[credentials]\nenv_file = "my.env"\n[sending]\nrate = 1')
    settings = load_settings({}, config_file=config_file, environ={"ASSIGN_WORKER_CONCURRENCY": "10"})
    assert resolved(settings.target.credentials, None).secret.get_secret_value() == KEY
    assert (settings.sending.rate, settings.sending.concurrency, settings.output.name) == (7, 10, "a$HOME")
    empty = load_settings({}, config_file=config_file, environ={"SEAM_API_KEY": ""})
    assert resolved(empty.target.credentials, None).secret.get_secret_value() == KEY
    again = load_settings({}, config_file=config_file, environ={"SEAM_API_KEY": OTHER})
    assert resolved(again.target.credentials, None).secret.get_secret_value() == OTHER


def test_a_line_of_the_env_file_that_cannot_be_read_is_named(config_file: Path) -> None:
    """Not "no key", where the key stands on a line that lacks its closing quote."""
    config_file.with_name(".env").write_text(f'# ours\nSEAM_API_KEY="{KEY}\n')
    config_file.write_text('[credentials]\nenv_file = ".env"')
    with pytest.raises(ConfigError, match=r"\.env, line 2: cannot be read; allowed: NAME=VALUE") as caught:
        loaded({}, config_file)
    assert KEY not in str(caught.value)


def test_unknown_name_in_the_env_file_is_named_with_it(config_file: Path) -> None:
    """A slip in a .env is shown with the file."""
    config_file.with_name(".env").write_text("ASSIGN_WORKER_RAT=7\n")
    config_file.write_text('[credentials]\nenv_file = ".env"')
    with pytest.raises(
        ConfigError, match=r"\.env: ASSIGN_WORKER_RAT: no such variable; did you mean ASSIGN_WORKER_RATE"
    ):
        loaded({}, config_file)


def test_key_file(config_file: Path) -> None:
    """A key file holds either kind, told by the prefix; the environment goes before it."""
    path = key_file(config_file.with_name("seam.key"), f"{KEY}\n")
    config_file.write_text('[credentials]\nkey_file = "seam.key"')
    key = resolved(loaded({}, config_file), None)
    assert (key.secret.get_secret_value(), key.origin) == (KEY, f"key_file {path}")
    assert resolved(loaded({"SEAM_API_KEY": OTHER}, config_file), None).secret.get_secret_value() == OTHER
    key_file(path, TOKEN)
    assert loaded({}, config_file).kind is KeyKind.PERSONAL_ACCESS_TOKEN


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_key_file_that_others_may_open_is_refused(config_file: Path, mode: int) -> None:
    """The message gives the command that repairs it."""
    path = key_file(config_file.with_name("seam.key"), KEY, mode)
    config_file.write_text('[credentials]\nkey_file = "seam.key"')
    with pytest.raises(ConfigError, match=f"chmod 600 {path}"):
        loaded({}, config_file)


@pytest.mark.parametrize("content", ["", "\n\n", f"{KEY}\n{OTHER}\n"])
def test_key_file_holds_one_line(tmp_path: Path, content: str) -> None:
    """An empty file, or one with more than a key, is refused without being shown."""
    with pytest.raises(ConfigError, match="one line") as caught:
        read_key_file(key_file(tmp_path / "key", content))
    assert "canary" not in str(caught.value)


def test_key_file_must_be_a_file(tmp_path: Path) -> None:
    """A folder or a pipe in its place neither blocks nor crashes."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(ConfigError, match="is not a file"):
            read_key_file(path)


def test_keys_by_workspace(config_file: Path) -> None:
    """Each workspace has its own key; others take the default; upper case is the same id."""
    key_file(config_file.with_name("away.key"), OTHER)
    config_file.write_text(
        f'[workspaces."{HOME.upper()}"]\napi_key_env = "KEY_HOME"\n[workspaces."{AWAY}"]\nkey_file = "away.key"'
    )
    credentials = loaded({"KEY_HOME": KEY}, config_file)
    credentials.require_any()
    assert resolved(credentials, HOME).secret.get_secret_value() == KEY
    assert resolved(credentials, AWAY).secret.get_secret_value() == OTHER
    assert isinstance(credentials.resolve(None), MissingKey)
    assert sorted(credentials.secret_values()) == [KEY, OTHER]


def test_absent_key_of_a_workspace_stops_that_one_only(config_file: Path) -> None:
    """A promised key that is not there never falls back to the default."""
    config_file.write_text(
        f'[workspaces."{HOME}"]\napi_key_env = "KEY_HOME"\n[workspaces."{AWAY}"]\nkey_file = "away.key"'
    )
    credentials = loaded({"SEAM_API_KEY": KEY}, config_file)
    home, away = credentials.resolve(HOME), credentials.resolve(AWAY)
    assert isinstance(home, MissingKey)
    assert isinstance(away, MissingKey)
    assert "KEY_HOME is not set" in home.reason
    assert "away.key does not exist" in away.reason
    resolved(credentials, None)


@pytest.mark.parametrize(
    ("toml", "place"),
    [
        (f'[credentials]\napi_key = "{KEY}"', "[credentials] api_key"),
        (f'[credentials]\nkey = "{KEY}"', "[credentials] key"),
        (f'[credentials]\nkey_file = "{KEY}"', "[credentials] key_file"),
        (f'[credentials]\npersonal_access_token = "{TOKEN}"', "[credentials] personal_access_token"),
        (f'[workspaces."{HOME}"]\napi_key = "{KEY}"', f'[workspaces."{HOME}"] api_key'),
        (f'[workspaces."{HOME}"]\napi_key_env = "{KEY}"', f'[workspaces."{HOME}"] api_key_env'),
    ],
)
def test_key_in_the_file_itself_is_refused(config_file: Path, toml: str, place: str) -> None:
    """A key in a file that is shared is an error that says where it belongs, and does not repeat it."""
    config_file.write_text(toml)
    with pytest.raises(ConfigError) as caught:
        loaded({}, config_file)
    assert f"{place}: a key does not belong in this file" in str(caught.value)
    assert "key_file names" in str(caught.value)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ('[credentials]\nkeyfile = "x"', "[credentials] keyfile: no such key; did you mean key_file?"),
        ("[credentials]\nkey_file = 3", "[credentials] key_file: is not allowed"),
        ("credentials = 3", "[credentials]: is a section"),
        ("workspaces = 3", "[workspaces]: is a section"),
        ('[workspaces.tower]\napi_key_env = "A"', "'tower' is not a workspace id"),
        (f'[workspaces."{HOME}"]', "is empty; allowed: api_key_env or key_file"),
        (f'[workspaces."{HOME}"]\napi_key_env = "A B"', "the name of an environment variable"),
        (f'[workspaces."{HOME}"]\napi_key_env = "A"\nkey_file = "b"', "give one of them"),
        (f'[workspaces."{HOME}"]\nkey_env = "A"', "no such key; did you mean api_key_env?"),
    ],
)
def test_wrong_credential_tables_are_named(config_file: Path, toml: str, words: str) -> None:
    """Each mistake in the tables of keys is named with its place."""
    config_file.write_text(toml)
    with pytest.raises(ConfigError) as caught:
        loaded({}, config_file)
    assert words in str(caught.value)


def test_no_key_is_looked_for_unasked(config_file: Path) -> None:
    """A command that sends nothing opens no key file and judges no key."""
    key_file(config_file.with_name("seam.key"), KEY, 0o644)
    config_file.write_text('[credentials]\nkey_file = "seam.key"')
    environ = {"SEAM_API_KEY": KEY, "SEAM_PERSONAL_ACCESS_TOKEN": TOKEN}
    settings = load_settings({}, config_file=config_file, environ=environ, keys=False)
    assert settings.target.credentials == Credentials()


def test_program_gives_keys_itself() -> None:
    """From Python keys come as arguments, with the same checks."""
    settings = Settings.from_options(api_key=KEY, workspace_keys={AWAY: OTHER}, workspace_id=HOME)
    assert resolved(settings.target.credentials, AWAY).secret.get_secret_value() == OTHER
    assert settings.target.credentials.default_workspace_id == HOME
    for wrong in (
        {"api_key": TOKEN},
        {"api_key": KEY, "personal_access_token": TOKEN},
        {"workspace_keys": {"tower": KEY}},
        {"workspace_id": HOME},
    ):
        with pytest.raises(ConfigError) as caught:
            Settings.from_options(**wrong)
        assert "canary" not in str(caught.value)


def test_no_key_is_shown() -> None:
    """Neither repr, nor str, nor the ledger's copy of the settings has a key; copies keep it."""
    settings = Settings.from_options(
        api_key=KEY,
        workspace_keys={AWAY: OTHER},
        ledger="postgresql://u:canary3@h/db?password=canary4",
        proxy="http://u:canary5@proxy:1",
    )
    credentials = settings.target.credentials
    for text in (
        repr(settings),
        str(settings),
        repr(credentials),
        str(settings.public()),
        repr(credentials.resolve(None)),
    ):
        assert "canary" not in text.replace("canary=None", "").replace("'canary': None", "")
    assert {KEY, OTHER, "canary3", "canary5"} <= set(settings.secret_values())
    assert copy.deepcopy(settings) == settings
    assert pickle.loads(pickle.dumps(settings)).target.credentials == credentials  # noqa: S301 - made a word ago
