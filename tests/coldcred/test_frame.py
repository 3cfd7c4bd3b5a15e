"""The frame: content stays behind its gutter at every width, and two contents that differ are written differently."""

import random
import re

import pytest

from coldcred.canonical import sha256_hex
from coldcred.rendering import frame
from coldcred.rendering.words import moment, span

OURS = (
    "request 51e4613aeb5c", "asked by carol", "act credential.issue", "1 line, 1 credential", "", "held 3 lines",
    "appliance " + "a" * 64, "totals by profile and workload and scope and lifetime " * 3,
)  # fmt: skip
_PIECES = (
    *OURS, " ", " " * 37, " " * 80, "| ", ": ", "    ", "\n", "\r", "\t", "\x1b[2J", "\\x1b", "\\", '"', "\u202e",
    "\u3164", "a\u0300\u0301\u0302", "\u4e2d\u6587", "\U0001f600", "\x7f", "\x85", "\u2028", "robot-7",
)  # fmt: skip


def contents(seed: int, count: int) -> list[str]:
    """Give texts that try to look like lines of ours."""
    chance = random.Random(seed)
    return ["".join(chance.choices(_PIECES, k=chance.randint(0, 12))) for _ in range(count)]


def check(texts: list[str], widths: list[int]) -> None:
    """Hold rows of these contents to the frame: none is too long, none of content is a row of ours."""
    lines = [frame.given(text) for text in texts]
    for width in widths:
        ours = set(frame.rows(OURS, width))
        for row in frame.rows(lines, width):
            assert re.fullmatch(r"[|:] [\x20-\x7e]*", row)
            assert len(row) <= width
            assert row not in ours


def test_no_content_looks_like_a_line_of_ours() -> None:
    """At 40 to 200 columns no row of content is one of ours, whatever stands in it."""
    check(contents(1, 500), [*range(40, 201, 7)])


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_no_content_looks_like_a_line_of_ours_in_ten_thousand() -> None:
    """The same for ten thousand contents at every third width from 40 to 200."""
    check(contents(2, 10_000), [*range(40, 201, 3)])


def test_rows_lose_nothing() -> None:
    """Without gutters and indents the rows of a line are the line, at every width."""
    for text in contents(3, 200):
        line = frame.given(text)
        for width in (40, 61, 80, 200):
            first, *more = frame.rows([line], width)
            assert first + "".join(row.removeprefix(frame.MORE) for row in more) == line


def test_texts_that_differ_are_written_differently() -> None:
    """A backslash that was typed and an escape of ours are two things; quotes end where the text does."""
    texts = {*contents(4, 2000), "\\x1b", "\x1b", "\\\\x1b", "\\u202e", "\u202e"}
    assert len({frame.given(text) for text in texts}) == len(texts)
    assert len({frame.quoted(text) for text in texts}) == len(texts)
    assert frame.given("\x1b[2J") == "| \\x1b[2J"


@pytest.mark.parametrize("text", ["| act", ": act", " act", "\tact", "act\n", "\u00e4"])
def test_a_line_of_ours_begins_as_no_content_does(text: str) -> None:
    """Whoever writes a line of ours that could be taken for content makes a mistake and hears of it."""
    with pytest.raises(ValueError, match="line of ours"):
        frame.said(text)
    with pytest.raises(ValueError, match="not printable"):
        list(frame.rows(["a\x1b"], 80))


def test_the_digest_is_of_lines_and_not_of_rows() -> None:
    """It does not depend on any width."""
    assert frame.digest(["a", "| b"]) == sha256_hex(b"a\n| b\n")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 seconds"), (1, "1 second"), (90, "1 minute 30 seconds"), (28800, "8 hours"), (86400, "1 day"),
        (108000, "1 day 6 hours"), (90061, "1 day 1 hour 1 minute 1 second"), (-5, "-5 seconds"),
    ],
)  # fmt: skip
def test_spans_are_said_exactly(seconds: int, said: str) -> None:
    """No second is lost in words."""
    assert span(seconds) == said


def test_moments() -> None:
    """A time is RFC 3339 in UTC; one beyond all calendars stays a number."""
    assert moment(1803772800) == "2027-02-28T00:00:00Z"
    assert moment(10**18) == "1000000000000000000"
