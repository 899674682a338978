"""What the report says in words, figures and colours: nothing is left out, and everything can be read."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from importlib import resources

import pytest
from rich.console import Console

from loadtest import matrix, report, sheet, summary
from loadtest.findings import ANOMALIES, Checked, Finding, Witness
from loadtest.judge import Result
from loadtest.measure import measure
from loadtest.plan import make
from loadtest.verdict import Verdict


def result(mode: str, reach: str, word: str, *anomalies: str) -> Result:
    findings = tuple(Finding(name, 2, Witness("w"), Witness("w")) for name in anomalies)  # type: ignore[arg-type]
    return Result(mode, {"reach": reach}, Verdict(word, "why"), Checked(findings, 1, 0), None, None, ())  # type: ignore[arg-type]


def test_every_anomaly_breaks_one_promise_of_the_matrix() -> None:
    """None is left out and none is counted twice; caught and broken are two things."""
    assert sorted(itertools.chain(*matrix.PROMISES.values())) == sorted(ANOMALIES)
    caught = matrix.cells(result("no_lock", "nowhere", "as claimed", "double sale", "stale read", "reordered"))
    assert [(cell.state, cell.times) for cell in caught if cell.times] == [("caught", 2), ("caught", 4)]
    broken = matrix.cells(result("no_lock", "hosts", "broke its word", "lost update"))
    assert [cell.state for cell in broken].count("broken") == 1
    unsure = matrix.cells(result("no_lock", "hosts", "could not tell"))
    assert {cell.state for cell in unsure} == {"unknown"}
    assert len(set(matrix.SYMBOLS.values())) == len(matrix.SYMBOLS)


def test_the_sheet_keeps_exact_figures_and_shows_those_it_does_not_know() -> None:
    """A figure that is added later stands under its own name; one that is missing is a dash."""
    groups = sheet.sheet({"a": {"p99_ms": 1 / 3, "brand_new": 2.0}, "b": {}})
    entries = {entry.key: entry for rows in groups.values() for row in rows for entry in row.entries}
    assert float(entries["a.p99_ms"].exact) == 1 / 3
    assert entries["a.p99_ms"].shown == "0.333 ms"
    assert (entries["b.p99_ms"].exact, entries["a.brand_new"].shown) == ("", "2")
    assert list(groups) == ["How long a request took", sheet.OTHER]


@pytest.mark.parametrize("mode", ["file_lock", "record_lock_alone", "postgres_serializable", "m" * 60])
def test_no_mode_and_no_verdict_is_broken(mode: str) -> None:
    """In 80 columns each row stands on one line, and what has no room in a table stands in the next."""
    console = Console(width=80, record=True)
    sold = Checked((), 2384, 491_719)
    shown = [(mode, "could not tell"), ("single_writer", "as claimed")]
    results = [replace(result(name, "hosts", word), checked=sold, measured=measure([])) for name, word in shown]
    for table in report.tables(results, "run", console):
        console.print(table)
    told = console.export_text()
    assert max(map(len, told.splitlines())) <= 80
    assert re.search(rf"^ {mode} .*could not tell *$", told, re.MULTILINE)
    heads = [head.split() for head in re.findall(r"^ mode (.*)", told, re.MULTILINE)]
    assert told.count("single_writer ") == told.count(f"{mode} ") == len(heads)
    words = [name.split()[-1] for name in (*report.COLUMNS[1:], *report.DETAILS[1:])]
    assert sorted(itertools.chain(*heads)) == sorted(words)


def test_the_summary_says_what_was_run_and_how_it_went() -> None:
    """In sentences, for each shape, and for each way in which a mode can fare."""
    blog = summary.scene(make("blog", 1, 5), 10, 4, 5, 1)
    assert blog.startswith("20 buyers came at one moment to a service of 4 worker processes that had 10 tickets.")
    assert "paused for 0.2 s on purpose" in blog
    assert "for 5 s. It was run in 6 rounds, each with a fresh store" in summary.scene(
        make("flash-sale", 1, 5), 1, 1, 1, 6
    )
    assert summary.scene(make("flash-sale", 1, 5, rate=50.0), 1, None, 1, 1).startswith("50 times a second for 5 s")
    assert "hold of 1 s, which its buyer confirmed, cancelled or let end; " in summary.scene(
        make("holds", 1, 5), 1, 1, 1, 1
    )
    retries = summary.scene(make("retries", 1, 5), 1, 1, 1, 1)
    assert "confirmed, cancelled; " not in retries
    assert "confirmed or cancelled; " in retries
    assert "About 30% of the replies were lost on purpose" in retries
    said = summary.outcome([
        result("a", "nowhere", "as claimed", "oversell"),
        result("b", "nowhere", "as claimed", "double sale"),
        result("c", "hosts", "broke its word", "lost update"),
        result("d", "nowhere", "broke its word"),
        result("e", "hosts", "could not tell"),
        result("f", "threads", "as claimed", "lost update"),
    ])  # fmt: skip
    assert said == [
        "a and b promise nothing, and were caught: double sale and oversell.",
        "c promises to keep hosts apart, and broke that promise: lost update.",
        "d promises nothing, should have been caught, and was not.",
        "About e nothing can be said: why.",
        "f promises to keep threads apart, which is too little for several processes, and was caught: lost update.",
    ]
    assert (
        summary.headline([result("a", "hosts", "broke its word"), result("b", "hosts", "as claimed")])
        == "a broke its word"
    )
    assert summary.headline([]) == "Nothing was run"


def luminance(colour: str) -> float:
    parts = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_colours_of_text_have_enough_contrast(scheme: str) -> None:
    """4.5 to 1 (WCAG AA), on the page and on their own ground; in the dark too."""
    light, dark = re.findall(
        r":root \{(.*?)\}", (resources.files("loadtest") / "page.css").read_text("utf-8"), re.DOTALL
    )
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", light if scheme == "light" else dark))
    names = [name for name in colours if name not in {"paper", "panel", "line", "grid"} and not name.endswith("-bg")]
    assert len(names) > 10
    for name in names:
        for ground in {"paper", f"{name}-bg"} & set(colours):
            low, high = sorted(luminance(colours[each]) for each in (name, ground))
            assert (high + 0.05) / (low + 0.05) >= 4.5, f"{name} on {ground}"
