"""Tracing, for who asks for it: a span a request, by OpenTelemetry's own instrumentation of Flask.

Where spans go and how many are kept is said in OpenTelemetry's own variables (``OTEL_...``).
A path may have an order's identifier in it, by which anybody may cancel it, so spans have the route instead.
"""

from __future__ import annotations

import threading
from functools import cache
from typing import TYPE_CHECKING

import flask
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import Span, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from service.access import METHODS, OTHER
from service.answers import ROUTE
from service.decisions import fields_of

if TYPE_CHECKING:
    from service.trace import Told

PATHS = ("http.target", "http.url", "url.path", "url.full", "url.query")
"""What the instrumentation says of the path, by the conventions of one year and another."""


@cache
def provider() -> TracerProvider:
    """Return what makes the spans. It sends none yet: a thread does so, which must be of the worker."""
    # Merged last, for the variables go before the name, and the name before the "unknown_service" of Resource.create().
    resource = Resource.create({SERVICE_NAME: "turnstile"}).merge(OTELResourceDetector().detect())
    return TracerProvider(resource=resource, shutdown_on_exit=False)


def instrument(app: flask.Flask) -> None:
    """Have a span made of each request of ``app``."""
    FlaskInstrumentor().instrument_app(app, tracer_provider=provider())

    @app.after_request
    def hide_path(response: flask.Response) -> flask.Response:
        span = trace.get_current_span()
        if isinstance(span, Span):
            route = flask.request.environ.get(ROUTE, OTHER)
            method = flask.request.method
            span.update_name(f"{method if method in METHODS else OTHER} {route}")
            span.set_attributes({name: route for name in PATHS if name in (span.attributes or {})})
        return response


def end(patience_s: float) -> None:
    """Send what is left, for so long at most: a collector that is away would keep a service from its end."""
    last = threading.Thread(target=provider().shutdown, name="spans", daemon=True)
    try:
        last.start()
    except RuntimeError:  # no room for one more
        return
    last.join(patience_s)


class Spans:
    """Adds to the span of a request what was decided. Each is decided in the thread that asked, or for it."""

    def open(self) -> None:
        """Send what was made, in a thread of this worker."""
        provider().add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))

    def tell(self, told: Told) -> None:
        said = {f"turnstile.{name}": value for name, value in fields_of(told).items()}
        trace.get_current_span().set_attributes(said)
