"""The log: every line is whole, in one form and without a secret, and nobody waits for whoever reads it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from loadtest import serve
from service import logs, watch
from service.logs import LINE_BYTES_MAX, Handler, Sink, as_json, as_text
from service.watch import Watch
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from loadtest.serve import Service

TEXTS = st.text(max_size=300) | st.sampled_from(["\x1b[2J", "a\nb", "\u2028", "\ud800", "\x9b1m", '" x="', "\x7f"])


class Losses(Watch):
    """Counts lines that were lost."""

    lost = 0

    def lost_line(self) -> None:
        self.lost += 1


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> Losses:
    monkeypatch.setattr(watch, "here", made := Losses())
    return made


@given(message=TEXTS, value=TEXTS, trace=TEXTS)
def test_nothing_that_is_logged_begins_a_line_or_moves_a_cursor(message: str, value: str, trace: str) -> None:
    """Whatever it is: JSON is one line of ASCII that a program reads; text has a line, and those of a traceback."""
    line = as_json("error", message, {"value": value, "exception": trace})
    assert line.isascii()
    assert not set(line) & {chr(number) for number in range(32)}
    assert json.loads(line)["message"] == message
    first, *rest = as_text("error", message, {"value": value, "exception": trace}).split("\n")
    assert first.isprintable()
    assert all(each.isprintable() and each.startswith("  | ") for each in rest)


@given(st.text(min_size=1, max_size=20))
def test_a_line_has_an_end(piece: str) -> None:
    """So much goes into a pipe whole; JSON stays JSON, and of a traceback the end stays, which says what happened."""
    text = 1000 * piece
    line = as_json("error", "a message", {"exception": f"{text}the end"})
    assert len(line) < LINE_BYTES_MAX
    assert json.loads(line)["exception"].endswith("the end")
    assert len(as_text("error", "a message", {"exception": "\n".join(text)}).encode()) < LINE_BYTES_MAX


def test_identifiers_of_orders_and_tokens_are_cut_short(tmp_path: Path) -> None:
    """Also where an exception says them."""
    order, log = "0123456789abcdef" * 2 + "01234567", tmp_path / "log"
    with log.open("wb") as file:
        handler = Handler(Sink(file.fileno()), "json")
        try:
            int(order)
        except ValueError:
            record = logging.LogRecord("x", logging.ERROR, "", 0, "at %s", (order,), sys.exc_info())
            handler.handle(record)
    assert order not in log.read_text()
    assert "0123456789abcdef..." in json.loads(log.read_text())["message"]


def test_a_pipe_that_nobody_reads_costs_lines_and_no_time(losses: Losses) -> None:
    """Full, it takes no more; read again, whole lines; with no reader at all, none."""
    reads, writes = os.pipe()
    sink = Sink(writes)
    while not losses.lost:
        sink.write("x" * 1000)
    assert set(os.read(reads, 1 << 20)) == set(b"x\n")
    sink.write("again")
    assert os.read(reads, 100) == b"again\n"
    assert os.get_blocking(writes)  # who has the other end of it, a shell for one, may want to wait
    os.close(reads)
    before = losses.lost
    sink.write("nobody")
    assert losses.lost == before + 1
    sink.close()
    os.close(writes)


def test_a_socket_and_a_full_disk_cost_lines_and_no_time(losses: Losses) -> None:
    """As the journal of the system is one, and a device that has no room another."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sink = Sink(ours.fileno())
        while not losses.lost:
            sink.write("x" * 4000)
        assert theirs.recv(5) == b"xxxxx"
        sink.close()
    before = losses.lost
    with open("/dev/full", "wb") as full:  # noqa: PTH123  # a device
        sink = Sink(full.fileno())
        sink.write("x")
        sink.close()
    assert losses.lost == before + 1


def lines_of(service: Service, **wanted: object) -> list[dict[str, Any]]:
    """Return the lines of its log that have these fields: each line of it is an object, when all of it is there."""
    *written, _ = service.log.read_text().split("\n")
    lines = [json.loads(line) for line in written]
    return [line for line in lines if wanted.items() <= line.items()]


def test_every_line_is_an_object_and_has_no_secret(served: Callable[..., Service]) -> None:
    """From the first to the last, of the master, the workers and the daemon; and what each says of a request."""
    service = served("single_writer", log="json", log_level="debug", workers=2)
    secret = {"Authorization": f"Bearer {service.token}", "Idempotency-Key": "a-key-that-is-secret"}
    with requests.Session() as session:
        headers = secret | {"X-Request-Id": "mine.1"}
        sold = session.post(f"{service.url}/buy", json={"quantity": 2, "buyer": "Jane Doe"}, headers=headers)
        order = sold.json()["order"]
        assert sold.headers["X-Request-Id"] == "mine.1"
        evil = session.get(f"{service.url}/orders/{order}?x=1", headers={"X-Request-Id": "a b"})
        assert re.fullmatch("[0-9a-f]{16}", evil.headers["X-Request-Id"])
        session.get(f"{service.url}/orders/{order}")
        session.post(f"{service.url}/orders/{order}")
        session.put(f"{service.url}/events/default", json={"capacity": 0}, headers=secret)
    until(lambda: len(lines_of(service, message="request", route="/events/{event}")) == 1)
    (line,) = lines_of(service, message="request", request="mine.1")
    assert line | {"time": 0, "process": 0, "ms": 0} == {
        "time": 0,
        "process": 0,
        "ms": 0,
        "level": "info",
        "message": "request",
        "request": "mine.1",
        "method": "POST",
        "route": "/buy",
        "status": 201,
        "outcome": "done",
        "event": "default",
        "version": 1,
        "order": order[:16],
    }
    (line,) = lines_of(service, message="decided", command="buy")
    assert (line["outcome"], line["quantity"], line["version"], line["order"]) == ("sold", 2, 1, order[:16])
    assert line["wait_ms"] >= 0 <= line["hold_ms"]
    (line,) = lines_of(service, message="decided", command="resize")
    assert (line["outcome"], line["capacity"], "order" in line) == ("capacity-taken", 0, False)
    service.end()
    service.process.wait()
    assert lines_of(service, level="notice", message="stopped")
    said = service.log.read_text()
    assert said.endswith("\n")
    for word in (order, service.token, "a-key-that-is-secret", "Jane Doe"):
        assert word not in said


def test_each_decision_leaves_a_line_and_nothing_else_does(served: Callable[..., Service]) -> None:
    """Also those that no buyer asked for. An answer that a key had before names the order that there is."""
    service = served("file_lock", log="json", log_level="debug")
    with requests.Session() as session:
        headers = {"Idempotency-Key": "a-key"}
        orders = [
            session.post(f"{service.url}/buy", json={"quantity": 1}, headers=headers).json()["order"] for _ in range(2)
        ]
        assert session.post(f"{service.url}/events/somebody-s-name/buy", json={"quantity": 1}).status_code == 404
        held = session.post(f"{service.url}/events/default/holds", json={"quantity": 2, "ttl_s": 1})
        assert held.status_code == 201
        assert session.post(f"{service.url}/buy", json={"quantity": 100}).status_code == 409
    until(lambda: len(lines_of(service, message="decided", command="sweep", outcome="swept", ended=1)) == 1)
    first, again, refused = lines_of(service, message="decided", command="buy")
    assert len(lines_of(service, message="request", status=409, order=refused["order"])) == 1
    assert (first["order"], again["order"]) == (orders[0][:16], orders[1][:16]) == (first["order"], first["order"])
    assert ("again" in first, again["again"]) == (False, True)
    assert "somebody" not in service.log.read_text()


def test_by_default_a_request_leaves_no_line(served: Callable[..., Service]) -> None:
    """It costs time, so who wants it says so; that the service sells is said all the same, to people."""
    service = served("file_lock")
    requests.post(f"{service.url}/buy", json={"quantity": 1}, timeout=20)
    service.end()
    service.process.wait()
    # A start that takes its time may be said to be not ready, and ready again.
    lines = [line for line in service.log.read_text().splitlines() if "has mode" not in line and "ready" not in line]
    assert [line[:19] for line in lines] == ["turnstile: selling ", "turnstile: stopped"]


@contextlib.contextmanager
def mute(tmp_path: Path, **streams: Any) -> Iterator[str]:  # noqa: ANN401  # as Popen has them
    """Run a service of which nobody reads the log, and return where it is."""
    url = f"127.0.0.1:{serve.free_port()}"
    words = ["--data", str(tmp_path / "data"), "--bind", url, "--log-level", "debug", "--workers", "1"]
    with subprocess.Popen([sys.executable, "-m", "service", *words], **streams) as process:
        try:
            until(lambda: _answers(f"http://{url}"))
            yield f"http://{url}"
        finally:
            process.terminate()


def _answers(url: str) -> bool:
    with contextlib.suppress(requests.RequestException):
        return requests.get(f"{url}/readyz", timeout=20).ok
    return False


def test_a_service_whose_log_nobody_reads_goes_on_selling(tmp_path: Path) -> None:
    """With a pipe that is full; it can be ended, too. What was lost is counted."""
    reads, writes = os.pipe()
    os.set_blocking(writes, False)  # as Python has it
    with contextlib.suppress(BlockingIOError):
        while os.write(writes, b"x" * 4096):
            pass
    os.set_blocking(writes, True)  # as above
    with mute(tmp_path, stderr=writes) as url:
        for _ in range(5):
            assert requests.post(f"{url}/buy", json={"quantity": 1}, timeout=20).status_code == 201
        until(
            lambda: (
                re.search(r"log_lines_lost_total [1-9]", requests.get(f"{url}/metrics", timeout=20).text) is not None
            )
        )
    os.close(reads)
    os.close(writes)


def test_a_service_without_standard_error_goes_on_selling(tmp_path: Path) -> None:
    """Nor does the first file that it opens become its log."""
    with mute(tmp_path, preexec_fn=lambda: os.close(logs.STANDARD_ERROR)) as url:
        assert requests.post(f"{url}/buy", json={"quantity": 1}, timeout=20).status_code == 201
        assert requests.get(f"{url}/tickets", timeout=20).json()["version"] == 1
    for path in (tmp_path / "data").glob("*.json*"):
        assert "INFO" not in path.read_text()
