"""What the tutorial and the seed's chapters show of the code: some methods of a mode, and whole examples."""

from __future__ import annotations

import ast
import textwrap
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parent.parent
METHODS = {
    "naive": ("execute",),
    "no_lock": ("execute",),
    "thread_lock": ("__init__", "execute"),
    "process_lock": ("__init__", "execute"),
    "file_lock": ("execute", "_lock"),
    "ticket_lock": ("open", "begin", "_alone"),
    "lease": ("execute", "_lease"),
    "single_writer": ("open", "begin", "_consume"),
    "group_commit": ("open", "begin"),
    "sqlite": ("_turn", "_inside"),
    "postgres_row_lock": ("execute",),
    "redis_lock": ("execute",),
    "redis_script": ("execute",),
    "etcd_lock": ("execute",),
}
"""Of each mode, what its chapter speaks of."""
TOYS = (
    "tickets",
    "daemon_process",
    "dead_holder",
    "with_statement",
    "queue_and_pipe",
    "producer_and_consumer",
)


def excerpt(mode: str) -> str:
    """Return the methods of a mode that its chapter shows, as they are in its file."""
    text = (ROOT / "service" / "modes" / f"{mode}.py").read_text()
    found = {
        node.name: textwrap.dedent("\n".join(text.splitlines()[_first(node) - 1 : node.end_lineno]))
        for kind in ast.parse(text).body
        if isinstance(kind, ast.ClassDef)
        for node in kind.body
        if isinstance(node, ast.FunctionDef)
    }
    return "\n".join(["```python", "\n\n\n".join(found[method] for method in METHODS[mode]), "```"])


def toy(name: str) -> str:
    """Return an example of the article's kind as it is."""
    return f"```python\n{(ROOT / 'examples' / 'toy' / f'{name}.py').read_text()}```"


def _first(node: ast.FunctionDef) -> int:
    """Return the line where a method begins, its decorators too."""
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


PARTS = {f"inside {mode}": partial(excerpt, mode) for mode in METHODS}
PARTS |= {f"toy {name}": partial(toy, name) for name in TOYS}
