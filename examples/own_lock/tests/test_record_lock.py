"""All promises of ``service.mode``, as far as ``RecordLock`` claims them."""

from own_lock.record_lock import RecordLock

from promises import Promises


class TestRecordLock(Promises):
    mode = RecordLock
