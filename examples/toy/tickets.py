"""Ten tickets in a file, twenty buyers at once: without a lock, or with one (``python tickets.py lock``)."""

import json
import multiprocessing
import random
import sys
import time
from contextlib import nullcontext
from pathlib import Path

FILE = Path("tickets.json")
FORK = multiprocessing.get_context("fork")
LOCK = FORK.Lock() if "lock" in sys.argv else nullcontext()


def buy(buyer: int) -> int:
    """Take one to five tickets, or what is left, and return how many."""
    with LOCK:
        count = json.loads(FILE.read_text())["count"]
        taken = min(random.randint(1, 5), count)
        time.sleep(0.2)
        new = FILE.with_suffix(f".{buyer}")
        new.write_text(json.dumps({"count": count - taken}))
        new.replace(FILE)
    return taken


FILE.write_text(json.dumps({"count": 10}))
with FORK.Pool(20) as buyers:
    sold = buyers.map(buy, range(20), chunksize=1)
print(f"10 tickets were there, {sum(sold)} were sold, {json.loads(FILE.read_text())['count']} are left")
