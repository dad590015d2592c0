"""Settings from files, from patches, and what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.simulator.calls import running
from worker.errors import ConfigError
from worker.simulator import Fault, LimitKind, SimulatorSettings

if TYPE_CHECKING:
    from pathlib import Path

TOML = """
seed = 3
[limit]
kind = "token_bucket"
rate = 500
[[limit.steps]]
at = 10
rate = 50
[faults]
times = 0
[faults.shares]
http_503 = 0.02
[access.personal_access_tokens]
seam_at_x = []
"""


def test_toml_and_json_give_the_same(tmp_path: Path) -> None:
    """A file's values, nested as in the models."""
    toml, as_json = tmp_path / "s.toml", tmp_path / "s.json"
    toml.write_text(TOML)
    settings = SimulatorSettings.load(toml)
    as_json.write_text(json.dumps(settings.model_dump(mode="json")))
    assert SimulatorSettings.load(as_json) == settings
    assert (settings.seed, settings.limit.kind) == (3, LimitKind.TOKEN_BUCKET)
    assert settings.faults.shares == {Fault.HTTP_503: 0.02}
    assert settings.limit.rate_at(11) == 50


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sede": 1}, "sede: no such setting"),
        (
            {"faults": {"shares": {"reset_aftr": 0.1}}},
            r"faults.shares.reset_aftr: no such kind; did you mean reset_after",
        ),
        ({"faults": {"shares": {"colour": 0.1}}}, "colour: no such kind; there are http_500, "),
        ({"faults": {"shares": {"never": 0.7, "drip": 0.7}}}, "more than 1"),
        ({"world": {"warnings": 1.5}}, "world.warnings"),
        ({"limit": {"kind": "leaky"}}, "'token_bucket'"),
        ([], "an object"),
    ],
)
def test_bad_settings_name_their_key(values: Any, message: str) -> None:
    """The key and what is allowed, and nothing is changed."""
    with pytest.raises(ConfigError, match=message):
        SimulatorSettings().patched(values, source="here")


def test_unreadable_files(tmp_path: Path) -> None:
    """Missing, and no TOML."""
    bad = tmp_path / "bad.toml"
    bad.write_text("seed = = 1")
    for path in (bad, tmp_path / "missing.toml"):
        with pytest.raises(ConfigError, match="cannot be read"):
            SimulatorSettings.load(path)


async def test_patch_over_http() -> None:
    """What is not named stays; what cannot be is refused with its key."""
    async with running(seed=3, world={"warnings": 0.5}) as caller:
        patched = (await caller.control("settings", {"world": {"children": 0.1}})).json
        assert (patched["seed"], patched["world"]["warnings"], patched["world"]["children"]) == (3, 0.5, 0.1)
        refused = await caller.control("settings", {"world": {"children": 2}})
        assert (refused.status, "world.children" in refused.json["error"]) == (400, True)
        assert (await caller.control("settings")).json == patched
        assert (await caller.control("nothing")).status == 404
