"""Run scenes: start the service in one mode after the other, or take one that is running, and record what happens.

Modes are interleaved: each round runs all of them, beginning with another one each time, and a no-op ceiling, so that
noise that outlasts a round falls on all alike.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import requests

from loadtest import client, drive, folder, history, serve, transport
from loadtest.check import Start
from loadtest.drive import ClientDied
from loadtest.history import Operation
from loadtest.scene import Scene
from loadtest.serve import NotServed
from loadtest.usage import Meter
from loadtest.verdict import PROMISES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from loadtest.drive import Progress
    from loadtest.plan import Plan


class NoTurnstile(Exception):
    """What answers does not speak the contract. The message says so in one sentence."""


WAIT_S = 30.0
"""How long a buyer may wait for the others: long enough that a slow mode is measured, not refused."""


@dataclass(frozen=True, slots=True)
class Setup:
    """How the service is started, and how many client processes drive it."""

    workers: int
    threads: int
    processes: int
    trace: bool


def order(modes: Sequence[str], repeat: int, *, ceiling: bool) -> Iterator[tuple[int, str]]:
    """Yield what to run, as (round, mode): each round all modes and the ceiling, rotated by one each time."""
    names = [*([folder.CEILING] if ceiling else []), *modes]
    for number in range(repeat):
        turn = number % len(names)
        yield from ((number + 1, name) for name in names[turn:] + names[:turn])


def serve_and_run(mode: str, place: Path, plan: Plan, setup: Setup, progress: Callable[[Progress], None]) -> None:
    """Start a service in ``mode`` (or any, for the ceiling), carry out ``plan``, and leave the slice in ``place``."""
    _begin(place, plan)
    data = place / "data"
    data.mkdir(mode=0o700)
    # The article's store, to the letter: the service must open it as it is.
    (data / f"{plan.event}.json").write_text(json.dumps({"count": plan.tickets}))
    noop = mode == folder.CEILING
    flags: dict[str, object] = {"workers": setup.workers, "threads": setup.threads}
    flags |= {"think_s": plan.think_s, "wait_s": WAIT_S}
    if not noop:
        flags["mode"] = mode
    if setup.trace and not noop:
        flags["trace"] = place
    try:
        with serve.service(place, flags) as service:
            try:
                _run(
                    Scene(service.url, plan, noop), place, setup.processes, service.token, service.process.pid, progress
                )
            except (ClientDied, NoTurnstile, requests.RequestException) as error:
                if (code := service.process.poll()) is None:
                    raise
                raise NotServed(
                    f"the service ended with {code} in the middle; its log is {place}/service.log"
                ) from error
    except (NotServed, ClientDied, NoTurnstile, requests.RequestException) as error:
        (place / "failure.txt").write_text(f"{error}\n")


def run_against(
    url: str, place: Path, plan: Plan, processes: int, token: str, progress: Callable[[Progress], None]
) -> None:
    """Carry out ``plan`` against a service that is running, through HTTP alone, and leave the slice in ``place``."""
    _begin(place, plan)
    try:
        _run(Scene(url, plan), place, processes, token, None, progress)
    except (ClientDied, NoTurnstile) as error:
        (place / "failure.txt").write_text(f"{error}\n")
    except requests.RequestException as error:
        (place / "failure.txt").write_text(f"{_unexpected(url, error)}\n")


def refusal(url: str, event: str, token: str) -> str:
    """Return why a run against ``url`` would tell nothing; nothing if it would."""
    if not url.startswith(("http://", "https://")):
        return f"{url!r} is no address of a service: expected one such as http://127.0.0.1:8000"
    try:
        with transport.session() as session:
            _looked(session, url, event, token)
    except NoTurnstile as error:
        return str(error)
    except requests.RequestException as error:
        return _unexpected(url, error)
    return ""


def _unexpected(url: str, error: requests.RequestException) -> str:
    return f"the service at {url} did not answer as expected: {error}"


def _begin(place: Path, plan: Plan) -> None:
    place.mkdir(parents=True)
    (place / "plan.json").write_text(json.dumps(asdict(plan)))


def _run(
    scene: Scene, place: Path, processes: int, token: str, group: int | None, progress: Callable[[Progress], None]
) -> None:
    event_url = f"{scene.url}/events/{scene.plan.event}"
    with transport.session() as session:
        mode, start = _looked(session, scene.url, scene.plan.event, token)
    (place / "mode.json").write_text(mode)
    (place / "start.json").write_text(json.dumps(asdict(start)))
    driven = drive.drive(scene, place, processes, Meter(group), progress)
    (place / "usage.json").write_text(json.dumps(asdict(driven.usage)))
    with transport.session() as session:
        last = client.look(session, event_url, Operation("look", "the last look", -1, 0, 0, 0, "unknown"))
        if token:  # after the look: a hold may end at any moment, and the journal must have all that was seen
            (place / "journal.jsonl").write_text(_asked(session, f"{event_url}/journal?after={start.version}", token))
    history.save(place / "last.jsonl", [last])


def _looked(session: requests.Session, url: str, event: str, token: str) -> tuple[str, Start]:
    """Return the mode and where the event stands. A wrong token is found out here, before anything is bought."""
    event_url = f"{url}/events/{event}"
    mode = _asked(session, f"{url}/mode", token)
    start = _understood(url, mode, _asked(session, event_url, token))
    if token:
        _asked(session, f"{event_url}/journal?after={start.version}", token)
    return mode, start


def _understood(url: str, mode: str, seen: str) -> Start:
    """Return where the event stands. Raises ``NoTurnstile`` unless both replies say what they must."""
    try:
        word, event = json.loads(mode), json.loads(seen)
        known = word["claim"]["reach"] in PROMISES and isinstance(word["workers"], int)
        figures = [event["capacity"], event["count"], event["version"]]
    except (ValueError, TypeError, KeyError) as error:
        raise NoTurnstile(
            f"what answers at {url} is no Turnstile: its /mode or its event says nothing of it"
        ) from error
    if not known or not all(type(figure) is int for figure in figures):
        raise NoTurnstile(f"what answers at {url} is no Turnstile that this load test knows: {mode.strip()[:200]}")
    return Start(*figures)


def _asked(session: requests.Session, url: str, token: str) -> str:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    reply = session.get(url, headers=headers, timeout=client.REPLY_S)
    if not reply.ok:
        raise NoTurnstile(f"GET {url} was answered {reply.status_code}: {_detail(reply)}")
    return reply.text


def _detail(reply: requests.Response) -> str:
    """Return what the service says of it, or else what its status means."""
    try:
        return str(reply.json()["detail"])
    except (ValueError, TypeError, KeyError):
        return reply.reason
