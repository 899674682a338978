"""What was asked of a run, and what it ran on: the commit, the versions, the machine and how busy it was."""

from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("flask", "gunicorn", "filelock", "requests")
GIT_S = 5.0
PASSWORD = re.compile(r"(?:(://[^:/@\s]*:)[^/\s]*(?=@)|([?&][a-z]*password=)[^&\s]*)")


def asked(options: dict[str, Any]) -> dict[str, Any]:
    """Return what was asked for, as JSON values, without what is secret."""
    kept = {name: value for name, value in options.items() if name not in {"runs", "requirements", "quiet", "token"}}
    token = options.get("token")
    words = [PASSWORD.sub(r"\1\2***", word.replace(token, "***") if token else word) for word in sys.argv[1:]]
    kept |= {"url": PASSWORD.sub(r"\1\2***", options["url"])} if options.get("url") else {}
    return {"command": shlex.join(["python", "-m", "loadtest", *words]), "options": kept}


def provenance() -> dict[str, Any]:
    """Return what a reader needs to judge the figures of a run, as JSON values."""
    return {
        "started": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "commit": _commit(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 2),
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    """Return the commit of this code, with ``+`` where it was changed since; ``unknown`` outside a checkout."""
    words = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--abbrev=12", "--dirty=+"]
    try:
        ended = subprocess.run(words, capture_output=True, text=True, timeout=GIT_S, check=True)  # noqa: S603  # git
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return ended.stdout.strip()


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model", "CPU part")):
            return line.partition(":")[2].strip()
    return "unknown"
