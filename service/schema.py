"""The bodies of replies, as clients see them: what the code builds, and what the API's document is made of.

They are dictionaries with names for their types, so that a reply costs no more than a dictionary does, and mypy holds
the code that builds one to what is documented.
"""

from typing import Annotated, Literal, NotRequired

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict  # pydantic asks for this one before Python 3.12

from service.mode import Mishap, Reach, Wait
from service.values import EVENT_NAME, Status

CLOSED = ConfigDict(extra="forbid")

EventName = Annotated[
    str,
    Field(pattern=f"^{EVENT_NAME.pattern}$", description="1 to 64 of a-z, 0-9 and `-`, of which `-` is not the first"),
]
OrderId = Annotated[str, Field(pattern="^[0-9a-f]{32}([0-9a-f]{8})?$", description="an order's identifier")]
Ticket = Annotated[int, Field(ge=1, description="a ticket is a number from 1 to the capacity")]
Tickets = Annotated[tuple[Ticket, ...], Field(description="the numbers of the tickets")]
Run = Annotated[tuple[Ticket, ...], Field(min_length=2, max_length=2, description="the first and the last of a run")]
Count = Annotated[int, Field(ge=0, description="how many tickets are left")]
Version = Annotated[int, Field(ge=0, description="the number of changes that the event has seen")]


@with_config(CLOSED)
class EventBody(TypedDict):
    """An event's counters."""

    event: EventName
    capacity: Annotated[int, Field(ge=0, description="how many tickets there are")]
    count: Count
    version: Version


@with_config(CLOSED)
class OrderBody(TypedDict):
    """An order as its last change left it, with the `count` and the `version` that this change made."""

    order: OrderId
    event: EventName
    status: Annotated[Status, Field(description="where it stands")]
    quantity: Annotated[int, Field(ge=1, description="how many tickets it has")]
    tickets: Tickets
    count: Count
    version: Annotated[int, Field(ge=1, description="the version of the event that it made")]
    buyer: NotRequired[Annotated[str, Field(description="who bought, if that was said")]]
    expires_at: NotRequired[
        Annotated[float, Field(description="when the hold ends, in seconds since 1970; of a hold only")]
    ]


@with_config(CLOSED)
class EventsBody(TypedDict):
    """A page of events."""

    events: Annotated[tuple[EventBody, ...], Field(description="the events, in the order of their names")]
    next: Annotated[EventName | None, Field(description="what to ask for `after` this page, or null: there is no more")]


@with_config(CLOSED)
class TicketsBody(EventBody):
    """Which tickets, of those that were asked for, are sold and held; all others are free."""

    sold: Annotated[tuple[Run, ...], Field(description="runs of tickets that are sold")]
    held: Annotated[tuple[Run, ...], Field(description="runs of tickets that are held")]


@with_config(CLOSED)
class SweptBody(EventBody):
    """An event after its overdue holds were ended."""

    ended: Annotated[int, Field(ge=0, description="how many holds were ended")]


@with_config(CLOSED)
class ClaimBody(TypedDict):
    """What a mode promises."""

    reach: Annotated[Reach, Field(description="how far apart two sellers may stand and never sell one ticket twice")]
    survives: Annotated[
        tuple[Mishap, ...],
        Field(description="what may happen to the one inside, with nothing lost and nobody stuck"),
    ]
    waits: Annotated[Wait, Field(description="how the others wait")]
    fair: Annotated[bool, Field(description="first come, first served")]
    price: Annotated[str, Field(description="what it costs or leaves undone")]


@with_config(CLOSED)
class ModeBody(TypedDict):
    """How this service keeps buyers apart, and how it is served."""

    mode: Annotated[str, Field(description="the mode's name")]
    claim: ClaimBody
    workers: Annotated[int, Field(ge=1, description="how many worker processes there are")]
    threads: Annotated[int, Field(ge=1, description="how many threads each of them has")]


@with_config(CLOSED)
class AliveBody(TypedDict):
    """That the service is alive."""

    status: Literal["alive"]


@with_config(CLOSED)
class ReadyBody(TypedDict):
    """That this worker can sell, and what was looked at."""

    status: Literal["ready"]
    checks: Annotated[
        dict[Literal["store", "engine", "lock", "disk"], str], Field(description="what was found, in a few words")
    ]


@with_config(CLOSED)
class NoopBody(TypedDict):
    """A purchase that was read and not carried out."""

    order: OrderId
    quantity: Annotated[int, Field(ge=1, description="how many tickets were asked for")]


@with_config(CLOSED)
class ProblemBody(TypedDict):
    """A problem (RFC 9457)."""

    type: Annotated[str, Field(description="which problem it is, for programs")]
    title: Annotated[str, Field(description="which problem it is, for people")]
    status: Annotated[int, Field(description="the status of the reply")]
    detail: Annotated[str, Field(description="what was wrong this time, and what is expected")]


@with_config(CLOSED)
class EventProblemBody(ProblemBody, EventBody):
    """A problem that was decided, with the event's counters as the decision saw them."""
