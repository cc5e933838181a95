"""Any BACKLOG.md gives items and problems with places in it; marks and new lines change nothing that stood there."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from support import hostile_backlog
from support.claims import LINE_END, problems_are_sound
from support.fuzzing import fuzz, no_hang

from coordinator.core.backlog import BacklogMap, MapEntry, carry, spec_of
from coordinator.core.policy import Lane, Policy
from coordinator.files import blocks, edit, emitter, guard, limits, loader, markdown, stamp

PATH = "BACKLOG.md"
#: Seconds of computing for a file with as many items as are allowed.
LONG_CPU_S = 5.0
POLICIES = st.sampled_from([Policy(), Policy(default_lane=Lane.READY)])


def items_are_sound(parsed: markdown.Parsed, data: bytes) -> None:
    """Fail unless items stand in the order of the file, each in one of its lines, and can be written and read back."""
    count = len(LINE_END.split(data.decode().removeprefix("\ufeff")))
    lines = [item.line for item in parsed.items]
    assert lines == sorted(set(lines))
    assert all(1 <= line <= count for line in (*lines, *(one.line for one in parsed.ignored)))
    for item in parsed.items:
        assert item.title.strip() == item.title != ""
        assert len(item.title) <= limits.TITLE_CHARS
        assert len(item.title.splitlines()) == 1
        if item.valid:
            spec = spec_of(item, MapEntry("t-1", "", "", Lane.READY, item.line))
            written = emitter.emit_spec(spec)
            assert loader.load_hub_task("tasks/backlog/t-1.yaml", written, "", where=spec.where) == spec


@fuzz("backlogs")
@given(hostile_backlog.files, POLICIES)
def test_any_backlog_is_items_and_mistakes_with_places_in_it(data, policy):
    with no_hang():
        parsed = markdown.read(data, policy)
    if isinstance(parsed, tuple):
        problems_are_sound(parsed, PATH, data)
        return
    if parsed.problems:
        problems_are_sound(parsed.problems, PATH, data)
    items_are_sound(parsed, data)
    assert all(item.valid for item in parsed.items) or parsed.problems, "what is not taken is said"


@pytest.mark.slow
@fuzz("long backlogs")
@given(hostile_backlog.repetitions)
@example((["a", "b", "> ## Ready"], "\n", 60_000))
@example((["- ghp_" + "a1B" * 15], "\n", 250_000))
def test_a_few_lines_over_and_over_cost_no_more_than_their_length(some):
    data = hostile_backlog.over_and_over(*some)
    with no_hang(LONG_CPU_S):
        parsed = markdown.read(data, Policy())
    if isinstance(parsed, markdown.Parsed):
        with no_hang():
            carried = carry(BacklogMap(), [parsed.items])
        with no_hang():
            carry(carried.map, [parsed.items[::-1], parsed.items[1:]])


@fuzz("quotes")
@given(hostile_backlog.quotes | hostile_backlog.texts)
def test_blocks_are_those_of_commonmark_however_quotes_end(text):
    with no_hang():
        found = blocks.tokens(text)
    standard = MarkdownIt("commonmark")
    standard.core.ruler.enableOnly(["normalize", "block"])
    assert found == standard.parse(text)


@fuzz("line ends")
@given(hostile_backlog.texts, st.sampled_from(["\r\n", "\r"]), st.booleans())
def test_line_ends_and_a_byte_order_mark_change_nothing(text, end, mark):
    data = text.replace("\r", "").encode("utf-8", "replace")
    other = (b"\xef\xbb\xbf" if mark else b"") + data.replace(b"\n", end.encode())
    assert markdown.read(other, Policy()) == markdown.read(data, Policy())


@fuzz("marks")
@given(hostile_backlog.files, st.integers(0, 255), st.sampled_from("x-"))
@example("\ufeff- [ ] Fix the login".encode(), 1, "x")
def test_marks_change_nothing_but_what_they_mark(data, some, box):
    parsed = markdown.read(data, Policy())
    if not isinstance(parsed, markdown.Parsed):
        return
    text = data.decode()
    chosen = [item for n, item in enumerate(parsed.items) if some >> (n % 8) & 1]
    names = {item.line: f"t-{n:08d}" for n, item in enumerate(chosen) if item.anchor is None}
    with no_hang():
        anchored = stamp.anchor(text, names, Policy())
    assert {*anchored.done, *anchored.left} == names.keys(), "each is marked or named"
    assert not {*anchored.done} & {*anchored.left}
    made = anchored.text
    for line in anchored.done:
        made = made.replace(f" <!-- {names[line]} -->", "", 1)
    assert made == text, "nothing but the marks was written"
    with no_hang():
        ticked = stamp.tick(anchored.text, {item.line: box for item in chosen}, Policy())
    after = markdown.read(ticked.text.encode(), Policy())
    assert [says(item) for item in after.items] == [says(item) for item in parsed.items]
    by_line = {item.line: item for item in after.items}
    assert all(by_line[line].anchor == names[line] for line in anchored.done)
    assert all(by_line[line].check == box for line in ticked.done)


def says(item):
    return item.line, item.title, item.description, item.lane, item.labels, item.acceptance, item.valid


@fuzz("anchors")
@given(hostile_backlog.files)
def test_anchors_give_every_line_the_task_that_it_was(data):
    parsed = markdown.read(data, Policy())
    if not isinstance(parsed, markdown.Parsed):
        return
    before = carry(BacklogMap(), [parsed.items])
    pairs = zip(before.items, before.map.entries, strict=True)
    names = {item.line: entry.id for item, entry in pairs if item.anchor is None}
    stamped = stamp.anchor(data.decode(), names, Policy())
    items = markdown.read(stamped.text.encode(), Policy()).items
    assert ids(carry(before.map, [items])) == ids(before), "for who knew the file"
    if not stamped.left:
        assert ids(carry(BacklogMap(), [items])) == ids(before), "and for who did not"


def ids(carried):
    return {item.line: entry.id for item, entry in zip(carried.items, carried.map.entries, strict=True)}


wanted = st.sampled_from(hostile_backlog.TITLES) | st.text(max_size=15) | hostile_backlog.titles


@fuzz("added lines")
@given(hostile_backlog.files, wanted, st.sampled_from([Lane.READY, Lane.DRAFT, Lane.DEFERRED]), POLICIES)
def test_a_line_is_added_whole_and_nothing_else_changes_or_it_is_refused_in_words(data, title, lane, policy):
    try:
        guard.decode(data, limits.BACKLOG_BYTES)
    except guard.Unreadable:
        return
    text = data.decode()
    try:
        with no_hang():
            added = edit.add_item(text, title, lane, policy)
    except edit.CannotAdd as error:
        assert str(error)
        return
    assert added.item.lane is lane and added.item.valid
    old, new = edit.LINE.findall(text), edit.LINE.findall(added.text)
    here = iter(new)
    assert all(line in here for line in old[:-1]), "all lines that stood there, in their order"
    assert not old or any(line.rstrip("\r\n") == old[-1].rstrip("\r\n") for line in here), "and the last one"
    assert title.strip() in new[added.item.line - 1]
    before = carry(BacklogMap(), [markdown.read(data, policy).items])
    after = carry(before.map, [markdown.read(added.text.encode(), policy).items])
    started = {entry.id for entry in before.map.entries if entry.started}
    assert started <= {entry.id for entry in after.map.entries}, "every task keeps its line"
