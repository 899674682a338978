"""``python -m service``: read the settings, claim the data, bind the port, and only then start workers."""

from __future__ import annotations

import errno
import os
import secrets
import signal
import socket
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if not all(map(find_spec, ("click", "filelock", "flask", "gunicorn", "openapi_pydantic", "pydantic"))):
    sys.stderr.write("turnstile: its packages are not here: make setup, then .venv/bin/python -m service\n")
    sys.exit(2)

import click

from service import __version__, allocator, catalogue, logs, settings, watch
from service.app import create_app
from service.counts import Folder
from service.daemon import Daemon, daemons_of
from service.gunicorn_conf import UMASK, Server, have_files
from service.moving import copy
from service.office import uncounted
from service.settings import PREFIX, Settings, WrongSetting
from service.stores.replay import Refused
from service.sweeper import Sweeper
from service.upkeep import repair, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import flask

    from service.mode import Mode

BINDABLE = {
    errno.EADDRINUSE: "a port that no other program listens on (stop that one, or choose another port)",
    errno.EACCES: "a port that this user may listen on (those from 1024 on, mostly)",
}


def main() -> None:
    """Run the command line."""
    _have_standard_files()
    os.umask(UMASK)  # whatever it was
    try:
        command().main(prog_name="python -m service", standalone_mode=False)
    except click.ClickException as error:
        asked = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "python -m service"
        sys.stderr.write(f"turnstile: {error.format_message().rstrip('.')} (see {asked} --help)\n")
        sys.exit(2)
    except click.Abort:  # Ctrl-C before there was a service that could hear it
        sys.exit(128 + signal.SIGINT)


def command() -> click.Group:
    """Return the command line."""
    group = click.Group(
        "service",
        params=_flags(),
        callback=_serve,
        help="Sell tickets, each of them once.",
        invoke_without_command=True,
        commands=[verify, repair, copy],
    )
    return click.version_option(__version__, prog_name="turnstile")(group)


def _have_standard_files() -> None:
    """Let 0, 1 and 2 be open: else the first files that are opened have these numbers, and lines go to them."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= logs.STANDARD_ERROR:
        pass
    os.close(descriptor)
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115  # it is open to the end


def _flags() -> list[click.Parameter]:
    listing = click.Option(
        ["--list"], is_flag=True, is_eager=True, expose_value=False, callback=_list,
        help="print each mode with the engine that it needs, its reach and its package, as JSON lines, and end",
    )  # fmt: skip
    return [
        listing,
        *_settings(),
    ]


def _list(context: click.Context, _option: click.Parameter, asked: bool) -> None:  # noqa: FBT001  # as click calls it
    if asked:
        lines, wrong = catalogue.listed()
        for line in lines:
            click.echo(line)
        for sentence in wrong:
            click.echo(f"turnstile: {sentence}", err=True)
        context.exit()


def _settings() -> list[click.Parameter]:
    return [
        click.Option(
            [f"--{name.replace('_', '-')}"],
            metavar="VALUE",
            help=f"{field.title}: {field.description}  [{PREFIX}{name.upper()}; default: {_shown(field.default)}]",
        )
        for name, field in Settings.model_fields.items()
    ]


def _shown(default: object) -> str:
    return "none" if default in {"", None} else str(default).lower() if isinstance(default, bool) else str(default)


def _serve(**flags: str | None) -> None:
    if click.get_current_context().invoked_subcommand is None:
        _run(flags)
    elif any(value is not None for value in flags.values()):
        raise click.UsageError("settings are for the service alone: leave them out before a command")


def _run(flags: Mapping[str, str | None]) -> NoReturn:
    try:
        said = {name: value for name, value in flags.items() if value is not None}
        given = settings.load(os.environ, said)
        chosen = catalogue.chosen(given)  # before the port: what is wrong with both is to be told of what was typed
        logs.begin(chosen.log, chosen.log_level)
        have_files(chosen)
        bound = _bound(chosen.bind)
        instrument = _instrument(chosen)
        mode, mended = catalogue.build(chosen)
    except WrongSetting as error:
        sys.stderr.write(f"turnstile: {error}\n")
        sys.exit(2)
    except Refused as error:
        logs.Log.handler.say(str(error))
        sys.exit(2)
    for sentence in (*settings.seen_by_all(said), *mended):
        logs.Log.handler.say(sentence)
    token = secrets.token_hex(32)
    host, port = bound.getsockname()[:2]
    sweeper = Sweeper(mode.store, host, port, token)
    daemons = (*daemons_of(mode), Daemon("hold-sweeper", sweeper.run))
    app = create_app(mode, chosen, token, _counted(chosen, mode))
    instrument(app)
    allocator.keep_little()
    Server(app, mode, chosen, bound, daemons).run()
    sys.exit(0)


def _instrument(chosen: Settings) -> Callable[[flask.Flask], object]:
    """Return what has a span made of each request, if that was asked for."""
    if not chosen.tracing:
        return bool
    try:
        from service import tracing  # noqa: PLC0415  # it needs an extra, and half a second
    except ModuleNotFoundError as error:
        extra = f"none, for the package of {error.name} is not installed: pip install '.[tracing]' where the source is"
        raise settings.wrong("tracing", chosen.tracing, extra) from None
    return tracing.instrument


def _counted(chosen: Settings, mode: Mode) -> Callable[[], bytes]:
    """Have what happens counted from here on, if that was asked for. Return how to read it."""
    if not chosen.metrics:
        return uncounted
    try:
        folder = Folder()
    except OSError as error:
        logs.Log.handler.say(f"nothing is counted, for there is no folder in memory ({error})")
        return uncounted
    from service.exposition import Exposition  # noqa: PLC0415  # the client asks for its folder when it is imported
    from service.metrics import Metrics  # noqa: PLC0415  # as above

    watch.here = metrics = Metrics(folder)
    return Exposition(metrics, mode)


def _bound(address: str) -> socket.socket:
    """Return a bound socket. gunicorn would bind it itself, but try a busy port five times before it says so."""
    host, _, port = address.rpartition(":")
    try:
        kind, _, _, _, place = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
        bound = socket.socket(kind, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(place)
    except UnicodeError:
        raise settings.wrong("bind", address, "the name of a host that can be looked up") from None
    except OSError as error:
        expected = BINDABLE.get(error.errno or 0, f"an address of this machine ({error.strerror})")
        raise settings.wrong("bind", address, expected) from None
    return bound


if __name__ == "__main__":
    main()
