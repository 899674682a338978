"""Buy tickets with requests: ``python buy.py http://127.0.0.1:8000 default 2``.

What a client has to get right, and no more: one idempotency key for all attempts at one purchase; what is certain told
from what is not; pauses that grow, with chance in them; and an end to it.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import uuid
from typing import Any

import requests
from requests.exceptions import InvalidSchema, InvalidURL, MissingSchema
from urllib3.exceptions import NewConnectionError

ATTEMPTS_MAX = 8
REPLY_S = 10.0
PAUSE_S, PAUSE_MAX_S = 0.1, 5.0
REFUSED_MIN, UNKNOWN_MIN = 400, 500
NOT_DONE = {408, 429, 503}
"""Certainly nothing was done by this attempt, so ask again: the service was busy, or a proxy in front of it."""
DECIDED = {409, 422}
"""The service has decided, and would have told an order that an earlier attempt had made."""


class Refused(Exception):
    """Certainly nothing was bought, and asking again would not help. The message says why."""


class Doubtful(Exception):
    """Nobody knows whether it was bought: ask again with the same key, within a day."""


def buy(
    url: str, event: str, quantity: int, key: str | None = None, attempts_max: int = ATTEMPTS_MAX
) -> dict[str, Any]:
    """Return the order. Raises ``Refused`` or ``Doubtful``."""
    key = key or uuid.uuid4().hex
    doubt = False
    with requests.Session() as session:
        for attempt in range(attempts_max):
            try:
                reply = session.post(
                    f"{url}/events/{event}/buy",
                    json={"quantity": quantity},
                    headers={"Idempotency-Key": key},
                    timeout=REPLY_S,
                )
            except (InvalidSchema, InvalidURL, MissingSchema):
                raise Refused(f"{url} is no address: expected one such as http://127.0.0.1:8000") from None
            except requests.ConnectionError as error:
                doubt = doubt or _may_be_sent(error)
                pause_s = _backoff(attempt)
            except requests.RequestException:
                doubt, pause_s = True, _backoff(attempt)  # the reply is missing, and perhaps only that
            else:
                if reply.status_code == requests.codes.created:
                    order: dict[str, Any] = reply.json()
                    return order
                if reply.status_code not in NOT_DONE and REFUSED_MIN <= reply.status_code < UNKNOWN_MIN:
                    if doubt and reply.status_code not in DECIDED:
                        break  # nothing was done now, which does not say what was done before
                    raise Refused(_why(reply))
                doubt = doubt or reply.status_code not in NOT_DONE
                pause_s = _told_or(reply, _backoff(attempt))
            time.sleep(pause_s)
    if doubt:
        raise Doubtful(f"nobody knows whether {quantity} tickets were bought: ask again with the key {key}")
    raise Refused(f"the counter was busy or away {attempts_max} times, so nothing was bought: come again later")


def _may_be_sent(error: requests.ConnectionError) -> bool:
    """Tell whether there was a connection, by which the order may have gone out; else surely nothing was done."""
    cause = getattr(error.args[0], "reason", None) if error.args else None
    return not isinstance(error, requests.ConnectTimeout) and not isinstance(cause, NewConnectionError)


def _backoff(attempt: int) -> float:
    """Return a pause that grows, drawn by lot: those who failed at one moment must not come back at one moment."""
    return random.uniform(0, min(PAUSE_MAX_S, PAUSE_S * 2**attempt))  # noqa: S311  # no secret


def _why(reply: requests.Response) -> str:
    """Return the service's reason, or what a proxy said, which may be a page."""
    try:
        return str(reply.json()["detail"])
    except (ValueError, TypeError, KeyError):
        return f"{reply.status_code} {reply.reason}"


def _told_or(reply: requests.Response, pause_s: float) -> float:
    """Return how long the service says to stay away, and a bit of chance more."""
    told = reply.headers.get("Retry-After", "")
    return min(float(told), PAUSE_MAX_S) + pause_s if told.isdigit() else pause_s


def main() -> int:
    """Buy once, and print the order."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("event")
    parser.add_argument("quantity", type=int)
    parser.add_argument("--key", help="the key of an earlier attempt")
    parser.add_argument("--attempts", type=int, default=ATTEMPTS_MAX, help="how often to ask, at most")
    asked = parser.parse_args()
    try:
        order = buy(asked.url, asked.event, asked.quantity, asked.key, asked.attempts)
    except Refused as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except Doubtful as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"order {order['order']}: tickets {', '.join(map(str, order['tickets']))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
