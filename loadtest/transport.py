"""A lean transport for ``requests``: one kept connection, no pool, no retry, real ``Response`` objects.

The stock adapter spends most of a call in its pool, its URL parsing and its environment look-ups: enough that on two
cores a load test measures itself. This one puts the standard library's ``http.client`` under the same ``Session``
interface. ``make bench`` measures both side by side; ``docs/measuring.md`` has the figures.

What it leaves out: TLS, proxies, redirects of its own, streaming, and asking again. A connection that the server has
closed is an error of its call, for a hidden retry would make two operations of one.
"""

from __future__ import annotations

import http.client
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadtest.plan import Loss

LOST_BYTES = 40
"""How much a client reads of a reply that it loses in the middle: less than any status line and its headers."""


class NeverSent(requests.ConnectionError):
    """The connection was refused before a byte of the request was sent: certainly nothing was done."""


class ReplyLost(requests.ConnectionError):
    """The connection was closed on purpose before the reply was read, so the outcome is unknown."""


class LeanAdapter(BaseAdapter):
    """Sends over one connection, opened when it is first needed and after every failure. For one thread."""

    def __init__(self) -> None:
        super().__init__()
        self._connection: http.client.HTTPConnection | None = None

    def send(  # the interface of requests
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: FBT001, FBT002  # the interface of requests
        timeout: float | tuple[float, float] | tuple[float, None] | None = None,
        verify: bool | str = True,  # noqa: FBT001, FBT002  # the interface of requests
        cert: bytes | str | tuple[bytes | str, bytes | str] | None = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send one request and read its whole reply. Raises what ``requests`` raises for a failed call."""
        del stream, verify, cert, proxies
        url = urlsplit(request.url or "")
        connection = self._connected(str(url.hostname), url.port or 80, timeout)
        target = f"{url.path}?{url.query}" if url.query else str(url.path)
        try:
            connection.request(str(request.method), target, request.body, dict(request.headers))
            raw, content = self._read(connection)
        except ReplyLost:
            self.close()
            raise
        except (OSError, http.client.HTTPException) as error:
            self.close()
            failure = requests.ReadTimeout if isinstance(error, TimeoutError) else requests.ConnectionError
            raise failure(error, request=request) from error
        if raw.will_close:
            self.close()
        return _response(request, raw, content)

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _read(self, connection: http.client.HTTPConnection) -> tuple[http.client.HTTPResponse, bytes]:
        raw = connection.getresponse()
        return raw, raw.read()

    def _connected(self, host: str, port: int, timeout: Any) -> http.client.HTTPConnection:  # noqa: ANN401  # as requests has it
        if self._connection is None:
            connection = http.client.HTTPConnection(host, port, timeout=timeout)
            try:
                connection.connect()
            except OSError as error:
                raise NeverSent(error) from error
            # Without this, a small body waits for the acknowledgement of its head (Nagle's algorithm).
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connection = connection
        return self._connection


class LosingAdapter(LeanAdapter):
    """Sends as well, and closes the connection instead of reading the reply."""

    def __init__(self, loss: Loss) -> None:
        super().__init__()
        self._loss = loss

    def _read(self, connection: http.client.HTTPConnection) -> tuple[http.client.HTTPResponse, bytes]:
        if self._loss == "unread":
            connection.sock.recv(1, socket.MSG_PEEK)
        elif self._loss == "in the middle":
            connection.sock.recv(LOST_BYTES)
        raise ReplyLost(f"the reply was lost on purpose: {self._loss}")


def session(loss: Loss | None = None) -> requests.Session:
    """Return a session of one connection that asks nothing twice and takes nothing from the environment.

    Where there is a ``loss``, it reads no reply to its end.
    """
    made = requests.Session()
    made.trust_env = False
    made.mount("http://", LosingAdapter(loss) if loss else LeanAdapter())
    return made


def _response(request: requests.PreparedRequest, raw: http.client.HTTPResponse, content: bytes) -> requests.Response:
    response = requests.Response()
    response.status_code = raw.status
    response.reason = raw.reason
    response.headers = CaseInsensitiveDict(raw.getheaders())
    response.request = request
    response.url = str(request.url)
    response.encoding = "utf-8"
    response._content = content  # noqa: SLF001  # as the adapter of requests does
    return response
