"""Engines: what can keep the tickets, by how its address begins. Files keep them where no address is given.

An engine's client is imported when an address asks for it, so that the core needs none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from service.mode import Store
from service.settings import wrong
from service.stores.replay import Refused
from service.stores.sqlite import Sqlite

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from service.settings import Settings

FILES = ""
"""How the address of files begins: there is none."""


class EngineStore(Store, Protocol):
    """A store that several services may share."""

    def prepare(self, seeds: Mapping[str, int]) -> None:
        """Reach the engine, make there what is needed, and those events of ``seeds`` that are not there yet.

        ``seeds`` has capacities by name; where there is no event at all, ``default`` is made. Call it before the fork:
        nothing stays connected. Several services may do so at once. Raises ``Refused``.
        """

    def close(self) -> None:
        """End what ``open`` began. Nothing is asked of it after."""


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine: what its addresses look like, its best mode, and how its store is made.

    ``extra`` is what has to be installed for it, as pip calls it.
    """

    address: str
    best: str
    extra: str
    make: Callable[[Settings], EngineStore]


def _sqlite(settings: Settings) -> EngineStore:
    return Sqlite(Path(settings.url.removeprefix("sqlite:///")))


def _postgres(settings: Settings) -> EngineStore:
    from service.stores.postgres import Postgres  # noqa: PLC0415  # its client need not be there

    return Postgres(settings.url, settings.wait_s, settings.think_s)


def _redis(settings: Settings) -> EngineStore:
    from service.stores.redis_keyspace import Keyspace  # noqa: PLC0415  # its client may not be installed

    return Keyspace(settings.url, settings.wait_s)


def _etcd(settings: Settings) -> EngineStore:
    from service.stores.etcd_line import EtcdLine  # noqa: PLC0415  # it needs a client

    return EtcdLine(settings.url)


ENGINES: dict[str, Engine] = {
    "sqlite": Engine("sqlite:///tickets.db", "sqlite", "", _sqlite),
    "postgresql": Engine("postgresql://user:password@host/name", "postgres_group", "postgres", _postgres),
    "redis": Engine("redis://localhost:6379/0?prefix=turnstile", "redis_group", "redis", _redis),
    "etcd": Engine("etcd://host1:2379,host2:2379,host3:2379/turnstile", "etcd_lock", "etcd", _etcd),
}
"""By the scheme of the address."""


def scheme_of(url: str) -> str:
    """Return how the address of an engine begins; nothing for files."""
    return url.partition("://")[0] if url else FILES


def check(settings: Settings) -> None:
    """Raise ``WrongSetting`` if the address is none of an engine that there is."""
    if expected := expected_of(settings.url):
        raise wrong("url", shown(settings.url), f"{expected}, or none for files")


def expected_of(url: str) -> str:
    """Return what is expected instead of an address that is none of an engine; nothing if it is one."""
    scheme = scheme_of(url)
    # A file is a path behind the third slash: behind two, it would be taken for one that begins with "sqlite:".
    if scheme and (scheme not in ENGINES or (scheme == "sqlite" and not re.match("sqlite:///.", url))):
        return f"an address such as {' or '.join(engine.address for engine in ENGINES.values())}"
    return ""


def made(settings: Settings) -> EngineStore:
    """Return the store at an address that was checked. Raises ``Refused``."""
    engine = ENGINES[scheme_of(settings.url)]
    try:
        return engine.make(settings)
    except ModuleNotFoundError as error:
        raise lacking(settings.url, error) from error


def lacking(url: str, error: ModuleNotFoundError) -> Refused:
    """Return what to raise when the client for an address is not installed."""
    extra = ENGINES[scheme_of(url)].extra
    return Refused(
        f"{shown(url)} needs the package {error.name}, which is not installed: "
        f"pip install '.[{extra}]' where its source is"
    )


def shown(url: str) -> str:
    """Return an address without the password in it."""
    return re.sub(r"([?&][a-z]*password=)[^&]*", r"\1***", re.sub(r"(://[^:/@]*):.*@", r"\1:***@", url))
