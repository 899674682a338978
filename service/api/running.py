"""What else can be asked: which events there are, how the service is, and its pages. ``office.py`` answers."""

from __future__ import annotations

from service import wire
from service.api.buying import EVENT_BODY
from service.api.operation import BODY, NO_EVENT, NO_ROUTE, READ, WRITE, Operation, Parameter, Success, refusals
from service.schema import AliveBody, EventBody, EventsBody, ModeBody, NoopBody, ReadyBody, SweptBody

TAGS = {
    "Events": "See which events there are; make and change them, with the admin token.",
    "Service": "How it keeps buyers apart, and how it is.",
    "Pages": "What people look at.",
}

MEDIA = ("text/html", "text/css", "text/javascript", "image/svg+xml")
PAGE = Success(200, "The page.", media=MEDIA[:1], headers=("ETag",))
UNCHANGED = Success(304, "What `If-None-Match` names is still good.", media=(), headers=("ETag",))
MODE_BODY = {
    "mode": "group_commit",
    "claim": {
        "reach": "processes",
        "survives": ["killed holder", "power loss"],
        "waits": "queues",
        "fair": False,
        "price": "fails together what was written together",
    },
    "workers": 4,
    "threads": 8,
}
READY_BODY = {
    "status": "ready",
    "checks": {"store": "open", "engine": "none", "lock": "obtainable", "disk": "above the floor"},
}
BEHIND = Parameter("after", "query", str, "the name behind which to begin")

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "events",
        "get",
        "/events",
        "Events",
        "Which events there are",
        (Success(200, "A page of events.", EventsBody, example={"events": [EVENT_BODY], "next": None}),),
        READ,
        query=(wire.LIMIT, BEHIND),
    ),
    Operation(
        "put",
        "put",
        "/events/{event}",
        "Events",
        "Make an event, or change its capacity",
        (
            Success(
                201,
                "The event was made.",
                EventBody,
                headers=("Location",),
                links=dict.fromkeys(("look", "tickets", "buy", "hold"), "event"),
                example=EVENT_BODY | {"count": 100, "version": 0},
            ),
            Success(200, "The event has this capacity.", EventBody, example=EVENT_BODY),
        ),
        (*BODY, *NO_ROUTE, *refusals(409, "capacity-taken"), *WRITE),
        "A capacity can be lowered to the highest ticket that is sold or held, and no further.",
        wire.CapacityBody,
        {"capacity": 100},
        shows="admin",
    ),
    Operation(
        "journal",
        "get",
        "/events/{event}/journal",
        "Events",
        "The changes of an event, as JSON Lines",
        (Success(200, "A line for each change, in their order.", media=("application/jsonl",)),),
        (*NO_EVENT, *READ),
        query=(wire.AFTER,),
        shows="admin",
    ),
    Operation(
        "sweep",
        "post",
        "/events/{event}/sweep",
        "Events",
        "End the holds whose time is over",
        (Success(200, "So many were ended.", SweptBody, example=EVENT_BODY | {"ended": 2}),),
        (*NO_EVENT, *WRITE),
        "It is for the sweeper of the service, which asks for it where there is something to end.",
        shows="sweeper",
    ),
    Operation(
        "mode",
        "get",
        "/mode",
        "Service",
        "What keeps buyers apart here, and what it promises",
        (Success(200, "The mode's claim.", ModeBody, example=MODE_BODY),),
    ),
    Operation(
        "healthz",
        "get",
        "/healthz",
        "Service",
        "Whether it is alive",
        (Success(200, "It is.", AliveBody, example={"status": "alive"}),),
    ),
    Operation(
        "readyz",
        "get",
        "/readyz",
        "Service",
        "Whether this worker can sell now",
        (Success(200, "It can.", ReadyBody, example=READY_BODY),),
        refusals(503, "not-ready"),
    ),
    Operation(
        "metrics",
        "get",
        "/metrics",
        "Service",
        "What was counted, for Prometheus",
        (Success(200, "Prometheus' text format.", media=("text/plain",)),),
        NO_ROUTE,
    ),
    Operation(
        "openapi",
        "get",
        "/openapi.json",
        "Service",
        "This document",
        (Success(200, "OpenAPI 3.1.", headers=("ETag",)), UNCHANGED),
    ),
    Operation("docs", "get", "/docs", "Pages", "This document, to read", (PAGE, UNCHANGED)),
    Operation("page", "get", "/", "Pages", "The page for buyers", (PAGE, UNCHANGED)),
    Operation("lab", "get", "/lab", "Pages", "The page that shows a race", (PAGE, UNCHANGED)),
    Operation(
        "web",
        "get",
        "/web/{name}",
        "Pages",
        "What the pages are made of",
        (Success(200, "The file.", media=MEDIA, headers=("ETag",)), UNCHANGED),
        NO_ROUTE,
    ),
)

HARNESS = Operation(
    "noop",
    "post",
    "/noop",
    "Service",
    "Read a purchase, and carry nothing out",
    (Success(200, "What was read.", NoopBody),),
    BODY,
    "It is there when a load test starts the service.",
    wire.BuyBody,
    {"quantity": 3},
    keyed=True,
)
"""What there is only with ``--harness true``."""
