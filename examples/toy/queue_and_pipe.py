"""What goes through a queue is a copy; a full queue refuses; and what was put may still be on its way."""

import multiprocessing
import os
import queue
from multiprocessing.queues import Queue

FORK = multiprocessing.get_context("fork")


def put_and_die(orders: Queue) -> None:
    """Put one large order, be told that it is in, and die before the queue's own thread has sent it all."""
    orders.put("x" * 10_000_000)
    os._exit(0)


shelf = FORK.Queue(2)
order = ["ticket 1"]
shelf.put(order)
received = shelf.get()
received.append("ticket 2")
print("sent:", order, "received and then changed:", received)

shelf.put(1)
shelf.put(2)
try:
    shelf.put_nowait(3)
except queue.Full:
    print("a queue of two refuses the third")
shelf.cancel_join_thread()

orders = FORK.Queue()
dying = FORK.Process(target=put_and_die, args=(orders,))
dying.start()
dying.join()
reader = FORK.Process(target=orders.get)
reader.start()
reader.join(timeout=1)
print("put() had returned; the order", "was lost, and its reader waits for the rest" if reader.is_alive() else "came")
reader.kill()
