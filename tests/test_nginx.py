"""Behind nginx, with the configuration of the documents: what it keeps away, and what it hands on."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import subprocess
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest
import requests

from loadtest.serve import free_port
from tests.connections import HEAD
from tests.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from loadtest.serve import Service

CONFIGURATION = Path(__file__).parent.parent / "docs" / "nginx.conf"
SBIN = "/usr/sbin"
"""Where Debian has nginx, which is not on everybody's path."""
CERTIFICATE = (
    "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
)
CONNECTIONS_MAX = 50
"""So many an address may have, as the configuration says."""
TOO_MANY = 5
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:{SBIN}")
OPENSSL = shutil.which("openssl")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a certificate. Without nginx the tests are skipped at home, and fail where CI is set."""
    if not (NGINX and OPENSSL):
        why = "there is no nginx, or no openssl, to run behind: apt install nginx-light openssl"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    words = [*CERTIFICATE.split(), "-keyout", "turnstile.key", "-out", "turnstile.pem"]
    subprocess.run(words, cwd=tmp_path, capture_output=True, check=True)
    return tmp_path


@contextmanager
def nginx(place: Path, upstream: int) -> Iterator[str]:
    """Run nginx in front of a port, as the documents say, but for the ports; return where it listens."""
    assert NGINX
    port = free_port()
    text = CONFIGURATION.read_text().replace("8443", str(port)).replace("127.0.0.1:8000", f"127.0.0.1:{upstream}")
    (place / "nginx.conf").write_text(text)
    words = [NGINX, "-p", str(place), "-c", "nginx.conf"]
    tested = subprocess.run([*words, "-t"], capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stderr
    with subprocess.Popen([*words, "-g", "daemon off;"]) as process:
        until(lambda: listens(port))
        try:
            yield f"https://localhost:{port}"
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def test_tickets_are_sold_through_it(place: Path, served: Callable[..., Service]) -> None:
    """A purchase, its repetition with the same key, a refusal with its words, and the checks."""
    service = served("group_commit", tickets=10)
    with nginx(place, port_of(service.url)) as url, requests.Session() as session:
        session.trust_env = False
        session.verify = str(place / "turnstile.pem")
        bought = [
            session.post(f"{url}/buy", json={"quantity": 3}, headers={"Idempotency-Key": "one"}, timeout=PATIENCE_S)
            for _ in range(2)
        ]
        assert [each.status_code for each in bought] == [201, 201]
        assert bought[0].json() == bought[1].json()
        refused = session.post(f"{url}/buy", json={"quantity": 8}, timeout=PATIENCE_S)
        assert (refused.status_code, refused.json()["count"]) == (409, 7)
        for check in ("healthz", "readyz"):
            assert session.get(f"{url}/{check}", timeout=PATIENCE_S).status_code == 200


def test_nobody_outside_sees_what_is_counted(place: Path, served: Callable[..., Service]) -> None:
    """However the path is written; the service itself has it."""
    service = served("group_commit")
    assert requests.get(f"{service.url}/metrics", timeout=PATIENCE_S).ok
    with nginx(place, port_of(service.url)) as url:
        for path in ("/metrics", "//metrics", "/%6detrics", "/lab/../metrics", "/metrics?x=1", "/metrics/"):
            request = requests.Request("GET", url).prepare()
            request.url = url + path  # as it is: requests would put it in order
            with requests.Session() as session:
                reply = session.send(request, timeout=PATIENCE_S, verify=str(place / "turnstile.pem"))
            assert reply.status_code == 404, path
            assert reply.json()["type"] == "urn:turnstile:problem:not-found"


def test_a_request_has_a_name_on_both_sides(place: Path) -> None:
    """That of its client, if it is one that may stand in a log; else one that nginx made. The reply has it once."""
    heads: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as upstream, nginx(place, upstream.getsockname()[1]) as url:
        told = []
        for name in ("mine-1", "not\tmine", ""):
            answering = Thread(target=answer, args=(upstream, heads))
            answering.start()
            reply = requests.get(
                f"{url}/tickets",
                headers={"X-Request-Id": name},
                timeout=PATIENCE_S,
                verify=str(place / "turnstile.pem"),
            )
            answering.join()
            told.append(reply.headers["X-Request-Id"])
    handed_on = [head.partition(b"X-Request-Id: ")[2].split(b"\r\n")[0].decode() for head in heads]
    assert handed_on == told
    assert told[0] == "mine-1"
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in told[1:])


def answer(upstream: socket.socket, heads: list[bytes]) -> None:
    """Take one connection, note the request on it, and answer it."""
    client, _ = upstream.accept()
    with client:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096)
        heads.append(head)
        named = b"X-Request-Id: the service's\r\n"
        client.sendall(b"HTTP/1.1 200 OK\r\n" + named + b"Content-Length: 0\r\nConnection: close\r\n\r\n")


def heard(client: socket.socket) -> bytes:
    """Return what nginx says: a problem, or nothing until it ends the connection."""
    said = b""
    while not said.endswith(b"}\n") and (part := client.recv(4096)):
        said += part
    return said


def test_slow_clients_and_too_many_end_there(place: Path) -> None:
    """Half a request comes to no service; and an address that has too many connections is told so, as a problem."""
    with socket.create_server(("127.0.0.1", 0)) as upstream, nginx(place, upstream.getsockname()[1]) as url:
        upstream.settimeout(0)
        trusted = ssl.create_default_context(cafile=place / "turnstile.pem")
        slow = []
        try:
            for _ in range(CONNECTIONS_MAX + TOO_MANY):
                wire = socket.create_connection(("localhost", port_of(url)), PATIENCE_S)
                slow.append(trusted.wrap_socket(wire, server_hostname="localhost"))
            for each in slow:  # when all are there: the first shall not have ended before the last comes
                each.sendall(HEAD + b"Content-Length: 100\r\n\r\n{")
            told = [heard(each) for each in slow]
            refused = [reply for reply in told if reply]
            assert len(refused) == TOO_MANY  # whichever: nginx has several workers
            for reply in refused:
                assert reply.startswith(b"HTTP/1.1 429 ")
                assert b"urn:turnstile:problem:busy" in reply
                assert b"\r\nRetry-After: 1\r\n" in reply
            with pytest.raises(BlockingIOError):
                upstream.accept()
        finally:
            for each in slow:
                each.close()
