"""What the images and the stack of containers are made of, read and not run."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from service import families
from tests.stack import PROFILES, missing

ROOT = Path(__file__).parent.parent
INSTRUCTIONS = [
    line.split(maxsplit=1)
    for line in re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text()).splitlines()
    if line and not line.startswith("#")
]
SERVICE, LOADTEST = ROOT / "requirements.service.lock", ROOT / "requirements.loadtest.lock"
EXTRAS = {SERVICE: ("postgres", "redis", "etcd"), LOADTEST: ("postgres", "redis", "etcd", "loadtest")}
"""One image serves all modes."""


def pins(path: Path) -> dict[str, str]:
    """Return the pins of a lock file, with their hashes, by name."""
    found = re.split(r"\n(?=\S)", path.read_text().strip())
    return {pin.partition("==")[0]: pin for pin in found}


def names(requirements: list[str]) -> set[str]:
    """Return the names of what is asked for."""
    return {re.split(r"[<>=\[ ]", each)[0].lower() for each in requirements}


@pytest.mark.parametrize("lock", [SERVICE, LOADTEST], ids=lambda path: path.name)
def test_an_image_has_what_is_tested_and_no_tools(lock: Path) -> None:
    """Its lock file is a part of the one that all is tested with; it has all that runs, and nothing that only tests."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    held, tested = pins(lock), pins(ROOT / "requirements.lock")
    assert {name: pin for name, pin in held.items() if tested.get(name) != pin} == {}, "make lock"
    asked = names(project["project"]["dependencies"]).union(*(names(extras[extra]) for extra in EXTRAS[lock]))
    assert asked <= held.keys(), "make lock"
    assert held.keys() & names([each for each in project["dependency-groups"]["dev"] if isinstance(each, str)]) == set()
    assert ("rich" in held) == (lock == LOADTEST)


def test_the_dockerfile_keeps_to_its_rules() -> None:
    """Bases by their version, no root, no shell around what runs, nothing that comes from elsewhere by itself."""
    assert all(re.search(r":(?!latest)\S+$", words) for name, words in INSTRUCTIONS if name == "ARG" and "=" in words)
    stages: dict[str, list[list[str]]] = {}
    for name, words in INSTRUCTIONS:
        if name == "FROM":
            base, _, stage = words.partition(" AS ")
            assert base == "${PYTHON}" or base in stages
            stages[stage] = []
        elif stages:
            stages[stage].append([name, words])
    for target in ("service", "loadtest"):
        last = dict(stages[target])
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last["USER"])
        assert json.loads(last["ENTRYPOINT"])[:2] == ["python", "-m"]
    assert list(stages)[-1] == "service"
    assert {"HEALTHCHECK", "STOPSIGNAL", "VOLUME"} <= dict(stages["service"]).keys()
    assert not {"ADD", "MAINTAINER"} & {name for name, _ in INSTRUCTIONS}
    assert not any(re.search("curl|wget|apt|sudo|chmod 777", words) for _, words in INSTRUCTIONS)
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"


def test_etcd_is_made_a_user_without_rights_and_nothing_else() -> None:
    """Its own image runs as root. The order counts: who makes the folder of the data is who it belongs to."""
    lines = [
        line for line in (ROOT / "deploy" / "etcd.Dockerfile").read_text().splitlines() if line[:1] not in {"", "#"}
    ]
    assert [line.split()[0] for line in lines] == ["ARG", "FROM", "USER", "WORKDIR"]
    assert re.search(r":(?!latest)\S+$", lines[0])
    assert lines[1:] == ["FROM ${ETCD}", "USER 10001:10001", "WORKDIR /data"]


def configured(*profiles: str) -> dict[str, Any]:
    """Return what compose makes of the file."""
    if why := missing("compose", "version"):
        pytest.skip(f"compose cannot read it: {why}")
    words = [word for profile in profiles for word in ("--profile", profile)]
    words = ["docker", "compose", *words, "config", "--format", "json"]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    made: dict[str, Any] = json.loads(ended.stdout)
    return made


@pytest.mark.parametrize("profile", ["", *PROFILES])
def test_every_profile_is_kept_in(profile: str) -> None:
    """No rights, no file system to write to, limits on memory and processes, ports for this machine alone."""
    made = configured(*filter(None, [profile]))
    expected = {
        "": {"turnstile", "proxy"},
        "etcd": {"etcd1", "etcd2", "etcd3", "turnstile-etcd", "proxy-etcd"},
        "loadtest": {"loadtest"},
        "observe": {"prometheus", "grafana"},
    }
    assert expected.get(profile, {profile, f"turnstile-{profile}", f"proxy-{profile}"}) <= made["services"].keys()
    for name, service in made["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"], name
        assert service["pids_limit"] > 0, name
        assert int(service["mem_limit"]) > 0, name
        assert all(port["host_ip"] == "127.0.0.1" for port in service.get("ports", [])), name
        assert re.search(r":(?!latest)", service["image"]) or "build" in service, name
        for variable, value in (service.get("environment") or {}).items():  # what is secret is in a file
            assert "_FILE" in variable or not re.search("PASSWORD|TOKEN|SECRET|://.*@", f"{variable}={value}"), variable


def test_the_proxy_asks_nobody_a_second_time_for_what_may_be_done() -> None:
    """A POST goes on only when it was not sent; PUT and DELETE, which nginx would repeat, never."""
    text = re.sub(r"#.*", "", (ROOT / "deploy" / "nginx.conf").read_text())
    assert "non_idempotent" not in text
    assert re.findall(r"proxy_next_upstream (.*);", text) == ["error timeout", "off"]
    assert "if ($request_method ~ ^(PUT|DELETE)$)" in text


def test_what_is_watched_is_what_the_service_counts() -> None:
    """Each metric that the dashboard asks for is one that there is, and Prometheus asks every stack's containers."""
    known = {each.name for each in (*families.COUNTED, *families.LOOKED_AT)}
    board = (ROOT / "deploy" / "grafana" / "turnstile.json").read_text()
    asked = set(re.findall(r"turnstile_[a-z_]+", board))
    assert {re.sub("_(bucket|sum|count)$", "", name) for name in asked} <= known
    assert len(asked) > 10
    stacks = re.findall(r"job_name: (\S+)", (ROOT / "deploy" / "prometheus.yml").read_text())
    services = configured(*PROFILES)["services"]
    assert set(stacks) == {name for name in services if name.startswith("turnstile")}
