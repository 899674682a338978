"""Commands: what somebody wants, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass, fields
from hashlib import sha256

KEY_S = 24 * 3600.0
"""How long an idempotency key is remembered, in seconds. After it, a command with the key is a new one."""


@dataclass(frozen=True, slots=True)
class Buy:
    """Buy ``quantity`` tickets. ``partial`` takes what is left when fewer remain; otherwise all or nothing.

    ``order`` is the identifier the order will have. It is part of the command because ``decide`` knows no randomness.
    ``key`` stands for an idempotency key: a command that comes again with the same key gets the first answer again.
    """

    order: str
    event: str
    quantity: int
    partial: bool = False
    buyer: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep tickets for ``ttl_s`` seconds, to be confirmed until then. All else is as with ``Buy``."""

    order: str
    event: str
    quantity: int
    ttl_s: float
    partial: bool = False
    buyer: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Confirm:
    """Make a hold a purchase."""

    order: str
    event: str
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """Give the tickets of an order, held or sold, back."""

    order: str
    event: str
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Resize:
    """Let an event have ``capacity`` tickets."""

    event: str
    capacity: int
    key: str | None = None
    order: str = ""


@dataclass(frozen=True, slots=True)
class Sweep:
    """End the holds whose time is over, as any command does that needs their tickets."""

    event: str
    key: str | None = None
    order: str = ""


Command = Buy | Hold | Confirm | Cancel | Resize | Sweep


def known_by(command: Command) -> str:
    """Return what tells it from others that are decided meanwhile: its order, or else what it does to what."""
    return command.order or f"{type(command).__name__} {command.event}"


def key_of(event: str, key: str) -> str:
    """Return what stands for an idempotency key of an event: half of a SHA-256, which has one length."""
    return sha256(f"{event}\0{key}".encode()).hexdigest()[:32]


def asked_for(command: Command) -> str:
    """Return what tells a command from another one: a digest of what was asked for, but not of the order it makes."""
    placed = isinstance(command, Buy | Hold)
    names = [field.name for field in fields(command) if field.name != "key" and not (placed and field.name == "order")]
    asked = [type(command).__name__, *(f"{name}={getattr(command, name)!r}" for name in names)]
    return sha256("\0".join(asked).encode()).hexdigest()[:16]
