"""``python -m service``: read the settings, claim the data, bind the port, and only then start workers."""

from __future__ import annotations

import errno
import os
import secrets
import signal
import socket
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from service import catalogue, settings
from service.app import create_app
from service.daemon import Daemon, daemons_of
from service.gunicorn_conf import Server
from service.settings import PREFIX, Settings, WrongSetting
from service.stores.replay import Refused
from service.sweeper import Sweeper
from service.upkeep import repair, verify

if TYPE_CHECKING:
    from collections.abc import Mapping

BINDABLE = {
    errno.EADDRINUSE: "a port that no other program listens on (stop that one, or choose another port)",
    errno.EACCES: "a port that this user may listen on (those from 1024 on, mostly)",
}


def main() -> None:
    """Run the command line."""
    command = click.Group(
        "service",
        params=_flags(),
        callback=_serve,
        help="Sell tickets, each of them once.",
        invoke_without_command=True,
        commands=[verify, repair],
    )
    try:
        command.main(prog_name="python -m service", standalone_mode=False)
    except click.ClickException as error:
        sys.stderr.write(f"turnstile: {error.format_message().rstrip('.')} (see python -m service --help)\n")
        sys.exit(2)
    except click.Abort:  # Ctrl-C before there was a service that could hear it
        sys.exit(128 + signal.SIGINT)


def _flags() -> list[click.Parameter]:
    listing = click.Option(
        ["--list"], is_flag=True, is_eager=True, expose_value=False, callback=_list,
        help="print each mode with the engine that it needs and its reach, as JSON lines, and end",
    )  # fmt: skip
    return [
        listing,
        *_settings(),
    ]


def _list(context: click.Context, _option: click.Parameter, asked: bool) -> None:  # noqa: FBT001  # as click calls it
    if asked:
        for line in catalogue.listed():
            click.echo(line)
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
        given = settings.load(os.environ, {name: value for name, value in flags.items() if value is not None})
        chosen = catalogue.chosen(given)  # before the port: what is wrong with both is to be told of what was typed
        bound = _bound(chosen.bind)
        mode, mended = catalogue.build(chosen)
    except (WrongSetting, Refused) as error:
        sys.stderr.write(f"turnstile: {error}\n")
        sys.exit(2)
    for sentence in mended:
        sys.stderr.write(f"turnstile: {sentence}\n")
    token = secrets.token_hex(32)
    host, port = bound.getsockname()[:2]
    sweeper = Sweeper(mode.store, host, port, token)
    daemons = (*daemons_of(mode), Daemon("hold-sweeper", sweeper.run))
    Server(create_app(mode, chosen, token), mode, chosen, bound, daemons).run()
    sys.exit(0)


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
