"""Settings: the environment, and the command line's flags over it, made into one frozen value.

Nobody else reads ``os.environ``. A variable that starts with ``TURNSTILE_`` and is no setting is an error, for a
misspelt setting that is silently ignored is found out too late.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, DirectoryPath, Field, ValidationError

from service import secret, words

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "TURNSTILE_"
SECRET = {"admin_token", "url"}
"""Settings that are, or have in them, what must not stand in a log. For each, another one may name a file with it."""


class WrongSetting(Exception):
    """A setting has a value that it cannot have, or there is no such setting. The message is one sentence."""


def wrong(name: str, value: str, expected: str) -> WrongSetting:
    """Return the error for the setting ``name``, which is ``value`` where something else was expected."""
    return WrongSetting(f"--{name.replace('_', '-')} ({PREFIX}{name.upper()}) is {value!r}: expected {expected}")


class Settings(BaseModel):
    """All settings. A field's title says what it is, its description what it may be."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    mode: Annotated[
        str,
        Field(
            title="how buyers are kept apart",
            description="the name of a mode; none: the best one for what keeps the tickets (group_commit for files)",
        ),
    ] = ""
    url: Annotated[
        str,
        Field(
            pattern=r"^(?:[a-z]+://.*)?$",
            repr=False,
            title="the engine that keeps the tickets, for several machines; none: files in the directory of --data",
            description="an address such as sqlite:///tickets.db or postgresql://user:password@host/name",
        ),
    ] = ""
    workers: Annotated[
        int,
        BeforeValidator(words.digits),
        Field(ge=1, le=64, title="worker processes", description="a whole number from 1 to 64"),
    ] = 4
    threads: Annotated[
        int,
        BeforeValidator(words.digits),
        Field(ge=1, le=256, title="threads in each worker", description="a whole number from 1 to 256"),
    ] = 8
    waiting_max: Annotated[
        int,
        BeforeValidator(words.digits),
        Field(
            ge=0,
            le=100_000,
            title="requests that may wait in each worker before the next one is told to come again",
            description="a whole number from 0 to 100000",
        ),
    ] = 512
    data: Annotated[
        Path,
        BeforeValidator(words.place),
        Field(
            title="where files keep the tickets; with an engine, where new events are found",
            description="a directory, which is made if it is not there",
        ),
    ] = Path("data")
    bind: Annotated[
        str,
        AfterValidator(words.address),
        Field(title="where to listen", description="HOST:PORT with a port from 0 to 65535, such as 127.0.0.1:8000"),
    ] = "127.0.0.1:8000"
    wait_s: Annotated[
        float,
        Field(ge=0, le=3600, title="longest wait for the others, in seconds", description="a number from 0 to 3600"),
    ] = 5.0
    think_s: Annotated[
        float,
        Field(
            ge=0,
            le=60,
            title="pause between read and write, in seconds, to show a race",
            description="a number from 0 to 60",
        ),
    ] = 0.0
    hang_s: Annotated[
        float,
        Field(
            ge=0,
            le=3600,
            title="seconds that a worker may stand still beyond all its waits, before another one takes its place",
            description="a number from 10 to 3600, or 0 for as long as it likes",
        ),
        AfterValidator(words.hang),
    ] = 30.0
    verify: Annotated[
        bool,
        BeforeValidator(words.word),
        Field(
            title="read all journals from the first line to the last before selling",
            description="true or false",
        ),
    ] = False
    shared: Annotated[
        bool,
        BeforeValidator(words.word),
        Field(
            title="let other services of the same mode, on this machine, sell from the directory too",
            description="true or false",
        ),
    ] = False
    admin_token: Annotated[
        str,
        Field(
            pattern=r"^(?:[!-~]{16,256})?$",
            repr=False,
            title="what an administrator must show; none: nobody is one",
            description="16 to 256 printable ASCII characters without spaces",
        ),
    ] = ""
    admin_token_file: Annotated[
        str,
        Field(title="a file with the admin token, where it is no setting", description="a file that can be read"),
    ] = ""
    url_file: Annotated[
        str,
        Field(
            title="a file with the address of the engine, for one that has a password in it",
            description="a file that can be read",
        ),
    ] = ""
    log: Annotated[Literal["text", "json"], Field(title="for whom the log is written", description="text or json")] = (
        "text"
    )
    log_level: Annotated[
        Literal["debug", "info", "warning"],
        Field(
            title="what is logged: also each request from info on, also each decision from debug on",
            description="debug, info or warning",
        ),
    ] = "warning"
    tracing: Annotated[
        Literal["", "otlp"],
        Field(
            title="where a span of each request is sent, as the variables OTEL_... say; needs the extra tracing",
            description="otlp, or none",
        ),
    ] = ""
    metrics: Annotated[
        bool,
        BeforeValidator(words.word),
        Field(title="count what happens, for GET /metrics", description="true or false"),
    ] = True
    disk_floor_bytes: Annotated[
        int,
        BeforeValidator(words.digits),
        Field(
            ge=0,
            le=2**50,
            title="where less than this is free, the service sells, but is not ready",
            description="a whole number of bytes",
        ),
    ] = 16 << 20
    trace: Annotated[
        DirectoryPath | None,
        Field(title="write a trace of every order to this folder, for a load test", description="a directory there is"),
    ] = None
    harness: Annotated[
        bool,
        BeforeValidator(words.word),
        Field(
            title="name the worker in every reply and answer POST /noop, for a load test",
            description="true or false",
        ),
    ] = False


def load(environ: Mapping[str, str], flags: Mapping[str, str]) -> Settings:
    """Return the settings in ``environ``, with ``flags`` (by field name) over them. Raises ``WrongSetting``."""
    ours = {name.removeprefix(PREFIX): value for name, value in environ.items() if name.startswith(PREFIX)}
    for name in ours:
        if name != name.upper() or name.lower() not in Settings.model_fields:
            known = [field.upper() for field in Settings.model_fields]
            near = words.nearest(name.upper(), known)
            meant = f"; did you mean {PREFIX}{near}?" if near else ""
            raise WrongSetting(f"{PREFIX}{name} is no setting: there are {PREFIX}{f', {PREFIX}'.join(known)}{meant}")
    given = {name.lower(): value for name, value in ours.items()} | dict(flags)
    places = {name: given.get(f"{name}_file", "") for name in sorted(SECRET)}
    for name in places:
        _fetch(name, given)
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        expected = str(Settings.model_fields[name].description)
        if place := places.get(name):
            raise wrong(f"{name}_file", place, f"a file with {expected}") from None
        raise wrong(name, "(not shown)" if name in SECRET else given[name], expected) from None


def seen_by_all(flags: Mapping[str, str]) -> list[str]:
    """Return a sentence for each flag in which a secret is: ``ps`` shows everybody on the machine the command line."""
    return [
        secret.seen_by_all(f"--{name.replace('_', '-')}", f"use {PREFIX}{name.upper()}, or {PREFIX}{name.upper()}_FILE")
        for name in sorted(SECRET)
        if flags.get(name) and (name != "url" or secret.PASSWORD.search(flags[name]))
    ]


def _fetch(name: str, given: dict[str, str]) -> None:
    """Take a secret from the file that is named for it. Raises ``WrongSetting``."""
    file = f"{name}_file"
    place = given.pop(file, "")
    if not place:
        return
    flag, other = (f"--{each.replace('_', '-')} ({PREFIX}{each.upper()})" for each in (file, name))
    if given.get(name):
        raise WrongSetting(f"{flag} and {other} are both there: leave one of them out")
    try:
        given[name] = secret.read(place)
    except secret.NoSecret as error:
        raise WrongSetting(f"{flag} {error}") from None
    if not given[name]:
        raise WrongSetting(f"{flag} is {place!r}, which is empty: expected {Settings.model_fields[name].description}")
