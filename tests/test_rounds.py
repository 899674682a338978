"""A mode of which nothing could be told has another round, and nothing that was seen is thrown away."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from loadtest import rounds
from loadtest.judge import judge
from tests.test_judge import bought, left

if TYPE_CHECKING:
    from pathlib import Path

SALES = 8


def test_a_mode_that_one_worker_answered_alone_has_another_round(tmp_path: Path) -> None:
    """And is judged by both. Where buyers go on until the time is up, it stays as it is."""
    ran: list[tuple[int, str]] = []

    def run(number: int, name: str, _title: str) -> None:
        ran.append((number, name))
        rows = [bought(version, 1 + version, buyer=version % 2, number=version) for version in range(1, SALES)]
        if number == 1:
            rows = [replace(row, worker="70") for row in rows]
        left(tmp_path, rows, [], number)
        path = tmp_path / f"round-{number}" / name / "plan.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"orders": orders}))

    orders = 1
    rounds.carry_out(run, tmp_path, ["file_lock"], 1, ceiling=False)
    assert ran == [(1, "file_lock"), (2, "file_lock")]
    (result,), _ = judge(tmp_path)
    assert result.measured is not None
    assert result.measured.decided == 2 * (SALES - 1)

    for path in tmp_path.rglob("plan.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"orders": 0}))
    (tmp_path / "round-2").rename(tmp_path / "elsewhere")
    orders = 0
    ran.clear()
    rounds.carry_out(lambda number, name, _: ran.append((number, name)), tmp_path, ["file_lock"], 1, ceiling=False)
    assert ran == [(1, "file_lock")]
