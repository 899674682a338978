"""The log: lines on standard error, as JSON for programs or as text for people, each written whole or not at all.

Who reads them may be slow, or gone, or a full disk: nobody waits for that, and what finds no room is lost (it is
counted). Nothing that a client says can begin a line of its own or move a terminal's cursor. Identifiers of orders are
cut short, for whoever knows one may cancel it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import select
import socket
import stat
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Literal

from service import watch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Form = Literal["text", "json"]

LINE_BYTES_MAX = 4096
"""No line is longer: so much goes into a pipe whole, or not at all."""
MESSAGE_CHARACTERS_MAX = 500
LONG_HEX = re.compile("([0-9a-f]{16})[0-9a-f]{16,}")
ORDER_SHOWN = 16
"""So much of an order's identifier is shown: eight digits for the event, and eight of those 32 that chance gave."""
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING}
STANDARD_ERROR = 2
LOG = logging.getLogger("turnstile")


class Sink:
    """Where lines go, without waiting for it."""

    def __init__(self, descriptor: int = STANDARD_ERROR) -> None:
        self._torn = False
        self._own = contextlib.ExitStack()
        kind = os.fstat(descriptor).st_mode
        self._write: Callable[[bytes], int] = partial(os.write, descriptor)  # a disk may refuse, but does not wait
        if stat.S_ISSOCK(kind):
            there = self._own.enter_context(socket.socket(fileno=os.dup(descriptor)))
            self._write = partial(_sent, there)
        elif stat.S_ISFIFO(kind) or stat.S_ISCHR(kind):
            try:
                # A description of our own: others who have this one, such as a shell, may want to wait.
                own = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            except OSError:  # somebody else's
                self._write = partial(_written_if_ready, descriptor)
            else:
                self._own.callback(os.close, own)
                self._write = partial(os.write, own)

    def close(self) -> None:
        """Close what it has opened."""
        self._own.close()

    def write(self, line: str) -> None:
        """Write a line, or lose it."""
        text = (b"\n" if self._torn else b"") + line.encode() + b"\n"
        try:
            self._torn = self._write(text) < len(text)
        except OSError:
            watch.here.lost_line()


class Handler(logging.Handler):
    """Writes what is logged to a sink."""

    def __init__(self, sink: Sink, form: Form) -> None:
        super().__init__()
        self._sink = sink
        self._made = as_json if form == "json" else as_text

    def createLock(self) -> None:  # noqa: N802  # logging has it
        """Have no lock: a line is one write."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Write without asking for that lock, which Python 3.13 takes to be there."""
        kept = bool(self.filter(record))
        if kept:
            self.emit(record)
        return kept

    def emit(self, record: logging.LogRecord) -> None:
        try:
            fields = dict(getattr(record, "fields", ()))
            if record.exc_info:
                fields["exception"] = LONG_HEX.sub(r"\1...", logging.Formatter().formatException(record.exc_info))
            self.line(record.levelname.lower(), LONG_HEX.sub(r"\1...", record.getMessage()), fields)
        except Exception:  # noqa: BLE001  # whatever cannot be told, the service goes on
            watch.here.lost_line()

    def line(self, level: str, message: str, fields: Mapping[str, object]) -> None:
        """Write a line."""
        self._sink.write(self._made(level, message[:MESSAGE_CHARACTERS_MAX], fields))

    def say(self, sentence: str) -> None:
        """Write what is said whatever the level: that the service sells, and that it has stopped."""
        self._sink.write(as_json("notice", sentence, {}) if self._made is as_json else f"turnstile: {tame(sentence)}")


class Log:
    """How this service writes, known before its first line."""

    handler: Handler
    level = logging.WARNING


def begin(form: Form, level: str) -> None:
    """Write lines like this from here on."""
    Log.handler, Log.level = Handler(Sink(), form), LEVELS[level]
    LOG.handlers[:] = [Log.handler]
    LOG.setLevel(Log.level)
    LOG.propagate = False
    # What packages warn of, as OpenTelemetry of a collector that is away: else it comes as bare lines between ours.
    logging.getLogger().handlers[:] = [Log.handler]


def as_json(level: str, message: str, fields: Mapping[str, object]) -> str:
    """Return a line for programs: one object in ASCII."""
    said = {"time": _now(), "level": level, "process": os.getpid(), "message": message, **fields}
    line = json.dumps(said, separators=(",", ":"), default=str)
    while len(line) >= LINE_BYTES_MAX:
        name = max(said, key=lambda each: len(str(said[each])))
        text = str(said[name])
        said[name] = text[len(text) // 2 :]  # of a traceback the end says what happened
        line = json.dumps(said, separators=(",", ":"), default=str)
    return line


def as_text(level: str, message: str, fields: Mapping[str, object]) -> str:
    """Return a line for people. A traceback follows in lines of its own, which no line of the log begins like."""
    shown = dict(fields)
    trace = str(shown.pop("exception", ""))
    words = [_now(), level.upper(), f"[{os.getpid()}]", tame(message)]
    words += [f"{name}={_word(value)}" for name, value in shown.items()]
    first = " ".join(words).encode()[: LINE_BYTES_MAX - 1].decode(errors="ignore")
    room, rest = LINE_BYTES_MAX - 1 - len(first.encode()), []
    for line in reversed(trace.splitlines()):  # its end says what happened
        shown_line = f"\n  | {tame(line)}"
        room -= len(shown_line.encode())
        if room < 0:
            break
        rest.append(shown_line)
    return first + "".join(reversed(rest))


def tame(text: str) -> str:
    """Return a text that stays on its line and tells a terminal nothing."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _word(value: object) -> str:
    text = str(value)
    return text if text.isascii() and text.isprintable() and not set(text) & set(' "=') else json.dumps(text)


def _now() -> str:
    return f"{datetime.now(UTC).isoformat(timespec='milliseconds')[:-6]}Z"


def _sent(there: socket.socket, text: bytes) -> int:
    return there.send(text, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def _written_if_ready(descriptor: int, text: bytes) -> int:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    if not poll.poll(0):
        raise BlockingIOError
    return os.write(descriptor, text)
