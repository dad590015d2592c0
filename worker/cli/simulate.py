"""`assign-worker simulate`: the Seam look-alike in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

import click

from worker.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from worker.simulator import Simulator

__all__ = ["command"]

_SHARE = click.FloatRange(0, 1)
_SECONDS = click.FloatRange(min=0)
_SERVER_ERRORS: Final = ("http_500", "http_502", "http_503", "http_504")

# Where each option stands in the settings.
_PLACES: Final = {
    "seed": ("seed",),
    "latency": ("latency", "median"),
    "latency_sigma": ("latency", "sigma"),
    "limit": ("limit", "kind"),
    "rate": ("limit", "rate"),
    "burst": ("limit", "burst"),
    "window": ("limit", "window"),
    "limit_concurrency": ("limit", "concurrency"),
    "retry_after": ("limit", "retry_after"),
    "limit_scope": ("limit_scope",),
    "error_form": ("faults", "error_form"),
    "fault_times": ("faults", "times"),
    "applied_share": ("faults", "applied_share"),
    "unknown_credentials": ("world", "unknown_credentials"),
    "unknown_users": ("world", "unknown_users"),
    "foreign_credentials": ("world", "foreign_credentials"),
    "children": ("world", "children"),
    "warnings": ("world", "warnings"),
    "outage_mode": ("outage", "mode"),
    "log": ("log",),
}


def _shares(_: click.Context, param: click.Parameter, given: tuple[str, ...]) -> list[tuple[str, float]]:
    """KIND=SHARE, each."""
    try:
        return [(kind, float(share)) for kind, _, share in (text.partition("=") for text in given)]
    except ValueError:
        raise click.BadParameter("KIND=SHARE is needed, e.g. reset_after=0.01", param=param) from None


def _windows(_: click.Context, param: click.Parameter, given: tuple[str, ...]) -> list[tuple[float, float]]:
    """FROM:TO, each."""
    try:
        windows = [(float(begin), float(end)) for begin, _, end in (text.partition(":") for text in given)]
    except ValueError:
        windows = [(0.0, 0.0)]
    if not all(0.0 <= begin < end for begin, end in windows):
        raise click.BadParameter("FROM:TO is needed, in seconds from the start, FROM before TO", param=param)
    return windows


@click.command(
    "simulate",
    short_help="Run a local Seam look-alike.",
    epilog="""Shares are parts of one: 0.02 is two in a hundred. Kinds of faults: reset_before, reset_after, never,
    http_500 and others; a name that is none is answered with all of them. --config sets much that has no option.

    Exit codes: 0 ended by SIGINT or SIGTERM; 2 it cannot run so.""",
)
@click.option("--host", default="127.0.0.1", help="Address to listen on. Default: 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Default: 0, which takes a free one.")
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Settings as TOML or JSON; options go before them.",
)
@click.option("--seed", type=int, help="Decides all that shares hit. Default: 0.")
@click.option("--latency", type=_SECONDS, help="Seconds that a reply takes. Default: 0.")
@click.option("--latency-sigma", type=_SECONDS, help="Spread of a lognormal latency. Default: 0, none.")
@click.option(
    "--limit",
    type=click.Choice(["none", "token_bucket", "fixed_window", "sliding_window", "concurrency"]),
    help="The kind of rate limit. Default: none; with --rate, token_bucket.",
)
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Requests a second. Default: 100.")
@click.option("--burst", type=click.FloatRange(min=1), help="Tokens in a full bucket. Default: those of one second.")
@click.option("--window", type=click.FloatRange(min=0, min_open=True), help="Seconds of a window. Default: 1.")
@click.option("--limit-concurrency", type=click.IntRange(min=1), help="Requests at once. Default: 10.")
@click.option(
    "--retry-after",
    type=click.Choice(["none", "seconds", "date", "garbage"]),
    help="What a 429 says of the time to come back. Default: seconds.",
)
@click.option(
    "--limit-scope", type=click.Choice(["workspace", "global"]), help="Who shares the limit. Default: workspace."
)
@click.option("--errors", type=_SHARE, help="Share of 5xx: 500, 502, 503 and 504 alike. Default: 0.")
@click.option(
    "--error-form",
    type=click.Choice(["json", "html", "text", "empty", "mixed"]),
    help="The body of a 5xx. Default: json.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="KIND=SHARE",
    callback=_shares,
    help="A fault of assign, e.g. reset_after=0.01. Repeatable.",
)
@click.option(
    "--read-fault",
    "read_faults",
    multiple=True,
    metavar="KIND=SHARE",
    callback=_shares,
    help="A fault of reads, e.g. never=0.01. Repeatable.",
)
@click.option(
    "--fault-times", type=click.IntRange(min=0), help="Requests of a credential that are hit; 0 is all. Default: 1."
)
@click.option("--applied-share", type=_SHARE, help="Share of faults before which the call was applied. Default: 0.")
@click.option("--unknown-credentials", type=_SHARE, help="Share that does not exist. Default: 0.")
@click.option("--unknown-users", type=_SHARE, help="Likewise of people. Default: 0.")
@click.option("--foreign-credentials", type=_SHARE, help="Share that belongs to somebody else at first. Default: 0.")
@click.option("--children", type=_SHARE, help="Share that has a parent credential. Default: 0.")
@click.option("--warnings", type=_SHARE, help="Share with a warning. Default: 0.")
@click.option(
    "--void",
    type=click.Choice(["ok_only", "empty_object", "empty_body", "no_content_204"]),
    help="Answer every success so, without a credential. Default: in full.",
)
@click.option(
    "--outage",
    "outages",
    multiple=True,
    metavar="FROM:TO",
    callback=_windows,
    help="Down between these seconds. Repeatable.",
)
@click.option(
    "--outage-mode", type=click.Choice(["http_503", "reset", "refused"]), help="How it is down. Default: http_503."
)
@click.option("--log", type=click.Choice(["all", "applied"]), help="What the truth log keeps. Default: all.")
@click.option("--end-with-stdin", is_flag=True, help="End when stdin closes: with the process that started it.")
def command(*, host: str, port: int, config: Path | None, end_with_stdin: bool, **options: object) -> None:
    """Run a local Seam look-alike until SIGINT or SIGTERM.

    One line of JSON on stdout says when it is ready: its url, and an API key that it accepts. What it applied
    is the truth at URL/_simulator/log.
    """
    from worker.simulator import Simulator, SimulatorSettings  # noqa: PLC0415 - slow to import

    settings = SimulatorSettings() if config is None else SimulatorSettings.load(config)
    settings = settings.patched(_overrides(options), source="simulate")
    _run(_serve(Simulator(settings), host, port, end_with_stdin=end_with_stdin))


def _overrides(options: dict[str, Any]) -> dict[str, Any]:
    """The given options as settings."""
    if options["limit"] is None and options["rate"] is not None:
        options["limit"] = "token_bucket"
    values: dict[str, Any] = {}
    for name, place in _PLACES.items():
        if options[name] is not None:
            _put(values, place, options[name])
    for kind in _SERVER_ERRORS if options["errors"] is not None else ():
        _put(values, ("faults", "shares", kind), options["errors"] / len(_SERVER_ERRORS))
    for section in ("faults", "read_faults"):
        for kind, share in options[section]:
            _put(values, (section, "shares", kind), share)
    if options["void"] is not None:
        _put(values, ("void", options["void"]), 1.0)
    if options["outages"]:
        _put(values, ("outage", "windows"), options["outages"])
    return values


def _put(values: dict[str, Any], place: Sequence[str], value: object) -> None:
    for key in place[:-1]:
        values = values.setdefault(key, {})
    values[place[-1]] = value


def _run(main: Coroutine[Any, Any, None]) -> None:
    try:
        import uvloop  # noqa: PLC0415 - slow to import
    except ImportError:
        asyncio.run(main)
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


async def _serve(simulator: Simulator, host: str, port: int, *, end_with_stdin: bool) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    async with AsyncExitStack() as stack:
        try:
            server = await stack.enter_async_context(simulator.serve(host, port))
        except OSError as error:
            raise UsageError(f"cannot listen on {host}, port {port}: {error.strerror or error}") from None
        if end_with_stdin:
            Thread(target=_drain_stdin, args=(loop, ended), daemon=True).start()
        click.echo(json.dumps({"url": server.url, "api_key": server.api_key}))
        await ended.wait()


def _drain_stdin(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    # By descriptor: a thread that waits inside sys.stdin would hold its lock when the interpreter ends.
    while os.read(0, 4096):
        pass
    with contextlib.suppress(RuntimeError):  # the loop has ended by itself
        loop.call_soon_threadsafe(ended.set)
