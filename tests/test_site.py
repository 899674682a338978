"""The documents make a site: without a warning, and with no link inside it that leads nowhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def made(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """Make a site of ``source``, with our settings, in which a warning is an error."""
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", "--jobs", "1"]
    return subprocess.run(
        [*command, "-c", ROOT / "docs", "-d", target / "trees", source, target / "site"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip


def test_the_site_is_made_without_a_warning(tmp_path: Path) -> None:
    """Every page is in a list of contents, and every link between pages and to headings and files leads somewhere."""
    done = made(ROOT, tmp_path)
    assert (done.returncode, done.stderr.strip()) == (0, "")
    pages = {page.relative_to(tmp_path / "site").with_suffix(".md") for page in (tmp_path / "site").rglob("*.html")}
    sources = {page.relative_to(ROOT) for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]}
    assert sources <= pages


def test_the_first_page_says_of_every_page_what_it_is_for() -> None:
    """A table of contents is nothing to a reader of Markdown: each page in one is linked too."""
    text = (ROOT / "docs" / "index.md").read_text()
    linked = {target.removesuffix(".md") for target in re.findall(r"\]\(([^)#]+)\)", text)}
    listed = [page for part in re.findall(r":hidden:\n\n(.*?)```", text, re.DOTALL) for page in part.split()]
    assert len(listed) > 30
    assert set(listed) == linked


def test_a_link_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    """To a file, and to a heading; the test above can fail."""
    page = tmp_path / "docs" / "index.md"
    page.parent.mkdir()
    page.write_text("# Home\n\n[a file](gone.md), [a heading](#gone), [a folder](../docs)\n")
    done = made(tmp_path, tmp_path / "made")
    assert done.returncode == 1
    assert "gone.md" in done.stderr
    assert "'gone'" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 2
