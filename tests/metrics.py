"""What a service has counted, as a program reads it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from service.counts import CLAIM

if TYPE_CHECKING:
    from collections.abc import Mapping

SAMPLE = re.compile(r"([a-z_]+)(?:\{(.*)\})? (\S+)")
LABEL = re.compile(r'([a-z]+)="([^"]*)"')


def counted(url: str) -> dict[str, list[tuple[Mapping[str, str], float]]]:
    """Return all samples by name: labels and value. Histograms are samples too."""
    with requests.Session() as session:
        session.trust_env = False
        reply = session.get(f"{url}/metrics", timeout=20)
    assert reply.status_code == 200, reply.text
    assert reply.headers["Content-Type"].startswith("text/plain")
    samples: dict[str, list[tuple[Mapping[str, str], float]]] = {}
    for line in reply.text.splitlines():
        if match := SAMPLE.fullmatch(line):
            samples.setdefault(match[1], []).append((dict(LABEL.findall(match[2] or "")), float(match[3])))
    return samples


def total(url: str, name: str, **labels: str) -> float:
    """Return the sum of the samples of this name that have these labels."""
    return sum(value for having, value in counted(url).get(name, []) if labels.items() <= having.items())


def folder_of(master: int) -> Path:
    """Return where the processes of a service keep what they count: the master has the claim on it open."""
    links = (path.readlink() for path in Path(f"/proc/{master}/fd").iterdir() if path.is_symlink())
    return next(link.parent for link in links if link.name == CLAIM)
