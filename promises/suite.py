"""A suite of tests for modes: which of them a test is for, by their claims, and the counter that they are built on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from promises.counter import Counter

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    from service.mode import Claim

    Chosen = Callable[["type[Suite]", str, str], bool]
    """Of a suite, a mode and a distance: whether a test is for them."""

REACHES = ("nowhere", "threads", "processes", "hosts")
DISTANCES = ("threads", "processes")


def of(chosen: Chosen) -> Callable[[Any], Any]:
    """Run a test only for the modes, and at the distances, that are ``chosen``."""

    def marked(test: Any) -> Any:  # a function, with a mark on it
        test.chosen = chosen
        return test

    return marked


class Suite:
    """Tests of ``mode``, or of the modes whose ``claims`` are given, with a ``counter`` that can build them."""

    mode: ClassVar[Any] = None
    claims: ClassVar[Mapping[str, Claim]] = {}
    undecided: ClassVar[Collection[str]] = ()
    """Modes in which an engine decides, so that nobody can be stopped between read and write."""
    engines: ClassVar[Collection[str]] = ()
    """Modes that need an engine."""
    one_at_a_time: ClassVar[Collection[str]] = ()
    """Modes that let one write at a time, whatever the event. Their price must say so."""

    @classmethod
    def claimed(cls) -> Mapping[str, Claim]:
        """Return the claims by name."""
        return cls.claims or {cls.mode.name: cls.mode.claim}

    @classmethod
    def decides(cls, name: str) -> bool:
        """Tell whether a mode calls ``decide``."""
        return name not in cls.undecided

    @classmethod
    def reaches(cls, name: str, distance: str) -> bool:
        """Tell whether a mode claims to keep sellers apart that stand at ``distance``."""
        return REACHES.index(cls.claimed()[name].reach) >= REACHES.index(distance)

    @classmethod
    def on_files(cls, name: str) -> bool:
        """Tell whether a mode keeps its tickets in files: those that other packages bring do."""
        return name not in cls.engines

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each test for the modes that it is of, and at each distance."""
        if metafunc.cls is None or (metafunc.cls.mode is None and not metafunc.cls.claims):
            return
        suite, names = metafunc.cls, metafunc.cls.claimed()
        chosen: Chosen = getattr(metafunc.function, "chosen", lambda *_: True)
        if "distance" in metafunc.fixturenames:
            pairs = [(name, far) for name in names for far in DISTANCES if chosen(suite, name, far)]
            metafunc.parametrize(("name", "distance"), pairs)
        else:
            metafunc.parametrize("name", [name for name in names if chosen(suite, name, "")])

    @pytest.fixture
    def counter(self, tmp_path: Path) -> Iterator[Any]:
        """A counter with ten tickets, in the article's own form."""
        directory = tmp_path / "data"
        directory.mkdir()
        made = Counter(directory, builder=lambda _: self.mode)
        made.event("default", 10)
        yield made
        made.close()

    @pytest.fixture
    def patient(self) -> None:
        """Whoever stands still inside, as a test or a busy machine has it, is not taken for one who is paused."""
