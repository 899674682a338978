"""Settings: the environment, and the command line's flags over it, made into one frozen value.

Nobody else reads ``os.environ``. A variable that starts with ``TURNSTILE_`` and is no setting is an error, for a
misspelt setting that is silently ignored is found out too late.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, DirectoryPath, Field, ValidationError

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "TURNSTILE_"
PORT_MAX = 65_535
SECRET = {"admin_token", "url"}
"""Settings that are, or have in them, what must not stand in a log."""


class WrongSetting(Exception):
    """A setting has a value that it cannot have, or there is no such setting. The message is one sentence."""


def wrong(name: str, value: str, expected: str) -> WrongSetting:
    """Return the error for the setting ``name``, which is ``value`` where something else was expected."""
    return WrongSetting(f"--{name.replace('_', '-')} ({PREFIX}{name.upper()}) is {value!r}: expected {expected}")


def _address(text: str) -> str:
    match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})", text)
    if not match or int(match[2]) > PORT_MAX:
        raise ValueError
    return text


def _digits(value: object) -> object:
    if isinstance(value, str) and not re.fullmatch("[0-9]+", value):  # not 4.0, 1_0 or ٣, which Python would take
        raise ValueError
    return value


def _word(value: object) -> object:
    if isinstance(value, str) and value not in {"true", "false"}:
        raise ValueError
    return value


def _place(text: object) -> object:
    if not str(text).strip():
        raise ValueError
    return text


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
            title="the engine that keeps the tickets, for several machines; none: files in the directory of --data",
            description="an address such as sqlite:///tickets.db or postgresql://user:password@host/name",
        ),
    ] = ""
    workers: Annotated[
        int,
        BeforeValidator(_digits),
        Field(ge=1, le=64, title="worker processes", description="a whole number from 1 to 64"),
    ] = 4
    threads: Annotated[
        int,
        BeforeValidator(_digits),
        Field(ge=1, le=256, title="threads in each worker", description="a whole number from 1 to 256"),
    ] = 8
    waiting_max: Annotated[
        int,
        BeforeValidator(_digits),
        Field(
            ge=0,
            le=100_000,
            title="requests that may wait in each worker before the next one is told to come again",
            description="a whole number from 0 to 100000",
        ),
    ] = 512
    data: Annotated[
        Path,
        BeforeValidator(_place),
        Field(
            title="where files keep the tickets; with an engine, where new events are found",
            description="a directory, which is made if it is not there",
        ),
    ] = Path("data")
    bind: Annotated[
        str,
        AfterValidator(_address),
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
    verify: Annotated[
        bool,
        BeforeValidator(_word),
        Field(
            title="read all journals from the first line to the last before selling",
            description="true or false",
        ),
    ] = False
    admin_token: Annotated[
        str,
        Field(
            pattern=r"^(?:[!-~]{16,256})?$",
            title="what an administrator must show; none: nobody is one",
            description="16 to 256 printable ASCII characters without spaces",
        ),
    ] = ""
    trace: Annotated[
        DirectoryPath | None,
        Field(title="write a trace of every order to this folder, for a load test", description="a directory there is"),
    ] = None
    harness: Annotated[
        bool,
        BeforeValidator(_word),
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
            known = ", ".join(f"{PREFIX}{field.upper()}" for field in Settings.model_fields)
            raise WrongSetting(f"{PREFIX}{name} is no setting: there are {known}")
    given = {name.lower(): value for name, value in ours.items()} | dict(flags)
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        shown = "(not shown)" if name in SECRET else given[name]
        raise wrong(name, shown, str(Settings.model_fields[name].description)) from None
