"""What a browser is told with every reply, and what it cannot be made to send by another page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests

from loadtest import serve
from service.guarding import DATA, EVERY, POLICY
from tests.connections import HEAD, Client
from tests.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

    from loadtest.serve import Service

PAGES = ["/", "/lab", "/docs", "/openapi.json", "/web/page.css", "/web/shop.js", "/web/icon.svg"]
BROKEN = {
    "no request at all": b"nonsense\r\n\r\n",
    "a body that is too large": b"POST /buy HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n",
    "two framings": HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a coding that is not known": b"POST /buy HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
    "endless headers": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 5000,
    "half a request": b"POST /buy HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n{",
}
"""What is refused before Flask sees it."""
TELLING = """window.forbidden = [];
addEventListener('securitypolicyviolation', event => {
    forbidden.push(event.violatedDirective);
    console.log(`forbidden: ${event.violatedDirective}`);
})"""
PLANTED = """() => {
    const image = document.createElement('img');
    try {
        image.setAttribute('onerror', 'window.ran = 1');
        return 'taken';
    } catch {}
    const trusting = trustedTypes.createPolicy('trusting', {createScript: text => text});
    image.setAttribute('onerror', trusting.createScript('window.ran = 1'));
    image.src = '/web/nothing.svg';
    document.body.append(image);
    return 'refused';
}"""
"""A script in an attribute: refused as a text, and where it gets past that, it still does not run."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder: Path = tmp_path_factory.mktemp("headers")
    (folder / "data").mkdir(mode=0o700)
    (folder / "data" / "default.json").write_text('{"count": 100}')
    with serve.service(folder, {"mode": "group_commit", "workers": 1, "threads": 4}) as started:
        yield started


@pytest.fixture
def ask(service: Service) -> Callable[..., requests.Response]:
    def asked(method: str, path: str, **how: object) -> requests.Response:
        return requests.request(method, f"{service.url}{path}", timeout=PATIENCE_S, allow_redirects=False, **how)  # type: ignore[arg-type]  # as they come

    return asked


def guarded(headers: dict[str, str]) -> None:
    """Hold a reply that is no page to what is told with each."""
    assert dict(DATA).items() <= headers.items()
    assert not any(name.startswith("Access-Control") for name in headers)


def test_every_reply_is_guarded(ask: Callable[..., requests.Response], service: Service) -> None:
    """Sales, refusals, looks, and what Flask says by itself: never kept, run, framed, or used by another site."""
    order = ask("POST", "/buy", json={"quantity": 1}).json()["order"]
    bearer = {"Authorization": f"Bearer {service.token}"}
    replies = [
        ask("POST", "/buy", json={"quantity": 1}),
        ask("POST", "/events/default/holds", json={"quantity": 1, "ttl_s": 60}),
        ask("POST", "/buy", json={"quantity": 0}),
        ask("POST", "/buy", data="{", headers={"Content-Type": "application/json"}),
        ask("GET", f"/orders/{order}"),
        ask("HEAD", f"/orders/{order}"),
        ask("DELETE", f"/orders/{order}"),
        ask("GET", "/tickets"),
        ask("GET", "/nope"),
        ask("GET", "/buy"),
        ask("OPTIONS", "/buy"),
        ask("GET", "/events/default/journal"),
        ask("GET", "/events/default/journal", headers=bearer),
        ask("PUT", "/events/concert", json={"capacity": 5}, headers=bearer),
        ask("GET", "/mode"),
        ask("GET", "/readyz"),
        ask("GET", "/web/../../etc/passwd"),
    ]
    for reply in replies:
        guarded(dict(reply.headers))
        assert reply.headers.get("Server", "") in {"", "gunicorn"}
    assert {reply.status_code for reply in replies} >= {200, 201, 400, 401, 404, 405, 422}


@pytest.mark.parametrize("broken", BROKEN)
def test_refusals_outside_flask_are_guarded_too(service: Service, broken: str) -> None:
    """What is no HTTP, too large, or cut off."""
    with Client(service.url) as client:
        client.send(BROKEN[broken])
        if broken == "half a request":
            client.socket.shutdown(1)
        status, headers, _ = client.reply()
        assert 400 <= status < 600
        guarded(headers)


@pytest.mark.parametrize("path", PAGES)
def test_pages_have_one_policy_of_their_own(ask: Callable[..., requests.Response], path: str) -> None:
    """It lets nothing in but this service's own files: no inline script or style, no other origin, no frame."""
    reply = ask("GET", path)
    again = ask("GET", path, headers={"If-None-Match": reply.headers["ETag"]})
    assert (reply.status_code, again.status_code) == (200, 304)
    for each in (reply, again):
        assert dict(EVERY).items() <= dict(each.headers).items()
        assert each.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        policy = dict(part.split(" ", 1) for part in each.headers[POLICY].split("; "))
        assert (
            policy["default-src"]
            == policy["frame-ancestors"]
            == policy["form-action"]
            == policy["base-uri"]
            == "'none'"
        )
        assert {policy[name] for name in ("script-src", "style-src", "connect-src", "img-src")} == {"'self'"}


@pytest.mark.parametrize("path", ["/", "/lab", "/docs"])
def test_a_browser_finds_nothing_that_the_policy_forbids(service: Service, browser: Browser, path: str) -> None:
    """All that a page loads is loaded, and a script that is put into it does not run."""
    page = browser.new_page()
    said: list[str] = []
    failed: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("requestfailed", lambda request: failed.append(request.url))
    page.add_init_script(TELLING)
    page.goto(f"{service.url}{path}", wait_until="load")
    assert (said, failed) == ([], [])
    assert page.evaluate(PLANTED) == "refused"
    until(lambda: "script-src-attr" in page.evaluate("window.forbidden"))
    assert page.evaluate("window.ran") is None
    page.close()


def test_another_page_cannot_buy(service: Service, browser: Browser) -> None:
    """A form can send three content types, and none of them is taken; a script is stopped by its browser, which asks
    first and is not told that it may.
    """
    before = requests.get(f"{service.url}/tickets", timeout=PATIENCE_S).json()
    for kind in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", ""):
        for path in ("/buy", "/events/default/holds"):
            sent = requests.post(
                f"{service.url}{path}", data='{"quantity": 1}', headers={"Content-Type": kind}, timeout=PATIENCE_S
            )
            assert sent.status_code == 415
    page = browser.new_page()
    page.goto("data:text/html,<title>another site</title>")
    script = """async url => {
        const sent = [{}, {headers: {'Content-Type': 'application/json'}}, {mode: 'no-cors'}];
        return Promise.all(sent.map(how => fetch(`${url}/buy`, {method: 'POST', body: '{"quantity": 1}', ...how})
            .then(reply => reply.type, () => 'stopped')));
    }"""
    assert page.evaluate(script, service.url) == ["stopped", "stopped", "stopped"]
    page.close()
    assert requests.get(f"{service.url}/tickets", timeout=PATIENCE_S).json() == before
