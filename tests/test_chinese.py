"""The Chinese README follows the English one: section by section, and with the same commands, figures and claims."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs import chinese_page, generate
from service.catalogue import CLAIMS

ROOT = Path(__file__).parent.parent
PAIRS = (("README.md", "docs/zh/README.md"), ("docs/tutorial/01-twenty-lines.md", "docs/zh/tutorial-1.md"))


@pytest.mark.parametrize(("english", "chinese"), PAIRS, ids=["readme", "tutorial"])
def test_a_translation_has_the_same_sections_commands_pictures_and_tables(english: str, chinese: str) -> None:
    """In the same order: a section, a command, a row or a link that is new has to be translated."""
    theirs, ours = (_shape(ROOT / page) for page in (english, chinese))
    assert ours == theirs


@pytest.mark.parametrize(("english", "chinese"), PAIRS, ids=["readme", "tutorial"])
def test_a_translation_and_its_page_lead_to_each_other(english: str, chinese: str) -> None:
    """At the top, for who came in at the wrong door."""
    for here, there in ((english, chinese), (chinese, english)):
        links = re.findall(r"\]\(([^)#]+)\)", "".join((ROOT / here).read_text().partition("\n## ")[:1]))
        assert (ROOT / there).resolve() in {((ROOT / here).parent / link).resolve() for link in links}


def test_a_section_that_was_not_translated_is_noticed(tmp_path: Path) -> None:
    """And a command, a row, a picture; the test above can fail."""
    page = ROOT / "README.md"
    known = _shape(page)
    changed = tmp_path / "README.md"
    for more in ("\n## More\n", "\n```sh\nmake more\n```\n", "\n| one | row |\n", "\n![more](docs/page.png)\n"):
        changed.write_text(page.read_text() + more)
        assert _shape(changed) != known, more


def test_every_word_of_a_claim_has_a_translation() -> None:
    """A word that is new fails here, and not on the page."""
    words = {word for claim in CLAIMS.values() for word in (claim.reach, claim.waits, *claim.survives)}
    assert words <= set(chinese_page.WORDS)
    assert len(chinese_page.modes().splitlines()) == len(generate.modes().splitlines())


def _shape(page: Path) -> tuple[list[int], list[str], list[str], list[int]]:
    """Return the levels of headings, the blocks of code, the pictures, and how many rows each table has."""
    text = page.read_text()
    blocks = re.findall(r"^```\w+\n.*?^```$", text, re.DOTALL | re.MULTILINE)
    prose = re.sub(r"^```\w+\n.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    headings = [len(mark) for mark in re.findall(r"^(#+) ", prose, re.MULTILINE)]
    pictures = [Path(target).name for target in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", prose)]
    tables = [len(table.splitlines()) for table in re.findall(r"(?:^\|.*\n?)+", prose, re.MULTILINE)]
    return headings, blocks, pictures, tables
