"""On which terms a Redis server is sold from: those on which no sale is lost in silence.

A server that evicts keys may forget an order, or an idempotency key, and sell twice: it is refused. One that answers
before the change is on disk is not, for that is what many want; but whoever starts the service is told.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit

from redis import exceptions

from service.mode import Busy, NotWritten, Unknown, told
from service.stores.redis_link import REPLY_S, connection
from service.stores.replay import Refused

if TYPE_CHECKING:
    from service.stores.redis_link import Link

PREFIX = "turnstile"
PREFIXES = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""Nothing that could end the hash tag, by which a cluster knows that keys belong together."""
REWRITING = b"no-appendfsync-on-rewrite"
MAJOR_MIN = 7
"""The first Redis that asks of a script whether it writes before it is begun."""
NO_ADDRESS = (
    "the address after redis:// is none that Redis can be reached at: expected redis://:password@host:port/number, "
    "with what is special in a password as %25 stands for %"
)


def parted(url: str) -> tuple[str, str]:
    """Return a URL as redis-py takes it, and the prefix of our keys. Raises ``Refused``."""
    try:
        parts = urlsplit(url)
    except ValueError:  # it would quote the part that has the password in it
        raise Refused(NO_ADDRESS) from None
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    prefix = query.pop("prefix", PREFIX)
    if not PREFIXES.fullmatch(prefix):
        raise Refused(f"the prefix {prefix!r} cannot be that of keys: expected 1 to 64 of A-Z, a-z, 0-9, '_', '.', '-'")
    if "password" in query:  # it would stand in logs, where only one before the host is left out
        raise Refused("a password belongs before the host: redis://:PASSWORD@HOST:PORT/DB")
    socket = not parts.netloc and not re.fullmatch("/?[0-9]*", parts.path)
    scheme = "unix" if socket else parts.scheme
    address = f"{scheme}://{parts.netloc}{parts.path}" + (f"?{urlencode(query)}" if query else "")
    try:
        connection(address, REPLY_S)
    except (ValueError, TypeError):  # as above
        raise Refused(NO_ADDRESS) from None
    return address, prefix


def held_to(link: Link) -> list[str]:
    """Return what is to be told of a server. Raises ``Refused`` where tickets cannot be sold from it."""
    try:
        said = _said(link.ask(b"INFO", b"everything").decode())
    except (Busy, NotWritten, Unknown) as error:
        if isinstance(error.__cause__, exceptions.ResponseError | exceptions.AuthenticationError):
            why = getattr(error, "why", error)
            remedy = "correct the user, the password or the number behind the host in --url (TURNSTILE_URL)"
            raise Refused(f"the Redis server refuses ({why}): {remedy}") from None
        raise Refused(f"{told(error)}: start a Redis server there, or give another --url (TURNSTILE_URL)") from error
    major = int(said["redis_version"].partition(".")[0])
    if major < MAJOR_MIN:
        raise Refused(f"the server is Redis {said['redis_version']}, and {MAJOR_MIN}.0 or a newer one is needed")
    if said["role"] != "master":
        raise Refused("the server is a replica, which cannot be written to: give the address of its primary as --url")
    if said.get("cluster_enabled", "0") != "0":
        raise Refused(
            "the server is a node of a cluster, which this service does not follow: give a single one as --url"
        )
    if said["maxmemory_policy"] != "noeviction":
        raise Refused(
            f"the server's maxmemory-policy is {said['maxmemory_policy']}, by which orders may be deleted and their "
            f"tickets sold again: set it to noeviction"
        )
    return _durability(said, link)


def _durability(said: dict[str, str], link: Link) -> list[str]:
    if said["aof_enabled"] != "1":
        return ["redis keeps no append-only file, so its end loses sales: set appendonly to yes, appendfsync to always"]
    try:
        fsync, skipped = (link.ask(b"CONFIG", b"GET", name)[1].decode() for name in (b"appendfsync", REWRITING))
    except (NotWritten, IndexError):  # a hosted server may not say
        return ["redis does not tell its appendfsync: a power loss may lose sales unless it is always"]
    if fsync != "always":
        return [
            f"redis has appendfsync {fsync}, so a power loss may lose the sales of its last seconds: always loses none"
        ]
    if skipped == "yes":
        return ["redis has no-appendfsync-on-rewrite yes, so a power loss may lose sales: set it to no"]
    return []


def _said(text: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in text.splitlines() if ":" in line)
    return {name: value.strip() for name, _, value in pairs}
