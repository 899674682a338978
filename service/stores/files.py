"""The files of a data directory, as values: the guard's names and the table of the reference are made of them."""

from __future__ import annotations

import re
from fnmatch import translate
from typing import NamedTuple


class Kind(NamedTuple):
    """A kind of file: its names, where capitals stand for what differs, and what is told of it."""

    names: tuple[str, ...]
    format: str
    what: str
    written_by: str
    removal: str
    """Whether it may be removed."""


WHILE_STOPPED = "while the service is stopped"
INSIDE = "whoever is inside"
KINDS = (
    Kind(
        ("EVENT.json",), "a JSON document",
        "the checkpoint: `count`, and what a start goes on from; "
        'in the article\'s form, `{"count": 10}`, it is an event with so many tickets',
        f"{INSIDE}, over what was there and at one length",
        f"{WHILE_STOPPED}: a start makes it again from the journal. Not where it is all there is of an event",
    ),
    Kind(
        ("EVENT.jsonl",), "JSON Lines, each with its checksum",
        "the journal that grows: every change with its version. **The truth**",
        f"{INSIDE}, at its end", "never",
    ),
    Kind(
        ("EVENT.000000012345.jsonl",), "the same",
        "a journal that was full, and is closed: it never changes again. The number is the version before its first "
        "change",
        "renamed once", "never",
    ),
    Kind(
        ("EVENT.flock",), "empty", "the file that `file_lock` and `group_commit` lock", "nobody",
        f"{WHILE_STOPPED}. While it runs, two could lock two different files",
    ),
    Kind(
        ("EVENT.queue",), "a number of 8 bytes",
        "the same for `ticket_lock`: the next number that is given out. Bytes behind the end stand for places in the "
        "line, and are only locked",
        "who takes a number", "the same",
    ),
    Kind(("EVENT.lease",), "text", "`lease`: who holds it, and since when", "who holds it", "the same"),
    Kind(("EVENT.lease.*",), "text", "a lease that is being taken or that was broken", "who takes it", "the same"),
    Kind(
        ("EVENT.fence",), "dots",
        "`lease`: one byte for each fence that was taken, so that its length is the highest", "who takes a lease",
        f"{WHILE_STOPPED}: a start goes on above the highest fence in the journal",
    ),
    Kind(
        ("EVENT.jsonl.stopped",), "text",
        "a journal could not be synced, so its event is not sold from until somebody has looked at the disk",
        "who met the error", "`python -m service repair` does",
    ),
    Kind(
        ("orders.sqlite", "orders.sqlite-wal", "orders.sqlite-shm"), "SQLite",
        "where in which closed journal an order or a key stands", "workers that look",
        f"{WHILE_STOPPED}: it is made again",
    ),
    Kind(("service.lock",), "text", "which service sells from the directory", "the service", WHILE_STOPPED),
    Kind(
        ("service.door",), "empty", "starts with `--shared true` go through it one after the other", "nobody",
        WHILE_STOPPED,
    ),
    Kind(
        ("incomplete",), "empty",
        "a copy was begun here and has not come to its end, so no service starts ([moving](../move.md))",
        "`python -m service copy`", "the same copy, made again, does",
    ),
    Kind(
        ("EVENT.PID-CHANCE.tmp", "EVENT.jsonl.tmp", "EVENT.json.tmp"),
        "part of a document, or a second name of a journal",
        "what was being put in its place when its process was killed", INSIDE, "by a start",
    ),
)  # fmt: skip


def _pattern(name: str) -> str:
    """Return a name as a shell would look for it."""
    return re.sub(r"[A-Z]+", "*", re.sub(r"\d", "[0-9]", name))


OURS = re.compile("|".join(translate(_pattern(name)) for kind in KINDS for name in kind.names))
"""What the names of our files look like. What else is in the directory is let alone."""
