"""What the reference says of the files in a data directory, from the values that the guard knows them by."""

from __future__ import annotations

from service.stores.files import KINDS


def files() -> str:
    """Return the table of files."""
    rows = ["| file | format | what it is | written by | may it be removed? |", "| --- " * 5 + "|"]
    rows += [f"| {', '.join(f'`{name}`' for name in names)} | {' | '.join(told)} |" for names, *told in KINDS]
    return "\n".join(rows)


PARTS = {"files": files}
