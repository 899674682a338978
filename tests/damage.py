"""Changes that happen to files: bits flip, pieces go, come, come again, and lines with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable


@st.composite
def changed(draw: st.DrawFn, text: bytes) -> bytes:
    """Return a text with one to three changes."""
    for _ in range(draw(st.integers(1, 3))):
        text = draw(st.sampled_from(CHANGES))(draw, text)
    return text


def _place(draw: st.DrawFn, text: bytes) -> int:
    return draw(st.integers(0, max(len(text) - 1, 0)))


def _flip(draw: st.DrawFn, text: bytes) -> bytes:
    if not text:
        return text
    at = _place(draw, text)
    return text[:at] + bytes([text[at] ^ 1 << draw(st.integers(0, 7))]) + text[at + 1 :]


def _cut_end(draw: st.DrawFn, text: bytes) -> bytes:
    return text[: _place(draw, text)]


def _cut_out(draw: st.DrawFn, text: bytes) -> bytes:
    at = _place(draw, text)
    return text[:at] + text[at + draw(st.integers(1, 300)) :]


def _insert(draw: st.DrawFn, text: bytes) -> bytes:
    at = _place(draw, text)
    piece = draw(
        st.one_of(st.binary(min_size=1, max_size=20), st.sampled_from([b"\n", b"\x18\n", b"{}\n", b"\0" * 64]))
    )
    return text[:at] + piece + text[at:]


def _repeat(draw: st.DrawFn, text: bytes) -> bytes:
    at, to = _place(draw, text), _place(draw, text)
    return text[:to] + text[at : at + draw(st.integers(1, 300))] + text[to:]


def _zero(draw: st.DrawFn, text: bytes) -> bytes:
    at = _place(draw, text)
    piece = text[at : at + draw(st.integers(1, 512))]
    return text[:at] + bytes(len(piece)) + text[at + len(piece) :]


def _lines(change: Callable[[st.DrawFn, list[bytes]], None]) -> Callable[[st.DrawFn, bytes], bytes]:
    def changing(draw: st.DrawFn, text: bytes) -> bytes:
        lines = text.splitlines(keepends=True)
        if lines:
            change(draw, lines)
        return b"".join(lines)

    return changing


def _number(draw: st.DrawFn, lines: list[bytes]) -> int:
    return draw(st.integers(0, len(lines) - 1))


def _repeat_line(draw: st.DrawFn, lines: list[bytes]) -> None:
    lines.insert(_number(draw, lines), lines[_number(draw, lines)])


def _remove_line(draw: st.DrawFn, lines: list[bytes]) -> None:
    del lines[_number(draw, lines)]


def _swap_lines(draw: st.DrawFn, lines: list[bytes]) -> None:
    one, other = _number(draw, lines), _number(draw, lines)
    lines[one], lines[other] = lines[other], lines[one]


CHANGES = (
    _flip, _cut_end, _cut_out, _insert, _repeat, _zero,
    _lines(_repeat_line), _lines(_remove_line), _lines(_swap_lines),
)  # fmt: skip
