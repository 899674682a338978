"""The service as a stranger runs it: its command line, its settings, and its replies over HTTP."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
import requests

from loadtest import serve
from service import catalogue, settings
from service.settings import Settings, WrongSetting
from tests.counter import ON_FILES
from tests.metrics import total
from tests.processes import alive_of, children_of
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from loadtest.serve import Service

PATIENCE_S = 60.0


@pytest.fixture
def http() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


def run(*flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line until it ends, and say what it printed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TURNSTILE_")}
    return subprocess.run(
        [sys.executable, "-m", "service", *flags],
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_defaults_need_no_setting_at_all() -> None:
    """Event ``default`` on 127.0.0.1:8000, tickets in ./data."""
    assert settings.load({}, {}) == Settings()
    assert (str(Settings().data), Settings().bind, Settings().mode) == ("data", "127.0.0.1:8000", "")
    assert catalogue.chosen(Settings()).mode == "group_commit"


def test_every_flag_has_a_variable_and_the_flag_wins() -> None:
    """``--workers`` is TURNSTILE_WORKERS, and what stands on the command line counts."""
    given = {f"TURNSTILE_{name.upper()}": value for name, value in [("workers", "3"), ("wait_s", "0.5"), ("mode", "x")]}
    loaded = settings.load(given | {"OTHER": "1"}, {"workers": "7"})
    assert (loaded.workers, loaded.wait_s, loaded.mode) == (7, 0.5, "x")


WRONG = {
    ("mode", "best"): f"one of {', '.join(ON_FILES)}",
    ("workers", "0"): "a whole number from 1 to 64",
    ("workers", "two"): "a whole number from 1 to 64",
    ("threads", "1.5"): "a whole number from 1 to 256",
    ("bind", "8000"): "HOST:PORT with a port from 0 to 65535, such as 127.0.0.1:8000",
    ("bind", "127.0.0.1:99999"): "HOST:PORT with a port from 0 to 65535, such as 127.0.0.1:8000",
    ("bind", "203.0.113.1:8000"): "an address of this machine",
    ("wait_s", "-1"): "a number from 0 to 3600",
    ("wait_s", "nan"): "a number from 0 to 3600",
    ("think_s", "61"): "a number from 0 to 60",
    ("harness", "perhaps"): "true or false",
    ("harness", "yes"): "true or false",
    ("workers", "4.0"): "a whole number from 1 to 64",
    ("workers", "1_0"): "a whole number from 1 to 64",
    ("workers", " 3"): "a whole number from 1 to 64",
    ("bind", "127.0.0.1:٨"): "HOST:PORT",
    ("bind", "a..b:8000"): "the name of a host that can be looked up",
    ("data", ""): "a directory",
    ("trace", "/nowhere/at/all"): "a directory there is",
}


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_value_is_one_line_that_names_the_setting(tmp_path: Path, name: str, value: str) -> None:
    """Exit 2 before any worker starts, and nothing is left behind."""
    variable = f"TURNSTILE_{name.upper()}"
    place = {"TURNSTILE_DATA": str(tmp_path / "data"), "TURNSTILE_BIND": "127.0.0.1:0"}
    ended = run(**place | {variable: value})
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith(f"turnstile: --{name.replace('_', '-')} ({variable}) is {value!r}: expected ")
    assert WRONG[name, value] in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("mode", "url", "meant"),
    [
        ("postgre_group", "", "; did you mean postgres_group, which needs an address that begins with postgresql://?"),
        ("postgre_group", "postgresql://h/n", "; did you mean postgres_group?"),
        ("file_lok", "", "; did you mean file_lock?"),
        ("file_lok", "redis://h", "; did you mean file_lock, which needs no address?"),
        ("best", "", ", or one that another package brings"),
        ("x" * 1000, "", ", or one that another package brings"),
    ],
)
def test_a_misspelt_mode_is_guessed(mode: str, url: str, meant: str) -> None:
    """With the address that it needs, which may be what is wrong too."""
    with pytest.raises(WrongSetting) as wrong:
        catalogue.chosen(Settings(mode=mode, url=url))
    assert str(wrong.value).endswith(meant)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("TURNSTILE_WROKERS", "; did you mean TURNSTILE_WORKERS?"),
        ("TURNSTILE_workers", "; did you mean TURNSTILE_WORKERS?"),
        ("TURNSTILE_ADMIN_TOKEN_", "; did you mean TURNSTILE_ADMIN_TOKEN?"),
        ("TURNSTILE_MOD", "; did you mean TURNSTILE_MODE?"),
        ("TURNSTILE_Q", "TURNSTILE_HARNESS"),
    ],
)
def test_a_misspelt_setting_is_an_error(name: str, meant: str) -> None:
    """One that is silently ignored is found out too late; what it holds is not shown, for it may be a secret."""
    with pytest.raises(WrongSetting, match=f"{name} is no setting: there are TURNSTILE_MODE, ") as wrong:
        settings.load({name: "secret"}, {})
    assert "secret" not in str(wrong.value)
    assert str(wrong.value).endswith(meant)


def test_a_wrong_admin_token_is_not_shown() -> None:
    """What may be a secret stays one."""
    with pytest.raises(WrongSetting) as wrong:
        settings.load({"TURNSTILE_ADMIN_TOKEN": "too short"}, {})
    assert "too short" not in str(wrong.value)


def test_an_unknown_flag_is_one_line() -> None:
    """As every other mistake on the command line."""
    for words in (["--wrokers", "3"], ["extra"], ["--mode"]):
        ended = run(*words)
        assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
        assert "(see python -m service --help)" in ended.stderr


def test_a_mistake_after_a_command_points_to_the_help_of_that_command(tmp_path: Path) -> None:
    """The service's own help has nothing of DIR."""
    ended = run("verify", str(tmp_path / "nowhere"))
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert ended.stderr.endswith("(see python -m service verify --help)\n")


def test_a_busy_port_is_one_line(tmp_path: Path) -> None:
    """At once, and before the data directory is touched; a mode that there is not comes first."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = run("--data", str(tmp_path / "data"), "--bind", address)
        wrong = run("--data", str(tmp_path / "data"), "--bind", address, "--mode", "nosuch")
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert f"--bind (TURNSTILE_BIND) is '{address}': expected a port that no other program listens on" in ended.stderr
    assert "--mode (TURNSTILE_MODE) is 'nosuch'" in wrong.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("mode", ["file_lock", "no_lock"])
def test_a_second_service_on_the_same_data_is_refused(
    served: Callable[..., Service], tmp_path: Path, mode: str
) -> None:
    """In the same mode or another; the first one goes on."""
    served("file_lock")
    directory = tmp_path / "service-1" / "data"
    ended = run("--mode", mode, "--data", str(directory), "--bind", "127.0.0.1:0")
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert f"data directory {directory} is in use by a service in mode file_lock (process " in ended.stderr


@pytest.mark.parametrize("mode", ON_FILES)
def test_every_mode_sells_over_http(served: Callable[..., Service], http: requests.Session, mode: str) -> None:
    """Started as a stranger would, in several workers of several threads."""
    url = served(mode).url
    assert http.get(f"{url}/mode").json()["mode"] == mode
    sold = http.post(f"{url}/buy", json={"quantity": 4})
    assert (sold.status_code, sold.json()["tickets"]) == (201, [1, 2, 3, 4])
    assert http.get(f"{url}/tickets").json() == {"event": "default", "capacity": 10, "count": 6, "version": 1}
    assert http.get(f"{url}{sold.headers['Location']}").json() == sold.json()
    assert http.post(f"{url}/events/default/buy", json={"quantity": 7}).status_code == 409
    assert http.get(f"{url}/readyz").json()["status"] == "ready"
    assert http.get(f"{url}/healthz").json() == {"status": "alive"}


def test_sales_survive_a_restart(tmp_path: Path, http: requests.Session) -> None:
    """What was acknowledged is there again, after SIGTERM and after SIGKILL of everything."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "default.json").write_text('{"count": 10}')
    orders: list[dict[str, object]] = []
    for end in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
        with serve.service(tmp_path, {"mode": "file_lock", "workers": 2, "threads": 4}) as service:
            for order in orders:
                assert http.get(f"{service.url}/orders/{order['order']}").json() == order
            orders.append(http.post(f"{service.url}/buy", json={"quantity": 2}).json())
            assert http.get(f"{service.url}/tickets").json()["count"] == 10 - 2 * len(orders)
            if end == signal.SIGKILL:
                service.kill()  # and none of its processes, which hold the data, is left
            else:
                service.process.send_signal(end)
                service.process.wait(PATIENCE_S)
    assert [order["tickets"] for order in orders] == [[1, 2], [3, 4], [5, 6]]


def test_who_cannot_get_in_is_told_when_to_come_back(served: Callable[..., Service], http: requests.Session) -> None:
    """503 with Retry-After past TURNSTILE_WAIT_S, and certainly nothing was sold."""
    url = served("file_lock", think_s=1.0, wait_s=0.1).url
    replies: list[requests.Response] = []

    def ask() -> None:
        with requests.Session() as session:
            replies.append(session.post(f"{url}/buy", json={"quantity": 1}))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [reply for reply in replies if reply.status_code == 503]
    sold = [reply for reply in replies if reply.status_code == 201]
    assert refused
    assert len(sold) + len(refused) == 6
    assert {reply.headers["Retry-After"] for reply in refused} == {"1"}
    assert {reply.json()["type"] for reply in refused} == {"urn:turnstile:problem:busy"}
    assert http.get(f"{url}/tickets").json()["count"] == 10 - len(sold)


def test_a_killed_worker_is_replaced_and_its_lock_is_free(
    served: Callable[..., Service], http: requests.Session
) -> None:
    """SIGKILL of a worker while it holds the lock: the others go on, nothing that was acknowledged is lost."""
    url = served("file_lock", think_s=0.3, wait_s=15).url
    victim = int(http.get(f"{url}/tickets").headers["Turnstile-Worker"])
    replies: list[requests.Response | requests.ConnectionError] = []
    first = threading.Event()

    def ask() -> None:
        with requests.Session() as session:
            try:
                replies.append(session.post(f"{url}/buy", json={"quantity": 1}))
            except requests.ConnectionError as error:
                replies.append(error)
            first.set()

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert first.wait(PATIENCE_S)  # from now on somebody is always inside, in the victim or beside it
    os.kill(victim, signal.SIGKILL)
    for thread in threads:
        thread.join()
    sold = [reply for reply in replies if isinstance(reply, requests.Response) and reply.status_code == 201]
    tickets = [ticket for reply in sold for ticket in reply.json()["tickets"]]
    assert len(set(tickets)) == len(tickets)
    http.close()  # the connection that it kept may be one to the victim, on its way down still
    left = http.get(f"{url}/tickets").json()["count"]
    assert 10 - len(replies) <= left <= 10 - len(sold)


def raw(url: str, request: bytes, *, end: bool = False) -> bytes:
    """Send bytes as they are, close that direction if ``end``, and return the first line of the reply."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as connection:
        connection.sendall(request)
        if end:
            connection.shutdown(socket.SHUT_WR)
        return connection.recv(4096).split(b"\r\n")[0]


HEAD = b"POST /buy HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def test_a_body_counts_only_as_it_was_announced(served: Callable[..., Service], http: requests.Session) -> None:
    """Too large with a length, without one (chunked), or announced but never sent; cut off; or malformed: nothing is
    sold, and it is said that nothing was.
    """
    url = served("file_lock").url
    large = b'{"quantity": 1}' + b" " * 5000
    kind = {"Content-Type": "application/json"}
    assert http.post(f"{url}/buy", data=large, headers=kind).status_code == 413
    assert http.post(f"{url}/buy", data=iter([large[:10], large[10:]]), headers=kind).status_code == 413
    assert b" 413 " in raw(url, HEAD + b"Content-Length: 99999999999\r\n\r\n")
    assert b" 400 " in raw(url, HEAD + b'Content-Length: 100\r\n\r\n{"quantity": 1}', end=True)
    for chunks in (
        b'f\r\n{"quantity": 1}\r\n',
        b'zz\r\n{"quantity": 1}\r\n0\r\n\r\n',
        b'f\r\n{"quantity": 1}xx0\r\n\r\n',
    ):
        assert b" 400 " in raw(url, CHUNKED + chunks, end=True)
    assert http.get(f"{url}/tickets").json()["version"] == 0
    small = http.post(f"{url}/buy", data=iter([b'{"quant', b'ity": 1}']), headers=kind)
    assert (small.status_code, small.json()["tickets"]) == (201, [1])


def test_the_harness_names_the_worker_and_answers_noop(served: Callable[..., Service], http: requests.Session) -> None:
    """``/noop`` parses and answers, but neither locks nor stores."""
    url = served("file_lock").url
    reply = http.post(f"{url}/noop", json={"quantity": 3})
    assert (reply.status_code, reply.json()["quantity"]) == (200, 3)
    assert reply.headers["Turnstile-Worker"].isdigit()
    assert http.post(f"{url}/noop", json={"quantity": 0}).status_code == 422
    assert http.get(f"{url}/tickets").json()["version"] == 0


def test_the_service_stops_in_time_and_leaves_nothing_running(tmp_path: Path) -> None:
    """SIGTERM ends the master and every worker."""
    (tmp_path / "data").mkdir()
    with serve.service(tmp_path, {"mode": "file_lock", "workers": 2, "threads": 2}) as service:
        group = service.process.pid
        service.process.terminate()
        assert service.process.wait(PATIENCE_S) == 0
    deadline = time.monotonic() + PATIENCE_S
    while alive_of(group) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert alive_of(group) == []


def test_a_log_that_is_rotated_while_workers_start_ends_none(tmp_path: Path, http: requests.Session) -> None:
    """SIGUSR1 ends who has no handler for it: until a worker has one, it is held back."""
    with serve.service(tmp_path, {"mode": "file_lock", "workers": 2, "threads": 2}, "tests.rotated_program") as service:
        assert http.post(f"{service.url}/buy", json={"quantity": 1}).status_code == 201
        assert total(service.url, "turnstile_worker_deaths_total") == 0


def test_a_worker_that_is_told_to_end_as_soon_as_it_is_there_ends(tmp_path: Path, http: requests.Session) -> None:
    """Else a service that is stopped just after its start waits for it in vain; another one follows, and sells."""
    with serve.service(tmp_path, {"mode": "file_lock", "workers": 1, "threads": 2}, "tests.early_program") as service:
        told = int((tmp_path / "told").read_text())
        until(lambda: told not in children_of(service.process.pid))
        assert http.post(f"{service.url}/buy", json={"quantity": 1}).status_code == 201
