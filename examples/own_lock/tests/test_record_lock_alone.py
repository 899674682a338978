"""What ``RecordLockAlone`` claims, and does not keep: this file fails, and is meant to."""

from own_lock.record_lock_alone import RecordLockAlone

from promises import Promises


class TestRecordLockAlone(Promises):
    mode = RecordLockAlone
