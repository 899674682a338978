"""Make the generated parts of the documents again: what stands between ``<!-- name -->`` and ``<!-- /name -->``.

``make docs`` writes them; a test fails when one is stale. Nothing that the code says is written twice by hand.
"""

from __future__ import annotations

import difflib
import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from docs import (
    chinese_page,
    figures_page,
    files_page,
    http_page,
    loadtest_page,
    metrics_page,
    modes_page,
    tutorial_page,
)
from service.catalogue import CLAIMS

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parent.parent
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
OWN_LOCK = ROOT / "examples" / "own_lock"


def modes() -> str:
    """Return the table of modes, from their claims."""
    rows = ["| mode | never sells twice across | survives | the others | fair | price |", "| --- " * 6 + "|"]
    rows += [
        f"| [`{name}`](service/modes/{name}.py) | {claim.reach} | {', '.join(claim.survives) or 'nothing'} "
        f"| {_waiting(claim.waits)} | {'yes' if claim.fair else 'no'} | {claim.price} |"
        for name, claim in CLAIMS.items()
    ]
    return "\n".join(rows)


def difference() -> str:
    """Return the difference between the mode without a lock and the one with a file lock."""
    before, after = (_code(ROOT / "service" / "modes" / f"{name}.py") for name in ("no_lock", "file_lock"))
    lines = difflib.unified_diff(before, after, "no_lock.py", "file_lock.py", lineterm="", n=2)
    return "\n".join(["```diff", *lines, "```"])


def shown(path: Path, language: str) -> str:
    """Return a file as it is."""
    return f"```{language}\n{path.read_text()}```"


PARTS: dict[str, Callable[[], str]] = {
    "modes": modes,
    "difference": difference,
    "own mode": partial(shown, OWN_LOCK / "src" / "own_lock" / "record_lock.py", "python"),
    "own project": partial(shown, OWN_LOCK / "pyproject.toml", "toml"),
    "own test": partial(shown, OWN_LOCK / "tests" / "test_record_lock.py", "python"),
}
PARTS |= {
    **figures_page.PARTS,
    **modes_page.PARTS,
    **http_page.PARTS,
    **files_page.PARTS,
    **loadtest_page.PARTS,
    **metrics_page.PARTS,
    **tutorial_page.PARTS,
    **chinese_page.PARTS,
}


def made_again(text: str) -> str:
    """Return ``text`` with every generated part made again."""
    for name, make in PARTS.items():
        part = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if part.search(text):
            text = part.sub(partial(_filled, make()), text)
    return text


def _filled(made: str, place: re.Match[str]) -> str:
    return f"{place[1]}{made}\n{place[2]}"


def _code(path: Path) -> list[str]:
    """Return a mode's methods: what comes after its docstring, imports and claim."""
    _, mark, code = path.read_text().partition("    def __init__")
    return f"{mark}{code}".splitlines()


def _waiting(wait: str) -> str:
    if wait == "does not wait":
        return "do not wait"
    return wait.replace("polls", "poll").replace("sleeps", "sleep").replace("queues", "queue")


def main() -> int:
    """Write the documents; return how many had been stale."""
    stale = [path for path in DOCUMENTS if path.read_text() != made_again(path.read_text())]
    for path in stale:
        path.write_text(made_again(path.read_text()))
        sys.stdout.write(f"made again: {path.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
