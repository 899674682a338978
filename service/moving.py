"""``python -m service copy FROM TO``: all events of a store in another one, of the same kind or of any other."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from service import engines, secret
from service.commands import KEY_S
from service.copies.files import Files
from service.copies.sqlite import SqliteFile
from service.copies.stream import digest, first_capacity, pages, together
from service.mode import Busy, Conflict, Damaged, NotWritten, Unknown, told
from service.stores.replay import Refused
from service.values import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from service.copies.stream import Copied, Digest

NAMES_AT_ONCE = 500
PROGRESS_S = 10.0
FAILED = (Refused, Busy, Conflict, Damaged, NotWritten, Unknown, OSError)


@click.command("copy", short_help="Copy all events of the store FROM to the store TO.")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
def copy(source: str, target: str) -> None:
    """Copy all events of the store FROM to the store TO, which must have none.

    A store is a directory, or the address of an engine, as for --url; @FILE is the one that stands in a file. Stop all
    services that sell from FROM first.
    """
    try:
        kept, made = opened(_said(source, "FROM"), "FROM"), opened(_said(target, "TO"), "TO")
        found = copied(kept, made, lambda sentence: click.echo(sentence, err=True))
    except FAILED as error:
        click.echo(f"no copy was made: {told(error)}")
        sys.exit(1)
    amounts = {"event": len(found)}
    amounts |= {name: sum(getattr(each, f"{name}s") for each in found) for name in ("change", "answer")}
    told_of = ", ".join(f"{amount} {name}{'s' * (amount != 1)}" for name, amount in amounts.items())
    click.echo(f"copied and compared: {told_of} kept for {'its key' if amounts['answer'] == 1 else 'their keys'}")


def _said(place: str, called: str) -> str:
    if secret.PASSWORD.search(place):
        told_of = secret.seen_by_all(called, "write the address into a file of yours alone, and @FILE in its place")
        click.echo(f"turnstile: {told_of}", err=True)
    if not place.startswith("@"):
        return place
    try:
        said = secret.read(place[1:])
    except secret.NoSecret as error:
        raise Refused(f"{called} {error}") from None
    if not said:
        raise Refused(f"{called} is {place[1:]!r}, which is empty: expected a directory or an address in it")
    return said


def opened(place: str, called: str = "FROM") -> Copied:
    """Return the store at a directory or an address, which the command line calls so. Raises ``Refused``."""
    scheme = engines.scheme_of(place) if "://" in place else engines.FILES
    if scheme == engines.FILES:
        return Files(Path(place).resolve())
    if expected := engines.expected_of(place):
        raise Refused(f"{called} is {engines.shown(place)!r}: expected a directory, or {expected}")
    try:
        return KINDS[scheme](place)
    except ModuleNotFoundError as error:
        raise engines.lacking(place, error) from error


def copied(source: Copied, target: Copied, tell: Callable[[str], object]) -> list[Digest]:
    """Copy all events and compare the two. Until both are the same, the copy says that it is incomplete."""
    since = time.time() - KEY_S
    with source.held():
        if not next(_names(source), ""):
            raise Refused("FROM holds no event that could be copied: is that where the service keeps them?")
        with target.filling():
            return _copied(source, target, since, tell)


def _copied(source: Copied, target: Copied, since: float, tell: Callable[[str], object]) -> list[Digest]:
    for name in _names(source):
        target.store.create(name, first_capacity(source, name))
        _fill(source, target, name, tell)
    # Read anew on both sides: so what was sold meanwhile, where nobody could be kept out, is found out too.
    names = list(_names(source))
    if names != list(_names(target)):
        raise Refused("events were made in FROM meanwhile: stop the services that use it, and copy again")
    found = []
    for name in names:
        tell(f"{name}: comparing")
        found.append(digest(source, name, since))
        if digest(target, name, since) != found[-1]:
            raise Refused(f"the copy of {name} is not what FROM has: stop the services that use it, and copy again")
    target.finish()
    return found


def _fill(source: Copied, target: Copied, name: str, tell: Callable[[str], object]) -> None:
    event, then, done = source.store.look(name), time.monotonic(), 0
    changes = event.version if isinstance(event, Event) else 0
    for batch in together(pages(source, name)):
        target.append(name, batch)
        done += len(batch)
        if time.monotonic() - then > PROGRESS_S:
            then = time.monotonic()
            tell(f"{name}: {done} lines are copied, of {changes} and one for each answer that stands alone")


def _names(source: Copied) -> Iterator[str]:
    after = ""
    while names := source.store.names(after, NAMES_AT_ONCE):
        yield from names
        after = names[-1]


def _sqlite(url: str) -> Copied:
    return SqliteFile(Path(url.removeprefix("sqlite:///")))


def _postgres(url: str) -> Copied:
    from service.copies.postgres import Database  # noqa: PLC0415  # its client need not be there

    return Database(url)


def _redis(url: str) -> Copied:
    from service.copies.redis import Keys  # noqa: PLC0415  # as above

    return Keys(url)


def _etcd(url: str) -> Copied:
    from service.copies.etcd import Cluster  # noqa: PLC0415  # as above

    return Cluster(url)


KINDS: dict[str, Callable[[str], Copied]] = {
    "sqlite": _sqlite,
    "postgresql": _postgres,
    "redis": _redis,
    "etcd": _etcd,
}
