"""Run scenes: start the service in one mode after the other, or take one that is running, and record what happens."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import requests

from loadtest import client, drive, faults, folder, gauges, history, schedule, serve, transport, volume
from loadtest.check import Start
from loadtest.drive import ClientDied
from loadtest.engines import FILES
from loadtest.faults import Scenery, Unfinished
from loadtest.gauges import Unread
from loadtest.history import Operation
from loadtest.scene import Scene
from loadtest.schedule import Part
from loadtest.serve import NotServed
from loadtest.servers.process import Missing
from loadtest.usage import Meter
from loadtest.verdict import PROMISES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from loadtest.drive import Driven, Progress
    from loadtest.engines import Database
    from loadtest.plan import Plan
    from loadtest.schedule import Kind


class NoTurnstile(Exception):
    """What answers does not speak the contract. The message says so in one sentence."""


class WrongToken(NoTurnstile):
    """It does, and knows another token."""


REFUSALS = {401, 403}
"""Who shows a token is answered so if it is not the right one."""
WAIT_S = 30.0
"""How long a buyer may wait for the others: long enough that a slow mode is measured, not refused."""


@dataclass(frozen=True, slots=True)
class Setup:
    """How the service is started, on how many hosts, how many client processes drive it, and what befalls it.

    In a ``soak`` that goes on until the end, and what the service uses is looked at.
    """

    workers: int
    threads: int
    processes: int
    trace: bool
    hosts: int = 1
    faults: tuple[Kind, ...] = ()
    soak: bool = False


def serve_and_run(
    mode: str, place: Path, plan: Plan, setup: Setup, progress: Callable[[Progress], None], database: Database = FILES
) -> None:
    """Start a service in ``mode`` (or any, for the ceiling), carry out ``plan``, and leave the slice in ``place``.

    Where there are several hosts, they sell the tickets of one ``database``.
    """
    plan = replace(plan, event=database.event)
    _begin(place, plan)
    homes = [place / f"host-{number + 1}" for number in range(setup.hosts)] if setup.hosts > 1 else [place]
    for home in homes:
        (home / "data").mkdir(mode=0o700, parents=True)
    (place / "served.json").write_text(json.dumps({"hosts": setup.hosts, "engine": database.engine}))
    try:
        with ExitStack() as stack:
            small = stack.enter_context(volume.mounted(place / "data")) if "full-disk" in setup.faults else None
            for data in [small.here] if small else [home / "data" for home in homes]:
                # The article's store, to the letter: the service must open it as it is.
                (data / f"{plan.event}.json").write_text(json.dumps({"count": plan.tickets}))
            if small and database.engine == "sqlite":
                database = replace(database, url=f"sqlite:///{small.path}/tickets.db")
            flags = _flags(mode, place, plan, setup, database)
            hosts = stack.enter_context(serve.services(homes, flags, into=small.into if small else ()))
            scene = Scene(hosts[0].url, plan, mode == folder.CEILING, others=[host.url for host in hosts[1:]])
            scenery = Scenery(hosts, small, database.servers)
            try:
                _run(scene, place, hosts[0].token, lambda: _driven(scene, place, setup, scenery, progress))
            except (ClientDied, NoTurnstile, requests.RequestException) as error:
                for host in hosts:
                    if (code := host.process.poll()) is not None:
                        said = f"the service ended with {code} in the middle; its log is {host.log}"
                        raise NotServed(said) from error
                raise
    except (NotServed, Missing, Unfinished, Unread, ClientDied, NoTurnstile, requests.RequestException) as error:
        (place / "failure.txt").write_text(f"{error}\n")


def _flags(mode: str, place: Path, plan: Plan, setup: Setup, database: Database) -> dict[str, object]:
    flags: dict[str, object] = {"workers": setup.workers, "threads": setup.threads}
    flags |= {"think_s": plan.think_s, "wait_s": WAIT_S}
    if mode == folder.CEILING:
        return flags
    flags |= {"mode": mode} | ({"trace": place} if setup.trace else {})
    return flags | ({"url": database.url} if database.url else {})


def _driven(scene: Scene, place: Path, setup: Setup, scenery: Scenery, progress: Callable[[Progress], None]) -> Driven:
    meter = Meter([host.process.pid for host in scenery.services], scenery.servers)
    with ExitStack() as stack:
        if setup.soak:
            progress = stack.enter_context(gauges.read(scenery.services, place, scenery.servers, progress))
        if not setup.faults:
            return drive.drive(scene, place, setup.processes, meter, progress)
        plan = scene.plan
        parts: Sequence[Part] = [Part(schedule.steps(setup.faults, plan.seed, setup.hosts))]
        if setup.soak:
            parts = schedule.until_the_end(setup.faults, plan.seed, setup.hosts, plan.seconds)
        amid = stack.enter_context(faults.amid(parts, scenery, plan, place))
        driven = drive.drive(scene, place, setup.processes, meter, amid.watch.told(progress), amid.down)
    # A service that was killed has taken with it what processor time it had used.
    return replace(driven, usage=replace(driven.usage, service_s=None)) if amid.again else driven


def run_against(
    url: str, place: Path, plan: Plan, processes: int, token: str, progress: Callable[[Progress], None]
) -> None:
    """Carry out ``plan`` against a service that is running, through HTTP alone, and leave the slice in ``place``."""
    _begin(place, plan)
    try:
        scene = Scene(url, plan)
        _run(scene, place, token, lambda: drive.drive(scene, place, processes, Meter(None), progress))
    except (ClientDied, NoTurnstile) as error:
        (place / "failure.txt").write_text(f"{error}\n")
    except requests.RequestException as error:
        (place / "failure.txt").write_text(f"{_unexpected(url, error)}\n")


def refusal(url: str, event: str, token: str) -> tuple[str, str]:
    """Return why a run against ``url`` would tell nothing (nothing if it would), after what has to be corrected."""
    if not url.startswith(("http://", "https://")):
        return "'URL'", f"{url!r} is no address of a service: expected one such as http://127.0.0.1:8000"
    try:
        with transport.session() as session:
            _looked(session, url, event, token)
    except WrongToken as error:
        return "'--token' (TURNSTILE_ADMIN_TOKEN)", str(error)
    except NoTurnstile as error:
        return "'URL'", str(error)
    except requests.RequestException as error:
        return "'URL'", _unexpected(url, error)
    return "", ""


def _unexpected(url: str, error: requests.RequestException) -> str:
    if isinstance(error, transport.NeverSent):
        return f"nobody answers at {url} ({error}): start the service first"
    return f"the service at {url} did not answer as expected: {error}"


def _begin(place: Path, plan: Plan) -> None:
    place.mkdir(parents=True)
    (place / "plan.json").write_text(json.dumps(asdict(plan)))


def _run(scene: Scene, place: Path, token: str, driven_so: Callable[[], Driven]) -> None:
    event_url = f"{scene.url}/events/{scene.plan.event}"
    with transport.session() as session:
        mode, start = _looked(session, scene.url, scene.plan.event, token)
    (place / "mode.json").write_text(mode)
    (place / "start.json").write_text(json.dumps(asdict(start)))
    driven = driven_so()
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
        kind = WrongToken if token and reply.status_code in REFUSALS else NoTurnstile
        raise kind(f"GET {url} was answered {reply.status_code}: {_detail(reply)}")
    return reply.text


def _detail(reply: requests.Response) -> str:
    """Return what the service says of it, or else what its status means."""
    try:
        return str(reply.json()["detail"])
    except (ValueError, TypeError, KeyError):
        return reply.reason
