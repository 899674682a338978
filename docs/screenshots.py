"""Make the pictures in the README again: ``.venv/bin/python -m docs.screenshots``. It needs chromium."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import requests
from playwright.sync_api import expect, sync_playwright

from loadtest import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page, ViewportSize

DOCS = Path(__file__).parent
ARGS = ["--no-sandbox", "--disable-gpu"]
VIEW: ViewportSize = {"width": 1080, "height": 760}
WIDE: ViewportSize = {"width": 1200, "height": 760}
MODES = "naive,no_lock,thread_lock,process_lock,file_lock"
SHOWN = "section:not(#verdicts, #tickets, #witnesses), #witnesses h3 ~ h3, #witnesses h3 ~ h3 ~ * { display: none }"
"""Of a report: who kept what, what was left, and the first case. All of it would be too long for a picture."""


def main() -> None:
    """Show what a visitor sees who is not the only one, and what the lab finds where nothing keeps buyers apart."""
    program = shutil.which("chromium")
    if program is None:
        sys.exit("there is no chromium here: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGS)
        with served("group_commit", 120) as url:
            taken(url)
            page = opened(browser, url)
            _order(page, 3, "Buy now", "sold")
            requests.post(f"{url}/events/default/holds", json={"quantity": 5, "ttl_s": 600}, timeout=10)
            _order(page, 2, "Hold", "held")
            page.locator("#grid .holding").first.wait_for()
            page.screenshot(path=DOCS / "page.png")
        with served("no_lock", 100, think_s=0.05) as url:
            page = opened(browser, f"{url}/lab")
            page.get_by_role("button", name="Start 20 buyers").click()
            expect(page.locator("#happened")).to_be_visible()
            page.mouse.move(0, 0)
            bottom = page.locator("#tickets").bounding_box()
            height = int(bottom["y"] + bottom["height"]) + 32 if bottom else VIEW["height"]
            page.set_viewport_size({"width": VIEW["width"], "height": height})
            page.screenshot(path=DOCS / "lab.png")
        with reported() as report:
            page = browser.new_page(viewport=WIDE, color_scheme="light")
            page.goto(report.as_uri())
            page.add_style_tag(content=SHOWN)
            page.screenshot(path=DOCS / "report.png", full_page=True)
        browser.close()


@contextmanager
def served(mode: str, tickets: int, **flags: object) -> Iterator[str]:
    """Serve so many tickets on a fresh store."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").mkdir()
        (folder / "data" / "default.json").write_text(json.dumps({"count": tickets}))
        with serve.service(folder, {"mode": mode, **flags}) as service:
            yield service.url


@contextmanager
def reported() -> Iterator[Path]:
    """Have the report of a comparison."""
    with tempfile.TemporaryDirectory() as name:
        words = ["--modes", MODES, "--shape", "blog", "--workers", "4", "--runs", name, "--quiet"]
        command = [sys.executable, "-m", "loadtest", "compare", *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603  # it is ours
        yield Path(name) / "latest" / "report.html"


def taken(url: str) -> None:
    """Buy as others did before, and give some back."""
    bought = [
        requests.post(f"{url}/buy", json={"quantity": quantity}, timeout=10).json()["order"]
        for quantity in (4, 6, 3, 5, 2, 4)
    ]
    requests.delete(f"{url}/orders/{bought[2]}", timeout=10)


def opened(browser: Browser, url: str) -> Page:
    """Open a page in the light colours, at rest."""
    page = browser.new_page(viewport=VIEW, color_scheme="light", reduced_motion="reduce")
    page.goto(url)
    return page


def _order(page: Page, quantity: int, button: str, status: str) -> None:
    page.get_by_label("How many").fill(str(quantity))
    page.get_by_role("button", name=button, exact=True).click()
    page.locator(f".card.{status}").wait_for()
    page.mouse.move(0, 0)


if __name__ == "__main__":
    main()
