"""A stack of containers for a test: what makes it in a folder of its own, under a name and ports of its own."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadtest import serve

ROOT = Path(__file__).parent.parent
FILES = ("Dockerfile", ".dockerignore", "docker-compose.yml", "requirements.service.lock", "requirements.loadtest.lock")
FOLDERS = ("service", "loadtest", "deploy")
PROFILES = ("postgres", "redis", "etcd", "loadtest", "observe")
PORTS = {"": "PORT", "postgres": "POSTGRES_PORT", "redis": "REDIS_PORT", "etcd": "ETCD_PORT"}
COMMAND_S = 600.0
"""How long a command may take: a build fetches what it needs, and images may have to be fetched."""


def missing(*words: str) -> str:
    """Return why a ``docker`` command cannot be used here; nothing if it can."""
    if shutil.which("docker") is None:
        return "there is no docker here"
    words = ("docker", *words)
    ended = subprocess.run(words, capture_output=True, text=True, timeout=COMMAND_S, check=False)
    return "" if ended.returncode == 0 else f"{' '.join(words)} says: {ended.stderr.strip().partition(chr(10))[0]}"


@dataclass
class Stack:
    """A project of compose. Nothing of it is left after ``down`` but its images."""

    folder: Path
    name: str = field(default_factory=lambda: f"turnstile-test-{secrets.token_hex(4)}")
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Copy what it is made of, and draw secrets and ports."""
        for name in FILES:
            shutil.copy(ROOT / name, self.folder)
        for name in FOLDERS:
            shutil.copytree(ROOT / name, self.folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        self.said("sh", "deploy/secrets.sh")
        self.variables |= dict(zip(PORTS.values(), map(str, serve.free_ports(len(PORTS))), strict=True))
        self.variables |= {"TURNSTILE_HARNESS": "true", "TURNSTILE_WORKERS": "2"}
        self.variables |= {"ADMIN_TOKEN_FILE": "./secrets/admin_token", "COMPOSE_PROJECT_NAME": self.name}

    @property
    def token(self) -> str:
        """The admin token."""
        return (self.folder / "secrets" / "admin_token").read_text().strip()

    def url(self, profile: str = "") -> str:
        """Return the address of a profile's proxy."""
        return f"http://127.0.0.1:{self.variables[PORTS[profile]]}"

    def compose(self, *words: str) -> str:
        """Run ``docker compose`` with all profiles; those services are meant that are named."""
        every = [word for profile in PROFILES for word in ("--profile", profile)]
        return self.said("docker", "compose", *every, *words)

    def said(self, *words: str) -> str:
        """Run a command in the folder, and return what it prints. Fails with all that it said."""
        ended = subprocess.run(
            words, cwd=self.folder, env=os.environ | self.variables, capture_output=True, text=True, timeout=COMMAND_S,
            check=False,
        )  # fmt: skip
        assert ended.returncode == 0, f"{' '.join(words)}\n{ended.stdout[-4000:]}{ended.stderr[-4000:]}"
        return ended.stdout

    def running(self, service: str) -> list[str]:
        """Return the names of a service's containers that run."""
        lines = self.compose("ps", "--format", "json", service).splitlines()
        rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
        return sorted(row["Name"] for row in rows if row["State"] == "running")

    def down(self) -> None:
        """Take it down, with its volumes."""
        self.compose("down", "--volumes", "--timeout", "1", "--remove-orphans")
