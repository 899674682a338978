"""What the page on watching says of metrics, from the values that the client's objects are made of."""

from __future__ import annotations

from service.families import COUNTED, LOOKED_AT


def metrics() -> str:
    """Return the table of metrics."""
    rows = ["| metric | kind | labels | what it counts |", "| --- " * 4 + "|"]
    rows += [
        f"| `{each.name}` | {each.kind} | {', '.join(f'`{label}`' for label in each.labels) or 'none'} | {each.help} |"
        for each in (*COUNTED, *LOOKED_AT)
    ]
    return "\n".join(rows)


PARTS = {"metrics": metrics}
