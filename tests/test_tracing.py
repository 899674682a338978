"""Tracing: a span a request reaches a collector, with what was decided, and without what only its buyer may know."""

from __future__ import annotations

import gzip
import http.server
import importlib.util
import os
import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import requests

from loadtest import serve
from tests.test_logs import lines_of
from tests.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from loadtest.serve import Service

PARENT = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def tracing() -> None:
    """OpenTelemetry. Without it the tests are skipped at home, and fail where CI is set."""
    try:
        there = importlib.util.find_spec("opentelemetry.proto") is not None
    except ModuleNotFoundError:
        there = False
    if not there:
        why = "OpenTelemetry is not installed: pip install '.[tracing]'"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)


@pytest.fixture
def spans(tracing: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:  # noqa: ARG001  # it must be there
    """The spans that a collector on this machine has received; services send them there."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415  # it may not be there
        ExportTraceServiceRequest,
    )

    received: list[Any] = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                received.extend(span for scope in resource.scope_spans for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield received
        server.shutdown()
        thread.join()


def attributes(span: Any) -> dict[str, Any]:  # noqa: ANN401  # of a generated type
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


@pytest.mark.parametrize("mode", ["group_commit", "file_lock"])
def test_a_request_is_a_span_with_its_decision(served: Callable[..., Service], spans: list[Any], mode: str) -> None:
    """Of the trace that the client began; it lasts until the outcome is there, also where that comes from a queue."""
    service = served(mode, tracing="otlp", workers=1)
    headers = {"traceparent": f"00-{PARENT}-b7ad6b7169203331-01"}
    sold = requests.post(f"{service.url}/buy", json={"quantity": 2}, headers=headers, timeout=20).json()
    until(lambda: any(span.trace_id.hex() == PARENT for span in spans))
    (span,) = [span for span in spans if span.trace_id.hex() == PARENT]
    said = attributes(span)
    assert span.name == "POST /buy"
    assert (said["http.status_code"], said["turnstile.outcome"], said["turnstile.version"]) == (201, "sold", 1)
    assert (said["turnstile.event"], said["turnstile.order"]) == ("default", sold["order"][:16])
    took_ms = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6
    assert 0 <= said["turnstile.wait_ms"] + said["turnstile.hold_ms"] <= took_ms


def test_no_span_has_an_order_in_it(served: Callable[..., Service], spans: list[Any]) -> None:
    """Nor any other part of a path, whether there is such a route or not."""
    service = served("file_lock", tracing="otlp", workers=1)
    order = requests.post(f"{service.url}/buy", json={"quantity": 1}, timeout=20).json()["order"]
    asked = (("GET", "orders"), ("POST", "orders"), ("GET", "nothing"), ("DELETE", "orders"), ("INVENTED", "buy"))
    for method, path in asked:
        requests.request(method, f"{service.url}/{path}/{order}", timeout=20)
    until(lambda: {"GET other", "POST other", "DELETE /orders/<order>", "other other"} <= {span.name for span in spans})
    assert order not in str(spans)


@pytest.mark.usefixtures("tracing")
@pytest.mark.parametrize(
    ("variable", "name"),
    [
        ("", "turnstile"),
        ("OTEL_SERVICE_NAME=north", "north"),
        ("OTEL_RESOURCE_ATTRIBUTES=service.name=south,zone=1", "south"),
        ("OTEL_RESOURCE_ATTRIBUTES=zone=1", "turnstile"),
    ],
)
def test_spans_are_of_turnstile_unless_it_is_called_otherwise(
    monkeypatch: pytest.MonkeyPatch, variable: str, name: str
) -> None:
    """By OpenTelemetry's own variables."""
    from service.tracing import provider  # noqa: PLC0415  # it may not be there

    for each in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"):
        monkeypatch.delenv(each, raising=False)
    if variable:
        monkeypatch.setenv(*variable.split("=", 1))
    attributes = provider.__wrapped__().resource.attributes
    assert attributes["service.name"] == name
    assert attributes["telemetry.sdk.language"] == "python"
    assert attributes.get("zone") == ("1" if "zone" in variable else None)


@pytest.mark.usefixtures("tracing")
def test_a_collector_that_is_away_is_told_of_in_the_form_of_the_log(
    served: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each line is one object, also what OpenTelemetry says."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{serve.free_port()}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    service = served("file_lock", tracing="otlp", log="json", workers=1)
    assert requests.get(f"{service.url}/tickets", timeout=20).ok
    until(lambda: any(line["level"] == "warning" and "retrying" in line["message"] for line in lines_of(service)))


def test_what_is_left_when_a_service_ends_is_sent(
    served: Callable[..., Service], spans: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its spans were to be sent in an hour."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
    service = served("file_lock", tracing="otlp", workers=1)
    assert requests.post(f"{service.url}/buy", json={"quantity": 1}, timeout=20).ok
    assert "POST /buy" not in {span.name for span in spans}
    service.process.terminate()
    service.process.wait(PATIENCE_S)
    assert "POST /buy" in {span.name for span in spans}


@pytest.mark.usefixtures("tracing")
def test_a_collector_that_says_nothing_keeps_nobody_from_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be sent in time is lost."""
    from service import tracing  # noqa: PLC0415  # it may not be there

    said, ended = threading.Event(), threading.Event()

    def shutdown() -> None:
        said.wait(PATIENCE_S)
        ended.set()

    monkeypatch.setattr(tracing, "provider", lambda: SimpleNamespace(shutdown=shutdown))
    tracing.end(0.01)
    assert not ended.is_set()
    said.set()
    assert ended.wait(PATIENCE_S)


def test_without_the_setting_nothing_of_it_is_imported() -> None:
    """It takes half a second, and memory in each worker."""
    program = "import sys, service.__main__, service.app, service.catalogue; sys.exit('opentelemetry' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
