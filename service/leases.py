"""A lease of ``filelock.SoftFileLease``, held for an order; and the one that it never ends.

That is the lease of a holder killed before it had signed. It makes the file of a lease first, and writes its name and
its process into it then. Killed between the two, it leaves an empty file, which waiters leave alone for ever, because
an older release of filelock would hold such a one.
"""

from __future__ import annotations

import contextlib
import os
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import filelock

from service.mode import Busy, NotWritten

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def held(lease: filelock.SoftFileLease, wait_s: float, lease_s: float) -> Iterator[None]:
    """Hold a lease. Raises ``Busy``; and ``NotWritten`` where the disk has no room to sign it, so nothing is done."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lease.acquire(wait_s, cancel_check=partial(end_unsigned, lease.lock_file, lease_s)))
        except filelock.Timeout:
            raise Busy(wait_s) from None
        except OSError as error:
            raise NotWritten(f"the lease cannot be signed ({error.strerror}), so nothing was done") from error
        yield


def end_unsigned(path: str, lease_s: float) -> bool:
    """Remove the file of a lease that nobody has signed for as long as a lease lasts. Return False: go on waiting.

    It may be one that has just been signed, or another's: then two are inside, as when a lease ends unawares.
    """
    with contextlib.suppress(OSError):  # it has ended by itself
        status = os.lstat(path)
        if not status.st_size and time.time() - status.st_mtime > lease_s:
            Path(path).unlink()
    return False
