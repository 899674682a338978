"""Disks that are full, or slow: what makes them so, and who is left alone."""

from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from loadtest import refusals, slowness, volume
from loadtest.servers.process import Missing
from tests.databases import missing

if TYPE_CHECKING:
    from loadtest import schedule


def test_a_small_file_system_is_filled_and_freed_and_leaves_what_was_in_it(tmp_path: Path) -> None:
    """It is seen by none but those who are started into it, and nothing of it stays mounted."""
    try:
        with volume.mounted(tmp_path) as small:
            (small.here / "kept").write_text("kept")
            small.fill()
            script = 'cat kept; echo more > "$0" && echo fits'
            command = [*small.into, "sh", "-c", f"cd {small.path} && {script}", "other"]
            ended = subprocess.run(command, capture_output=True, text=True, check=False)
            assert ended.stdout == "kept"
            assert ended.returncode != 0, "there was room for another file's bytes"
            assert list(tmp_path.iterdir()) == []
            small.free()
            assert subprocess.run(command, capture_output=True, text=True, check=False).stdout == "keptfits\n"
    except Missing as error:
        missing(error)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "other"]
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()


def test_an_fsync_is_held_back_for_as_long_as_the_disk_is_slow(tmp_path: Path) -> None:
    """By at least what was said, in a process that ran already; and not after."""
    script = "import os, sys, time\nfile = open(sys.argv[1], 'w')\nfor _ in sys.stdin:\n begun = time.monotonic()\n"
    script += " os.fsync(file.fileno())\n print(time.monotonic() - begun, flush=True)\n"
    command = [sys.executable, "-c", script, str(tmp_path / "file")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None

        def synced() -> float:
            assert writer.stdin is not None
            assert writer.stdout is not None
            writer.stdin.write("\n")
            writer.stdin.flush()
            return float(writer.stdout.readline())

        try:
            synced()
            with slowness.slowed([writer.pid]):
                assert synced() >= slowness.DELAY_US / 1e6
        except Missing as error:
            missing(error)
        finally:
            writer.stdin.close()


def test_a_disk_that_was_not_slow_until_the_end_is_told_of() -> None:
    """Else a service would be said to survive what did not happen."""

    def ends_meanwhile() -> None:
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as traced:
            try:
                with slowness.slowed([traced.pid]) as tracer:
                    traced.kill()
                    tracer.wait()
            finally:
                traced.kill()

    try:
        slowness.check()
    except Missing as error:
        missing(error)
    with pytest.raises(Missing, match="strace, which holds back each fsync, ended before it was to"):
        ends_meanwhile()


@pytest.mark.parametrize(
    ("kinds", "needed", "url", "said"),
    [
        (("full-disk",), {"redis_lock": "redis"}, "", "redis_lock keeps its tickets with a server, whose disk is not"),
        (("slow-disk",), {"redis_lock": "redis"}, "redis://there/0", "the server at --url is not ours to be made slow"),
        (("slow-disk",), {"redis_lock": "redis"}, "", ""),
        (("full-disk", "slow-disk"), {"sqlite": "sqlite", "file_lock": ""}, "", ""),
    ],
)
def test_a_disk_that_is_not_ours_is_left_alone(
    kinds: tuple[schedule.Kind, ...], needed: dict[str, str], url: str, said: str
) -> None:
    """That of a server is not filled, and a server that ran before is not made slow."""
    with pytest.raises(click.BadParameter, match=said) if said else nullcontext():
        refusals.check_disks(kinds, needed, url)
