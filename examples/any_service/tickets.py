"""A ticket service that is none of Turnstile's, in one file: the least that ``python -m loadtest run URL`` can judge.

``python tickets.py PORT`` reads, waits a little, and writes, and nobody keeps anybody out. ``python tickets.py PORT
--lock`` takes a lock around the three. What it says of itself at ``/mode`` is the same both times, and once untrue.
"""

import json
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CAPACITY = 100_000
PAUSE_S = 0.002
MODE = {"mode": "any_service", "claim": {"reach": "processes", "survives": []}, "workers": 1}


class Counter(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    count, version = CAPACITY, 0
    lock = threading.Lock() if "--lock" in sys.argv else nullcontext()

    def do_GET(self) -> None:
        if self.path == "/mode":
            self.answer(200, MODE)
        else:
            with Counter.lock:
                self.answer(200, {"capacity": CAPACITY, "count": Counter.count, "version": Counter.version})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["quantity"]
        with Counter.lock:
            count, version = Counter.count, Counter.version
            time.sleep(PAUSE_S)
            sold = asked <= count
            if sold:
                count, version = count - asked, version + 1
                Counter.count, Counter.version = count, version
        first = CAPACITY - count - asked + 1
        tickets = list(range(first, first + asked))
        order = {"order": f"order-{first}", "tickets": tickets} if sold else {}
        self.answer(201 if sold else 409, {**order, "count": count, "version": version})

    def answer(self, status: int, values: Mapping[str, object]) -> None:
        body = f"{json.dumps(values)}\n".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    if not sys.argv[1:] or not sys.argv[1].isdigit():
        sys.exit("usage: tickets.py PORT [--lock], such as tickets.py 8001")
    try:
        server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Counter)
    except (OSError, OverflowError) as error:
        sys.exit(f"port {sys.argv[1]} cannot be listened on ({error}): choose another one")
    server.serve_forever()
