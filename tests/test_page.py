"""The report's page, of a real run, in a real browser: it opens quietly, says what verdict.json says, and fits."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.waiting import PROGRAM_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

PAGE_BYTES_MAX = 2_000_000
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one run, with a ceiling, two rounds, anomalies and traces; and what it printed."""
    here = tmp_path_factory.mktemp("page")
    words = ["compare", "--shape", "flash-sale", "--seconds", "0.5", "--repeat", "2", "--workers", "2", "--quiet"]
    words += ["--modes", "no_lock,file_lock"]
    ended = subprocess.run(
        [sys.executable, "-m", "loadtest", *words],
        cwd=here,
        capture_output=True,
        text=True,
        timeout=PROGRAM_S,
        check=False,
    )
    (place,) = (path for path in (here / "runs").iterdir() if not path.is_symlink())
    (place / "printed.txt").write_text(ended.stdout + ended.stderr)
    return place


@contextmanager
def opened(browser: Browser, report: Path, **how: Any) -> Iterator[Page]:  # noqa: ANN401  # as Playwright takes it
    """Open a report; at the end, nothing may have been said on the console or asked of a network."""
    page = browser.new_page(**how)
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    yield page
    page.close()
    assert said == []
    assert asked == [report.as_uri()]


def test_the_run_ends_with_the_path_of_the_report(run: Path) -> None:
    """It is the last line, and the file stands by itself: small, and without an address of anything else."""
    last = (run / "printed.txt").read_text().splitlines()[-1]
    assert last == f"report: runs/{run.name}/report.html"
    text = (run / "report.html").read_text("utf-8")
    assert len(text.encode()) < PAGE_BYTES_MAX
    assert set(re.findall(r"https?://[^\s\"<]+", text)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<script|<link|<iframe|\bsrc=|url\(|@import|\son\w+=", text)


def test_what_was_not_asked_for_is_not_in_the_provenance(run: Path) -> None:
    """No word without a value, and no ``False``."""
    page = (run / "report.html").read_text()
    (asked,) = re.findall("<dt>asked for</dt><dd><code>(.*?)</code></dd>", page)
    words = asked.split(", ")
    assert {"modes no_lock,file_lock", "repeat 2", "seconds 0.5", "trace True"} <= set(words)
    assert [word for word in words if word.startswith(("faults", "soak", "url")) or word.endswith(" ")] == []


def test_figures_on_the_page_are_those_of_the_verdict(run: Path, browser: Browser) -> None:
    """Every figure of every mode, exactly; and the matrix counts what was found."""
    verdict = json.loads((run / "verdict.json").read_text())
    with opened(browser, run / "report.html") as page:
        shown = page.eval_on_selector_all("[data-figure]", "all => all.map(e => [e.dataset.figure, e.value])")
        counted = page.eval_on_selector_all(
            "[data-promise]", "all => all.map(e => [e.dataset.promise, Number(e.querySelector('data')?.value ?? 0)])"
        )
        words = page.eval_on_selector_all("[data-verdict]", "all => all.map(e => [e.dataset.verdict, e.innerText])")
    assert len(dict(shown)) == len(shown)
    assert {name: float(value) for name, value in shown if value} == dict(expected(verdict))
    for mode in verdict["modes"]:
        found = sum(finding["times"] for finding in mode["checked"]["findings"])
        assert sum(times for name, times in counted if name.startswith(f"{mode['mode']}.")) == found
        assert mode["verdict"]["word"] in dict(words)[mode["mode"]]


def expected(verdict: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the figures of ``verdict.json`` by the names that the page gives them."""
    for mode in verdict["modes"]:
        checked = mode["checked"]
        flat = {"ratio": mode["ratio"]["median"], "sold": checked["sold"], "left": checked["left"]}
        flat["anomalies"] = sum(finding["times"] for finding in checked["findings"])
        for name, value in mode["measured"].items():
            flat |= {f"{name}.{key}": one for key, one in value.items()} if isinstance(value, dict) else {name: value}
        yield from ((f"{mode['mode']}.{name}", float(value)) for name, value in flat.items() if value is not None)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1200])
def test_the_page_fits_in_light_and_dark(run: Path, browser: Browser, tmp_path: Path, scheme: str, width: int) -> None:
    """Nothing is wider than the screen, the colours follow the reader's choice, and a picture of it can be made."""
    how = {"color_scheme": scheme, "viewport": {"width": width, "height": 800}}
    with opened(browser, run / "report.html", **how) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
        page.screenshot(path=tmp_path / "report.png", full_page=True)
        assert (tmp_path / "report.png").stat().st_size > 50_000
        page.emulate_media(media="print")
        assert page.locator(".wide").first.is_visible()
        assert page.locator("nav").is_hidden()


def test_the_page_can_be_heard_and_used_without_a_mouse(run: Path, browser: Browser) -> None:
    """Headings in order, pictures with names and descriptions, tables with captions, and a link to skip to them."""
    with opened(browser, run / "report.html") as page:
        levels = [int(level) for level in page.eval_on_selector_all("h1,h2,h3,h4", "all => all.map(e => e.tagName[1])")]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
        page.locator("details").evaluate_all("all => all.forEach(e => e.open = true)")
        pictures = page.locator("svg:not([aria-hidden]):visible")
        assert pictures.count() == page.get_by_role("img", name=re.compile(r"\w")).count() >= 8
        for number in range(pictures.count()):
            expect(pictures.nth(number)).to_have_accessible_description(re.compile(r"\w"))
        identifiers = page.eval_on_selector_all("[id]", "all => all.map(e => e.id)")
        assert len(set(identifiers)) == len(identifiers)
        assert page.locator("table").count() == page.locator("table > caption").count()
        assert page.locator("th:not([scope])").count() == 0
        page.keyboard.press("Tab")
        expect(page.locator(".skip")).to_be_in_viewport()
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "content"


def test_hostile_words_and_faults_are_shown_and_do_nothing(run: Path, browser: Browser, tmp_path: Path) -> None:
    """What a service or a file says is text, wherever it stands; a fault is shaded in every picture along time."""
    place = tmp_path / "20260101-000000-hostile"
    shutil.copytree(run, place)
    asked = json.loads((place / "run.json").read_text())
    (place / "run.json").write_text(json.dumps(asked | {"command": HOSTILE, "commit": HOSTILE}))
    word = json.loads((place / "round-1/file_lock/mode.json").read_text())
    word["claim"]["price"] = HOSTILE
    (place / "round-1/file_lock/mode.json").write_text(json.dumps(word))
    (place / "round-2/file_lock/failure.txt").write_text(HOSTILE)
    rows = (place / "round-1/file_lock/history.jsonl").read_text().splitlines()
    began = min(json.loads(row)["called"] for row in rows)
    fault = {"name": HOSTILE, "from_ns": began + 10**8, "to_ns": began + 2 * 10**8}
    (place / "round-1/file_lock/faults.json").write_text(json.dumps([fault]))
    ended = subprocess.run(
        [sys.executable, "-m", "loadtest", "check", place, "--require", "gone:ratio>0.0001"],
        capture_output=True, text=True, timeout=PROGRAM_S, check=False,
    )  # fmt: skip
    assert ended.returncode == 2, ended.stdout + ended.stderr
    with opened(browser, place / "report.html") as page:
        assert page.locator("script").count() == 0
        assert page.locator("figure rect.fault").count() == 3
        assert page.get_by_text(HOSTILE).count() >= 6
        expect(page.locator("h1")).to_contain_text("The run could not tell about file_lock")
        expect(page.locator("#warnings table")).to_contain_text("nothing was measured")
