"""Secrets stay where they belong: not in a log, a reply, a file, or the list of processes."""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests

from service import settings
from service.app import create_app
from service.catalogue import CLAIMS, SCHEMES
from service.engines import ENGINES
from service.settings import Settings, WrongSetting
from tests.connections import Client
from tests.counter import EngineCounter
from tests.processes import alive_of
from tests.proxy import HOST, proxied
from tests.test_service import run
from tests.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask.testing import FlaskClient

    from loadtest.serve import Service

TOKEN = "sesame-sesame-sesame"  # noqa: S105  # of this test
ASKED: list[tuple[str, str, Any]] = [
    ("POST", "/buy", {"quantity": 1}),
    ("POST", "/events/default/holds", {"quantity": 1, "ttl_s": 60}),
    ("POST", "/orders/{order}/confirm", None),
    ("DELETE", "/orders/{order}", None),
    ("GET", "/orders/{order}", None),
    ("GET", "/tickets", None),
    ("GET", "/events/default/tickets", None),
    ("GET", "/events", None),
    ("GET", "/mode", None),
    ("GET", "/readyz", None),
]
"""What a buyer may ask, with what is sent."""


@pytest.mark.parametrize("name", ["admin_token", "url"])
def test_a_secret_may_stand_in_a_file(tmp_path: Path, name: str) -> None:
    """As Docker and others give secrets: a variable names the file, whose last line break does not count."""
    place, said = tmp_path / "secret", {"admin_token": TOKEN, "url": "redis://:sesame@host/0"}[name]
    variable = f"TURNSTILE_{name.upper()}_FILE"
    for end in ("", "\n", "\r\n"):
        place.write_text(f"{said}{end}")
        for loaded in (settings.load({variable: str(place)}, {}), settings.load({}, {f"{name}_file": str(place)})):
            assert getattr(loaded, name) == said
            assert said not in repr(loaded)


@pytest.mark.parametrize("name", ["admin_token", "url"])
def test_a_file_that_holds_no_secret_is_one_sentence(tmp_path: Path, name: str) -> None:
    """One that is not there, empty or no text, and a secret that is said twice; what it holds is not shown."""
    place, variable = tmp_path / "secret", f"TURNSTILE_{name.upper()}_FILE"
    cases: dict[str, tuple[bytes | None, dict[str, str]]] = {
        "No such file or directory": (None, {}),
        "which is empty: expected": (b"\n", {}),
        "it is not UTF-8": (b"sesame\xff", {}),
        "are both there: leave one of them out": (b"x", {f"TURNSTILE_{name.upper()}": "sesame"}),
        "expected a file with (16 to 256|an address)": (b"sesame\nsesame", {}),
    }
    for told, (text, more) in cases.items():
        place.unlink(missing_ok=True)
        if text is not None:
            place.write_bytes(text)
        with pytest.raises(WrongSetting, match=told) as wrong:
            settings.load({variable: str(place), **more}, {})
        assert f"TURNSTILE_{name.upper()}" in str(wrong.value)
        assert "sesame" not in str(wrong.value)


@pytest.mark.parametrize("token", ["short", "fifteen-letters", "with a space in it, and long", "x" * 257, "é" * 20])
def test_a_token_that_can_be_guessed_or_cannot_be_sent_is_refused(token: str) -> None:
    """At the start, and without showing it."""
    with pytest.raises(WrongSetting, match="expected 16 to 256 printable ASCII characters") as wrong:
        settings.load({"TURNSTILE_ADMIN_TOKEN": token}, {})
    assert token not in str(wrong.value)


def test_a_secret_on_the_command_line_is_told_of() -> None:
    """Everybody on the machine may read it there; an address without a password is none."""
    told = settings.seen_by_all({"admin_token": TOKEN, "url": "postgresql://u:sesame@host/name", "mode": "x"})
    assert [each.partition(" in the list of processes")[0] for each in told] == [
        "everybody on this machine can read --admin-token",
        "everybody on this machine can read --url",
    ]
    assert settings.seen_by_all({"url": "etcd://host:2379/turnstile", "admin_token": ""}) == []
    assert "sesame" not in "".join(told)


def test_a_service_never_tells_its_token(served: Callable[..., Service], tmp_path: Path) -> None:
    """Errors of all kinds are provoked, with the token shown to it rightly and wrongly; it is in no reply, no log, no
    file and no list of processes.
    """
    (tmp_path / "trace").mkdir()
    service = served("group_commit", trace=tmp_path / "trace")
    bearer = {"Authorization": f"Bearer {service.token}"}
    texts = [_said(service, *each, **bearer) for each in ASKED]
    texts += [_said(service, "GET", path, None, **bearer) for path in ("/events/default/journal", "/nope", "/docs")]
    for shown in _wrong(service):
        texts.append(_said(service, "PUT", "/events/concert", {"capacity": 5}, Authorization=shown))
    for malformed in (b"%s : Bearer %s", b"%s: Bearer \x00%s", b"%s Bearer %s", b"%s: Bearer %s\r\n\x00"):
        with Client(service.url) as client:
            field = malformed % (b"Authorization", service.token.encode())
            client.send(b"GET /tickets HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n" % field)
            texts.append(repr(client.reply()))
    (tmp_path / "service-1" / "data" / "default.json").write_bytes(b"damaged")
    texts += [_said(service, *each, **bearer) for each in reversed(ASKED)]  # looks first: a sale writes it anew
    assert any('"status":500' in text for text in texts)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert service.log in files
    assert "ERROR" in service.log.read_text()
    texts += [path.read_text(errors="replace") for path in files]
    texts += [Path(f"/proc/{pid}/cmdline").read_text() for pid in (service.process.pid, *alive_of(service.process.pid))]
    assert [text for text in texts if service.token in text] == []


@pytest.mark.parametrize("scheme", [scheme for scheme in ENGINES if scheme != "sqlite"])
def test_buyers_are_not_told_where_an_engine_is(
    fresh_url: Callable[[str], str], scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    """While it is cut off and when it is back in pieces: what happened to their order, and no address, account or
    password; the log says why, without the password.
    """
    url = fresh_url(scheme)
    address = urlsplit(url)
    ports = re.findall(r":(\d+)", address.netloc.rpartition("@")[2])
    with proxied(int(ports[0])) as proxy:
        netloc = address.netloc.rpartition("@")
        moved = url.replace(netloc[2], f"{HOST}:{proxy.port}")
        mode_names = [name for name in CLAIMS if SCHEMES.get(name) == scheme]
        for name in (mode_names[0], mode_names[-1]):
            counter = EngineCounter(moved)
            client = create_app(counter.opened(name, wait_s=1.0), Settings(url=moved)).test_client()
            order = client.post("/buy", json={"quantity": 1}).get_json()["order"]
            proxy.state = "cut after"
            replies = [*_asked(client, order), *_asked(client, order)]
            proxy.state = "open"
            counter.close()
            proxy.target, before = 1, proxy.target
            replies += _asked(client, order)
            proxy.target = before
            texts = "".join(text for _, text in replies)
            assert {status for status, _ in replies} & {500, 503}
            for secret in (HOST, str(proxy.port), ports[0], address.password, "user"):
                assert not secret or secret not in texts
            assert not address.password or address.password not in caplog.text


@pytest.mark.parametrize(
    "url",
    ["postgresql://anna:sesame@127.0.0.1:1/x", "redis://:sesame@127.0.0.1:1/0", "redis://anna:sesame@127.0.0.1:1/0"],
)
def test_a_service_that_does_not_start_keeps_the_password(tmp_path: Path, url: str) -> None:
    """It says where it cannot reach its engine, to who started it."""
    ended = run(TURNSTILE_URL=url, TURNSTILE_DATA=str(tmp_path / "no"), TURNSTILE_BIND="127.0.0.1:0")
    assert ended.returncode == 2
    assert "127.0.0.1" in ended.stderr
    assert "sesame" not in ended.stdout + ended.stderr
    misspelt = run(TURNSTILE_URL=url.replace("sesame", "sesame/open=="), TURNSTILE_DATA=str(tmp_path / "no"))
    assert misspelt.returncode == 2
    assert "sesame" not in misspelt.stdout + misspelt.stderr
    assert "Traceback" not in misspelt.stderr


@pytest.mark.parametrize("said", ["sesame\uff1f", "sesame[", "[sesame]", "sesame]1"])
@pytest.mark.parametrize("scheme", ["postgresql", "redis", "etcd"])
def test_a_password_that_makes_an_address_none_is_kept(tmp_path: Path, scheme: str, said: str) -> None:
    """Whoever takes an address apart may quote it: one sentence all the same, and none of the password in it."""
    place = tmp_path / "address"
    place.write_text(f"{scheme}://:{said}@127.0.0.1:1/0")
    ended = run(TURNSTILE_URL_FILE=str(place), TURNSTILE_DATA=str(tmp_path / "no"), TURNSTILE_BIND="127.0.0.1:0")
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert "sesame" not in ended.stdout + ended.stderr


def _wrong(service: Service) -> list[str]:
    other = secrets.token_hex(16)
    wrong = [f"Bearer {other}", f"Basic {service.token}", f"Bearer {service.token}x", f"bearer {service.token}"]
    return [*wrong, service.token]


def _said(service: Service, method: str, path: str, body: object, **headers: str) -> str:
    path = path.format(order="e35e00df" + "0" * 32)
    reply = requests.request(method, f"{service.url}{path}", json=body, headers=headers, timeout=PATIENCE_S)
    return f"{reply.headers}{reply.text}"


def _asked(client: FlaskClient, order: str) -> list[tuple[int, str]]:
    replies = [client.open(path.format(order=order), method=method, json=body) for method, path, body in ASKED]
    return [(reply.status_code, reply.get_data(as_text=True)) for reply in replies]
