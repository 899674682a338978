"""Prometheus itself, with the configuration that the containers have: it asks, computes what is drawn, and alerts."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from loadtest.serve import free_port
from tests.waiting import PATIENCE_S, PROGRAM_S, until_within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from loadtest.serve import Service

DEPLOY = Path(__file__).parent.parent / "deploy"
PAGE = Path(__file__).parent.parent / "docs" / "observe.md"
SERIES = Path(__file__).parent / "alerts_test.yml"
"""Series that are made up, and what alerts are to tell of them."""
JOB = "turnstile"
SLOW = {"TurnstileSlow", "TurnstileSlowDisk"}
"""What is told of a machine that is busy with other things, when it is so for ten minutes."""
NOT_COUNTED_HERE = ("turnstile_refusals_total", "turnstile_retries_total")
"""Nobody is turned away here, and only engines make an order try again."""


@pytest.fixture
def program() -> str:
    """Without Prometheus the test is skipped at home, and fails where CI is set."""
    found = shutil.which("prometheus")
    if not found:
        why = "there is no Prometheus to be asked by: apt install prometheus"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    return found


def checks(program: str, place: Path) -> None:
    """Let Prometheus' own tool look at a configuration, and at the alerts that it names."""
    checked = subprocess.run(
        [f"{Path(program).parent}/promtool", "check", "config", "prometheus.yml"],
        cwd=place, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout + checked.stderr


@contextmanager
def prometheus(program: str, place: Path, service: str) -> Iterator[str]:
    """Run Prometheus as the containers do, but that it finds the service by its address and asks each second."""
    shutil.copy(DEPLOY / "alerts.yml", place)
    text = (DEPLOY / "prometheus.yml").read_text().replace("/etc/turnstile", str(place))
    found = f"static_configs: [{{targets: [{service}]}}]"
    text = re.sub(rf"dns_sd_configs: \[{{names: \[{JOB}\].*", found, text)
    text = re.sub(r"dns_sd_configs: .*", "static_configs: []", text)
    text = re.sub(r"(scrape|evaluation)_interval: \d+s", r"\1_interval: 1s", text)
    (place / "prometheus.yml").write_text(text)
    checks(program, place)
    port = free_port()
    words = ["--config.file=prometheus.yml", f"--web.listen-address=127.0.0.1:{port}"]
    words += [f"--storage.tsdb.path={place / 'tsdb'}"]
    with (
        (place / "log").open("w") as log,
        subprocess.Popen([program, *words], cwd=place, stdout=log, stderr=log) as process,
    ):
        try:
            yield f"http://127.0.0.1:{port}/api/v1"
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


def asked(url: str, **words: str) -> Any:  # noqa: ANN401  # it is of Prometheus' making
    """Return what Prometheus says; nothing, when it is not there yet."""
    try:
        with requests.get(url, params=words, timeout=PATIENCE_S) as reply:
            return reply.json()["data"] if reply.ok else None
    except requests.ConnectionError:
        return None


def test_each_alert_fires_when_it_says_so(program: str) -> None:
    """Also for the first failure of its kind, whose counter was not there before."""
    told = subprocess.run(
        [f"{Path(program).parent}/promtool", "test", "rules", SERIES],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stdout + told.stderr


def test_each_alert_is_tried() -> None:
    """It is expected at one time, and at another it is not."""
    alerts = set(re.findall(r"- alert: (\w+)", (DEPLOY / "alerts.yml").read_text()))
    tried = SERIES.read_text()
    assert alerts
    assert alerts == set(re.findall(r"alertname: (\w+)\n +exp_alerts:(?: &\w+)?\n +- exp_labels", tried))
    assert alerts == set(re.findall(r"alertname: (\w+), exp_alerts: \[\]", tried))


def test_the_configuration_of_the_page_asks_often_enough(program: str, tmp_path: Path) -> None:
    """Prometheus takes it, and the shortest range of a question or an alert has four samples."""
    shutil.copy(DEPLOY / "alerts.yml", tmp_path)
    (text,) = re.findall(r"```yaml\n(global:.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "prometheus.yml").write_text(text)
    checks(program, tmp_path)
    (interval_s,) = re.findall(r"scrape_interval: (\d+)s", text)
    minutes = re.findall(r"\[(\d+)m\]", PAGE.read_text() + (DEPLOY / "alerts.yml").read_text())
    assert int(interval_s) <= min(map(int, minutes)) * 60 / 4


def test_the_dashboard_has_numbers_and_the_alerts_can_fire(
    program: str, served: Callable[..., Service], tmp_path: Path
) -> None:
    """Each expression is computed, the page's too; those of what has happened have a result; who is gone is told of."""
    service = served("group_commit", tickets=1_000_000)
    board = json.loads((DEPLOY / "grafana" / "turnstile.json").read_text())
    drawn = [each["expr"].replace("$job", JOB) for panel in board["panels"] for each in panel.get("targets", [])]
    table = PAGE.read_text().partition("### Questions")[2].partition("\n\nWhat")[0]
    questions = re.findall(r"\| `([^`|]+)`[^|]*\|$", table, re.MULTILINE)
    place = tmp_path / "prometheus"
    place.mkdir()
    with (
        prometheus(program, place, service.url.removeprefix("http://")) as url,
        requests.Session() as buyer,
    ):

        def has_numbers() -> bool:
            assert buyer.post(f"{service.url}/buy", json={"quantity": 1}, timeout=PATIENCE_S).ok
            missing = [each for each in drawn if not (asked(f"{url}/query", query=each) or {}).get("result")]
            return all(any(name in each for name in NOT_COUNTED_HERE) for each in missing)

        until_within(PROGRAM_S, has_numbers)
        assert len(questions) == table.count("\n|") - 2
        assert all(asked(f"{url}/query", query=each) is not None for each in questions)
        assert asked(f"{url}/query", query=questions[0])["result"]
        assert len(rules_of(url)) == (DEPLOY / "alerts.yml").read_text().count("- alert:")
        until_within(PATIENCE_S, lambda: all(rule["health"] == "ok" for rule in rules_of(url)))
        until_within(
            PATIENCE_S, lambda: {rule["name"] for rule in rules_of(url) if rule["state"] != "inactive"} <= SLOW
        )
        service.end()
        assert service.stop() == ""
        ended = ("TurnstileDown", "TurnstileGone")
        until_within(PATIENCE_S, lambda: {state_of(url, each) for each in ended} == {"pending"})  # they fire later


def rules_of(url: str) -> list[dict[str, str]]:
    """Return the alerts, with their state."""
    return [rule for group in asked(f"{url}/rules")["groups"] for rule in group["rules"]]


def state_of(url: str, alert: str) -> str:
    """Return the state of one alert."""
    return next(rule["state"] for rule in rules_of(url) if rule["name"] == alert)
