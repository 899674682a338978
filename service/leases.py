"""The one lease that ``filelock.SoftFileLease`` never ends: that of a holder killed before it had signed.

It makes the file of a lease first, and writes its name and its process into it then. Killed between the two, it leaves
an empty file, which waiters leave alone for ever, because an older release of filelock would hold such a one.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path


def end_unsigned(path: str, lease_s: float) -> bool:
    """Remove the file of a lease that nobody has signed for as long as a lease lasts. Return False: go on waiting.

    It may be one that has just been signed, or another's: then two are inside, as when a lease ends unawares.
    """
    with contextlib.suppress(OSError):  # it has ended by itself
        status = os.lstat(path)
        if not status.st_size and time.time() - status.st_mtime > lease_s:
            Path(path).unlink()
    return False
