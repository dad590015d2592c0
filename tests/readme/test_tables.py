"""The tables of the README are the code's, row by row."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

from tests.readme.page import README, TOP, section, table
from worker import errors
from worker.cli.group import COMMANDS
from worker.config import Settings, load_settings, options_of
from worker.metrics import Metrics
from worker.models import Outcome
from worker.readers import FIELDS
from worker.report import exit_code_of
from worker.results.formats import CsvFormat
from worker.window import Window

if TYPE_CHECKING:
    from collections.abc import Iterable


HEADINGS = re.findall(r"^##+ (.+)$", README, re.MULTILINE)


def quoted(text: str) -> list[str]:
    """Everything between backticks."""
    return re.findall(r"`([^`]+)`", text)


def first_column(rows: Iterable[list[str]]) -> list[str]:
    """What is quoted in the first cells."""
    return [word for row in rows for word in quoted(row[0])]


def test_commands() -> None:
    """Every command, in the order of the help; and every link leads to a section."""
    assert [words.split()[0] for words in first_column(table(section("Commands")))] == list(COMMANDS)
    headings = {re.sub(r"[^a-z0-9 -]", "", line.lower()).replace(" ", "-") for line in HEADINGS}
    assert set(re.findall(r"\]\(#([^)]+)\)", README)) <= headings


def test_outcomes() -> None:
    """Every outcome, in the code's order."""
    assert first_column(table(section("Outcomes"))) == [outcome.value for outcome in Outcome]


def test_exit_codes() -> None:
    """Every code that an error or a report can end with."""
    raised = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")}
    reported = {0, exit_code_of({Outcome.FAILED: 1}, ())}
    signals = {128 + number for number in (signal.SIGINT, signal.SIGTERM)}
    assert [int(row[0]) for row in table(section("Exit codes"))] == sorted(raised | reported | signals)


def test_what_ends_with_1() -> None:
    """The README's words for exit code 1 are the outcomes that give it, and no other."""
    (words,) = (row[1] for row in table(section("Exit codes")) if row[0] == "1")
    told = {
        outcome for outcome in Outcome if outcome.value.replace("_", " ").replace("conflict", "in conflict") in words
    }
    assert told == {outcome for outcome in Outcome if exit_code_of({outcome: 1}, ()) == 1}


def test_input_columns() -> None:
    """The columns that mean something."""
    assert first_column(table(section("Input"))) == list(FIELDS)


def test_result_columns() -> None:
    """Every column of the results; all but the first two come after the input's own."""
    heading = CsvFormat((), include_codes=False, raw_cells=False).heading.strip().split(",")
    assert heading[:2] == ["row", "line"]
    assert sorted(first_column(table(section("The results file")))) == sorted(heading[2:])


def test_settings() -> None:
    """Every setting with its flag and its place in a file."""
    options = options_of(Settings).values()
    places = {option.flag: f"[{option.section}] {option.name}" for option in options}
    assert {row[0].strip("`"): row[1].strip("`") for row in table(section("Settings"))} == places


def test_defaults() -> None:
    """The numbers that the table of settings names are the code's."""
    told = {row[0].strip("`"): row[2] for row in table(section("Settings"))}
    defaults = Settings()
    assert told["--endpoint"].startswith(f"`{defaults.target.endpoint}`")
    assert told["--concurrency"].endswith(f": {defaults.sending.concurrency}")
    assert told["--timeout"].endswith(f": {defaults.sending.timeout:.0f} seconds")
    assert f": {defaults.sending.max_attempts};" in told["--max-attempts"]
    assert told["--outage-patience"].endswith(f": {defaults.sending.outage_patience / 60:.0f} minutes")
    assert told["--log-level"].endswith(f": `{defaults.logging.log_level}`")


def test_metrics() -> None:
    """Every metric that is exported, with its labels."""
    families = [(family.name, family.type) for family in Metrics("night").registry.collect()]
    exported = [f"{name}_total" if kind == "counter" else name for name, kind in families]
    assert first_column(table(section("Tell somebody"))) == exported


def test_the_window() -> None:
    """How many rows a crash can leave in doubt."""
    assert "(four times `--concurrency`, at least 512 rows)" in section("When it is interrupted")
    assert (Window(1).size, Window(1000).size, Window(1, 1_000).size) == (512, 4000, 8_000)


def test_profiles() -> None:
    """Every profile is in the table, and can be loaded."""
    paths = sorted(path for path in (TOP / "configs").glob("*.toml") if path.name != "schedule.toml")
    linked = re.findall(r"\((configs/\S+)\)", section("Settings"))
    assert sorted(linked) == [str(path.relative_to(TOP)) for path in paths]
    for path in paths:
        assert load_settings({}, config_file=path, environ={}).output.name == path.stem


def test_links_lead_somewhere() -> None:
    """Every link to a file or folder of this repository."""
    links = re.findall(r"\]\(([^)\s]+)\)", README)
    assert len(links) > 10
    files = [link for link in links if "://" not in link and not link.startswith("#")]
    missing = [link for link in files if not (TOP / link).exists()]
    assert missing == []


def test_figures_have_their_places() -> None:
    """Soak and bench write between their markers."""
    assert (README.count("<!-- soak -->"), README.count("<!-- bench -->")) == (2, 2)
