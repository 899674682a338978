"""A sentinel ends one consumer. Two consumers and one sentinel: one waits for ever."""

import multiprocessing
from multiprocessing.queues import Queue

FORK = multiprocessing.get_context("fork")
END = None
ORDERS = 6


def produce(orders: Queue) -> None:
    """Put orders, each with its number."""
    for number in range(ORDERS):
        orders.put(number)


def consume(orders: Queue) -> None:
    """Take orders until the sentinel comes."""
    while orders.get() is not END:
        pass


def still_waiting(consumers: int, sentinels: int) -> int:
    """Return how many consumers wait on when everything was produced, and the sentinels were sent."""
    orders = FORK.Queue()
    producer = FORK.Process(target=produce, args=(orders,))
    waiting = [FORK.Process(target=consume, args=(orders,)) for _ in range(consumers)]
    for process in (producer, *waiting):
        process.start()
    producer.join()  # before it, the sentinel could pass the last orders
    for _ in range(sentinels):
        orders.put(END)
    for process in waiting:
        process.join(timeout=1)
    left = [process for process in waiting if process.is_alive()]
    for process in left:
        process.kill()
    return len(left)


print("one consumer, one sentinel: still waiting:", still_waiting(1, 1))
print("two consumers, one sentinel: still waiting:", still_waiting(2, 1))
print("two consumers, two sentinels: still waiting:", still_waiting(2, 2))
