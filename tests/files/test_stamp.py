"""Anchors and ticks change only the bytes of a mark, and never what a line says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.policy import Lane, Policy
from coordinator.files import markdown, stamp

P = Policy()


def test_an_anchor_stands_behind_the_line_and_nothing_else_changes() -> None:
    text = "# B\r\n\r\n## Ready\r\n\r\n* one #x\r\n  more of it\r\n\r\n1. two\r\n"
    made = stamp.anchor(text, {5: "t-aaaaaaaa", 8: "t-bbbbbbbb"}, P)
    assert made.text == text.replace("one #x", "one #x <!-- t-aaaaaaaa -->").replace(
        "1. two", "1. two <!-- t-bbbbbbbb -->"
    )
    assert (made.done, made.left) == ((5, 8), ())


def test_a_byte_order_mark_stays_and_hides_no_line() -> None:
    made = stamp.anchor("\ufeff- one\n- two\n", {1: "t-aaaaaaaa"}, Policy(default_lane=Lane.READY))
    assert made.text == "\ufeff- one <!-- t-aaaaaaaa -->\n- two\n"
    ticked = stamp.tick("\ufeff## Ready\n- one\n", {2: "x"}, P)
    assert ticked.text == "\ufeff## Ready\n- [x] one\n"


@pytest.mark.parametrize("end", ["  ", "\\", "\t"])
def test_a_line_break_that_markdown_sees_stays_at_the_end_of_the_line(end: str) -> None:
    made = stamp.anchor(f"## Ready\n- one{end}\n  more\n", {2: "t-aaaaaaaa"}, P)
    assert made.text == f"## Ready\n- one <!-- t-aaaaaaaa -->{end}\n  more\n"


@pytest.mark.parametrize(
    ("line", "mark", "ticked"),
    [
        ("- [ ] one", "x", "- [x] one"),
        ("- [/] one", "x", "- [x] one"),
        ("+ one", "x", "+ [x] one"),
        ("12) **one** - two", "-", "12) [-] **one** - two"),
    ],
)
def test_a_tick_goes_into_the_box_or_makes_one(line: str, mark: str, ticked: str) -> None:
    assert stamp.tick(f"## Ready\n{line}\n", {2: mark}, P).text == f"## Ready\n{ticked}\n"


def test_a_line_that_a_mark_would_change_is_left_alone_and_named() -> None:
    text = "## Ready\n- one <!-- an open comment\n  that goes on -->\n- two\n"
    made = stamp.anchor(text, {2: "t-aaaaaaaa", 4: "t-bbbbbbbb"}, P)
    assert made.left == (2,)
    assert made.done == (4,)
    assert made.text.startswith("## Ready\n- one <!-- an open comment\n")


words = st.text(st.sampled_from("ab #!*_`[]()<>-\\ \t:x@"), max_size=20)


@given(st.lists(words, min_size=1, max_size=6), st.sampled_from(["\n", "\r\n"]), st.sampled_from("x-"))
def test_whatever_is_marked_says_the_same_as_before(lines: list[str], newline: str, mark: str) -> None:
    text = newline.join(["## Ready", *(f"- a{line}" for line in lines), ""])
    items = markdown.parse(text, P).items
    anchored = stamp.anchor(text, {item.line: f"t-{n:08d}" for n, item in enumerate(items) if not item.anchor}, P)
    ticked = stamp.tick(anchored.text, {item.line: mark for item in items}, P)
    after = markdown.parse(ticked.text, P).items
    assert [(item.title, item.description, item.labels) for item in after] == [
        (item.title, item.description, item.labels) for item in items
    ]
