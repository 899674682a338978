"""schemathesis reads the API's document and asks the running service for all it says, and for all it forbids."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from service.api.openapi import OPERATIONS
from tests.waiting import PROGRAM_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadtest.serve import Service

TESTS = Path(__file__).parent
PROGRAM = Path(sys.executable).with_name("schemathesis")
MODES = ("file_lock", "group_commit")
"""Answers from the thread that asks, and from a queue."""
EXAMPLES = 10
"""Most examples an operation, in each of its phases."""
TICKETS = 150
"""Enough for some phases, and too few for all: what is sold out is asked for too."""


@pytest.mark.parametrize("mode", MODES)
def test_schemathesis_finds_nothing(served: Callable[..., Service], tmp_path: Path, mode: str) -> None:
    """All its checks, in all its phases: examples, bounds and their breach, chance, and chains of calls."""
    service = served(mode, tickets=TICKETS)
    command: list[str | Path] = [PROGRAM, "--config-file", TESTS / "fuzzing.toml", "run", f"{service.url}/openapi.json"]
    command += ["--header", f"Authorization: Bearer {service.token}", "--max-examples", str(EXAMPLES), "--seed", "1"]
    environment = os.environ | {"SCHEMATHESIS_HOOKS": str(TESTS / "fuzzing.py")}
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PROGRAM_S, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    asked = len(OPERATIONS)  # the one of the harness comes to it, and the one that sends the document is left out
    assert f"Tested: {asked}\n" in ended.stdout
    generated = re.search(r"(\d+) generated", ended.stdout)
    assert generated
    assert int(generated[1]) > 20 * asked
    assert all(phase in ended.stdout for phase in ("✅ Examples", "✅ Coverage", "✅ Fuzzing", "✅ Stateful"))
