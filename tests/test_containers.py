"""The containers as they are run: built, brought up, sold from, killed, scaled, judged and taken down."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
import requests

from loadtest.history import host_of, load
from tests.stack import COMMAND_S, Stack, missing
from tests.waiting import PROGRAM_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(3 * COMMAND_S)

CAPACITY = 100_000
SECONDS = 8
"""How long a load test lasts in which a container is killed."""
ASKED = """
import socket, urllib.request as web
client = socket.create_connection(("127.0.0.1", 8000))
client.sendall(b"nonsense\\r\\n\\r\\n")
print(client.recv(12).decode())
for path in ("/metrics", "/openapi.json", "/docs", "/lab"):
    print(web.build_opener(web.ProxyHandler({})).open("http://127.0.0.1:8000" + path).status, path)
"""
"""A program that asks a service from inside its container for what is made from its files, and says what it hears."""
SOLD = 10
"""So many tickets are sold before one is killed: the load test is under way then."""


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack that is built and not up yet. Without an engine for containers these tests are skipped, and say so."""
    if why := missing("info") or missing("compose", "version"):
        pytest.skip(f"no containers are run: {why}")
    made = Stack(tmp_path)
    for folder in ("service", "loadtest"):  # as in a clone that was made with umask 077
        made.said("chmod", "-R", "go-rwx", folder)
    made.compose("build", "--quiet", "turnstile")
    yield made
    made.down()


@pytest.fixture
def http() -> Iterator[requests.Session]:
    """A client of the proxies."""
    with requests.Session() as session:
        session.trust_env = False
        yield session


def assert_nobody_is_root(stack: Stack) -> None:
    """Whatever runs in the stack. The engine is asked, for not every image has a shell or a ``cat`` to look with."""
    containers = stack.compose("ps", "--quiet").split()
    assert containers
    for container in containers:
        name = stack.said("docker", "inspect", "--format", "{{.Name}} as {{.Config.User}}", container).strip()
        heading, *processes = stack.said("docker", "top", container, "-eo", "pid,uid,gid").splitlines()
        assert heading.split() == ["PID", "UID", "GID"]
        assert processes, name
        assert not [each for each in processes if "0" in each.split()[1:]], f"{name}: root is at work in it"


def assert_unknown(reply: requests.Response) -> None:
    """The proxy has no answer, and says so; with one status, in its head and in its body."""
    assert (reply.status_code, reply.headers["Content-Type"]) == (502, "application/problem+json")
    said = reply.json()
    assert (said["status"], said["type"]) == (502, "urn:turnstile:problem:unknown-outcome")


def event(stack: Stack, http: requests.Session, profile: str = "") -> None:
    """Make an event with tickets for a load test."""
    made = http.put(
        f"{stack.url(profile)}/events/concert",
        json={"capacity": CAPACITY},
        headers={"Authorization": f"Bearer {stack.token}"},
    )
    assert made.status_code == 201, made.text


def answering(stack: Stack, http: requests.Session, hosts: int, profile: str = "") -> set[str]:
    """Wait until so many containers have answered, and return their names."""
    seen: set[str] = set()
    deadline = time.monotonic() + PROGRAM_S
    while len(seen) < hosts:
        assert time.monotonic() < deadline, f"only {len(seen)} of {hosts} answered"
        seen.add(http.get(f"{stack.url(profile)}/tickets").headers["Turnstile-Host"])
    return seen


@contextlib.contextmanager
def load_test(stack: Stack, http: requests.Session, profile: str = "") -> Iterator[subprocess.Popen[str]]:
    """Run a load test against a profile's proxy, which is under way when this begins; it must end as claimed."""
    words = ["run", stack.url(profile), "--event", "concert", "--shape", "flash-sale", "--seconds", str(SECONDS)]
    with subprocess.Popen(
        [sys.executable, "-m", "loadtest", *words, "--runs", str(stack.folder / "judged"), "--quiet"],
        env=os.environ | {"TURNSTILE_ADMIN_TOKEN": stack.token}, stdout=subprocess.PIPE, text=True,
    ) as test:  # fmt: skip
        try:
            while test.poll() is None and left(stack, http, profile) > CAPACITY - SOLD:
                time.sleep(0.1)
            yield test
            said, _ = test.communicate(timeout=PROGRAM_S)
        finally:
            test.kill()
    assert test.returncode == 0, said
    assert "as claimed" in said


def left(stack: Stack, http: requests.Session, profile: str = "") -> int:
    """Return how many tickets are left."""
    count: int = http.get(f"{stack.url(profile)}/events/concert").json()["count"]
    return count


def answered(stack: Stack) -> set[str]:
    """Return the containers that answered in the load test."""
    rows = load(stack.folder / "judged" / "latest" / "round-1" / "service" / "history.jsonl")
    return {host_of(row.worker) for row in rows} - {""}


def test_containers_on_one_volume_keep_each_other_out(stack: Stack, http: requests.Session) -> None:
    """Three, of which one is killed under load, and then four: the exact check finds nothing, and nothing is lost."""
    stack.compose("up", "--detach", "--wait", "--scale", "turnstile=3", "turnstile", "proxy")
    event(stack, http)
    assert len(answering(stack, http, 3)) == 3
    with load_test(stack, http):
        stack.said("docker", "kill", stack.running("turnstile")[0])
        stack.compose("up", "--detach", "--no-recreate", "--scale", "turnstile=4", "turnstile")
    assert len(answered(stack)) >= 2
    stack.compose("up", "--detach", "--wait", "--no-recreate", "--scale", "turnstile=4", "turnstile")
    assert len(stack.running("turnstile")) == 4
    assert "nothing is wrong" in stack.compose("exec", "-T", "turnstile", "python", "-m", "service", "verify", "/data")

    seen = http.get(f"{stack.url()}/events/concert").json()
    stack.compose("down", "--timeout", "30")
    stack.compose("up", "--detach", "--wait", "turnstile", "proxy")
    assert http.get(f"{stack.url()}/events/concert").json() == seen
    assert seen["count"] < CAPACITY


def test_a_container_has_no_more_rights_than_it_needs(stack: Stack, http: requests.Session) -> None:
    """Not root, nothing to write to but the volume, which is its own; it ends when it is told, and not by force. It has
    all that it answers with, and its log.
    """
    stack.variables |= {"TURNSTILE_LOG": "json", "TURNSTILE_LOG_LEVEL": "info"}
    proxy = stack.folder / "deploy" / "nginx.conf"
    proxy.write_text(proxy.read_text().replace("proxy_read_timeout 60s", "proxy_read_timeout 1s"))
    stack.compose("up", "--detach", "--wait", "turnstile", "proxy")
    assert http.get(f"{stack.url()}/readyz").ok
    looked = "import os; print(os.getuid(), oct(os.stat('/data').st_mode), os.access('/app', os.W_OK)); open('/x', 'w')"
    with pytest.raises(AssertionError, match="Read-only file system"):
        stack.compose("exec", "-T", "turnstile", "python", "-c", looked)
    assert stack.compose("exec", "-T", "turnstile", "python", "-c", looked.partition("; open")[0]) == (
        "10001 0o40700 False\n"
    )
    said = stack.compose("exec", "-T", "turnstile", "python", "-c", ASKED)
    assert said.splitlines() == ["HTTP/1.1 400", "200 /metrics", "200 /openapi.json", "200 /docs", "200 /lab"]
    log = stack.compose("logs", "turnstile")
    assert '"route":"/metrics"' in log
    assert "a request was refused before it was read" in log
    assert_nobody_is_root(stack)
    status = stack.compose("exec", "-T", "turnstile", "cat", "/proc/1/status")
    assert {"CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"} <= set(status.splitlines())
    (container,) = stack.running("turnstile")
    stack.said("docker", "pause", container)
    assert_unknown(http.post(f"{stack.url()}/buy", json={"quantity": 1}))
    assert_unknown(http.put(f"{stack.url()}/events/concert", json={"capacity": 1}))
    stack.said("docker", "unpause", container)
    stack.compose("stop", "turnstile")
    assert stack.said("docker", "inspect", "--format", "{{.State.ExitCode}}", container) == "0\n"
    assert_unknown(http.post(f"{stack.url()}/buy", json={"quantity": 1}))


def test_a_proxy_that_cannot_start_is_told_of(stack: Stack) -> None:
    """A configuration that it may not read: it ends, is started again and again, and nobody waits for it in vain."""
    (stack.folder / "deploy" / "nginx.conf").chmod(0)
    with pytest.raises(AssertionError, match="proxy-1 is unhealthy"):
        stack.compose("up", "--detach", "--wait", "turnstile", "proxy")
    assert "Permission denied" in stack.compose("logs", "proxy")


@pytest.mark.parametrize("profile", ["postgres", "redis", "etcd"])
def test_two_replicas_sell_from_one_engine(stack: Stack, http: requests.Session, profile: str) -> None:
    """Behind a proxy, with a password that only the two know; one is killed under load, and the other sells on."""
    if profile == "postgres":  # whose number in the image is not always that of alpine's
        image = os.environ.get("POSTGRES_IMAGE", "postgres:17-alpine")
        stack.variables["POSTGRES_UID"] = stack.said(
            "docker", "run", "--rm", "--entrypoint", "id", image, "-u", "postgres"
        ).strip()
    stack.compose("up", "--detach", "--wait", f"proxy-{profile}")
    event(stack, http, profile)
    assert len(answering(stack, http, 2, profile)) == 2
    assert_nobody_is_root(stack)
    with load_test(stack, http, profile):
        stack.said("docker", "kill", stack.running(f"turnstile-{profile}")[0])
    assert http.get(f"{stack.url(profile)}/readyz").ok
    logs = stack.compose("logs", "--no-color", f"turnstile-{profile}")
    assert "tickets in " in logs
    for secret in (stack.folder / "secrets").glob("*_password"):
        assert secret.read_text().strip() not in logs


def test_the_comparison_runs_inside_and_leaves_its_report_to_who_asked(stack: Stack) -> None:
    """In ./runs, as the user that is named."""
    owner = os.getuid() or 12345
    runs = stack.folder / "runs"
    runs.mkdir()
    os.chown(runs, owner, -1)
    stack.variables["OWNER"] = f"{owner}:{os.getgid()}"
    stack.compose("build", "--quiet", "loadtest")
    said = stack.compose(
        "run", "--rm", "--no-TTY", "loadtest", "compare", "--modes", "no_lock,file_lock", "--think-s", "0.05", "--quiet"
    )
    assert said.count("as claimed") >= 2
    report = runs / "latest" / "report.html"
    assert report.stat().st_uid == owner
    assert {each["mode"] for each in json.loads((runs / "latest" / "verdict.json").read_text())["modes"]} == {
        "no_lock",
        "file_lock",
    }
