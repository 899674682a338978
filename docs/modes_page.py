"""What the reference says of modes, from their claims and from what each file says of itself; and of settings."""

from __future__ import annotations

import inspect
import re
import sys
from functools import partial
from typing import TYPE_CHECKING

from service import engines
from service.catalogue import CLAIMS, KINDS
from service.settings import PREFIX, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

WAITS = {"does not wait": "do not wait", "polls": "poll", "sleeps in the kernel": "sleep in the kernel"}
WAITS |= {"queues": "queue", "retries": "retry"}
MAIN_SETTINGS = ("mode", "url", "data", "bind", "workers", "threads", "wait_s", "admin_token_file")
"""What most who run it set."""


def described() -> str:
    """Return a paragraph for each mode: its claim, what it needs, and how it works in its own words."""
    return "\n\n".join(_mode(kind, scheme) for scheme, kinds in KINDS.items() for kind in kinds)


def settings(names: Collection[str]) -> str:
    """Return the table of these settings."""
    rows = ["| flag | variable | default | what it is |", "| --- " * 4 + "|"]
    for name, field in ((name, Settings.model_fields[name]) for name in names):
        value = str(field.default).lower() if isinstance(field.default, bool) else field.default
        default = "none" if value in {"", None} else f"`{value}`"
        what = f"{field.title}: {field.description}"
        rows.append(f"| `--{name.replace('_', '-')}` | `{PREFIX}{name.upper()}` | {default} | {what} |")
    return "\n".join(rows)


def _mode(kind: type, scheme: str) -> str:
    name = kind.name  # type: ignore[attr-defined]  # every mode has one
    claim = CLAIMS[name]
    needs = f"an address such as `{engines.ENGINES[scheme].address}`" if scheme else "a directory"
    said = inspect.cleandoc(sys.modules[kind.__module__].__doc__ or "")
    said = re.sub(r"``([^`]+)``", r"`\1`", said)
    return "\n".join(
        [
            f"## {name}",
            "",
            f"[`service/modes/{name}.py`](../../service/modes/{name}.py) needs {needs}.",
            "",
            f"- never sells twice across: **{claim.reach}**",
            f"- survives: {', '.join(claim.survives) or 'nothing'}",
            f"- the others {WAITS[claim.waits]}{'; first come, first served' if claim.fair else ''}",
            f"- price: {claim.price}",
            "",
            said,
        ]
    )


PARTS: dict[str, Callable[[], str]] = {
    "modes in full": described,
    "settings": partial(settings, Settings.model_fields),
    "main settings": partial(settings, MAIN_SETTINGS),
}
