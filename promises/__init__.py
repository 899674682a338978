"""What a mode promises, as tests that hold it to its claim: for our modes, and for those that other packages bring.

    from promises import Promises
    from own_lock import RecordLock

    class TestRecordLock(Promises):
        mode = RecordLock

It needs pytest, which the service does not.
"""

import pytest

# Before they are imported: else a failure would not say what was compared.
pytest.register_assert_rewrite("promises.selling", "promises.waiting")

from promises.counter import NOW, Counter, buying, decide_now  # noqa: E402  # as said above
from promises.selling import Selling  # noqa: E402  # as above
from promises.waiting import Waiting  # noqa: E402  # as above

__all__ = ["NOW", "Counter", "Promises", "buying", "decide_now"]


class Promises(Selling, Waiting):
    """All that a mode promises. A suite of its own for each of your modes: ``mode`` is its class."""
