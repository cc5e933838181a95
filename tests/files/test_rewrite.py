"""Of a person's YAML only the keys that were asked for change; everything else stays byte for byte."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import strategies

from coordinator.files import emitter, guard
from coordinator.files.rewrite import CannotChange, Plain, change


def changed(before: str, **values) -> str:
    return change(before.encode(), values).decode()


OWN_WAYS = """\
# A person's file, with a style of its own.
---
title:    'Fix   it'          # aligned
metadata: { ticket: APP-7,  n: 012 }

description: >-
    folded, and indented
    by four
labels:
- b
- a

# about holding
hold: false     # true: wait
timeout: "30m"
"""


def test_a_value_changes_in_its_place_and_keeps_its_comment():
    assert changed(OWN_WAYS, hold=True) == OWN_WAYS.replace("hold: false     #", "hold: true      #")


def test_a_new_key_goes_below_the_last_one_and_nothing_else_moves():
    assert changed(OWN_WAYS, rerun=1) == OWN_WAYS + "rerun: 1\n"
    assert changed("title: x\n# the end\n...\n", rerun=1) == "title: x\nrerun: 1\n# the end\n...\n"


def test_quotes_that_were_there_stay_for_other_keys():
    assert "title:    'Fix   it'          # aligned\n" in changed(OWN_WAYS, timeout=Plain("2h"), labels=("z",))


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
def test_line_ends_are_those_of_the_file(end: str):
    before = end.join(["title: x", "hold: false # why", "# end", ""])
    after = change(before.encode(), {"hold": True, "description": "one\ntwo\n"}).decode()
    lines = ["title: x", "hold: true # why", "description: |", "  one", "  two", "# end", ""]
    assert after.replace("hold: true  #", "hold: true #") == end.join(lines)


def test_a_byte_order_mark_stays():
    assert changed("\ufefftitle: x\n", hold=True) == "\ufefftitle: x\nhold: true\n"


def test_a_file_without_a_last_line_end_is_not_glued():
    assert changed("title: x", hold=True) == "title: x\nhold: true\n"
    assert changed("hold: false\ntitle: x", title="z") == "hold: false\ntitle: z"


def test_a_key_that_is_taken_away_leaves_the_comments_around_it():
    assert changed("title: x\n# above\nhold: true\n# below\n", hold=False) == "title: x\n# above\n# below\n"
    assert changed("title: x\nlabels:\n  - a\n  - b\n\nhold: true\n", labels=None) == "title: x\n\nhold: true\n"


def test_a_key_with_a_comment_of_its_own_is_emptied_not_deleted():
    assert changed("title: x\nhold: true   # wait\n", hold=False) == "title: x\nhold: false  # wait\n"
    assert changed("title: x\nassignee: a   # only\n", assignee=None) == "title: x\nassignee:     # only\n"


def test_a_comment_inside_of_what_is_replaced_moves_above_it():
    assert changed("title: x\nlabels:\n  - a\n  - b # best\n", labels=("c",)) == "title: x\n# best\nlabels: [c]\n"
    assert "# why\n" in changed("title: x\ndescription: |  # why\n  text\n", description=None)


def test_what_only_looks_like_a_comment_is_text():
    assert changed("title: x\ndescription: |\n  a # b\n", description=None) == "title: x\n"
    assert changed("title: x\nassignee: 'a # b'\n", assignee=None) == "title: x\n"


def test_a_mapping_in_braces_stays_one():
    assert changed("--- {title: x, hold: true} # c\n", hold=None, rerun=2) == "--- {title: x, rerun: 2} # c\n"


def test_comments_in_braces_are_left_to_the_person():
    with pytest.raises(CannotChange, match="hold stands in braces with comments: edit it by hand"):
        changed("{title: x, # why\n hold: false}\n", hold=True)


def test_indented_and_explicit_keys_are_found():
    before = "  title: x\n  hold: true\n"
    assert changed(before, hold=None, description="a\nb\n") == "  title: x\n  description: |\n    a\n    b\n"
    assert changed("? title\n: x\n? hold\n: true\n", hold=None) == "? title\n: x\n"


def test_an_empty_file_gets_its_first_key():
    assert changed("# head\n", title="x", hold=None) == "# head\ntitle: x\n"


def test_words_that_some_reader_would_take_for_something_else_get_quotes():
    after = changed("", title="no", labels=("12", "null", "a, b"), description="a: b #c", deadline=Plain("2026-12-01"))
    assert 'title: "no"' in after
    assert "deadline: 2026-12-01\n" in after
    read = guard.load(after.encode())
    assert [node.value for node in read["labels"]] == ["12", "null", "a, b"]


def test_what_the_guard_refuses_is_not_touched():
    with pytest.raises(guard.Unreadable, match="anchor"):
        changed("title: &a x\n", hold=True)
    with pytest.raises(CannotChange, match="expected key: value lines"):
        changed("- a\n", hold=True)
    with pytest.raises(CannotChange, match="edit it by hand"):
        change(b"title: x\n", {"title": "\udcff"})


comments = st.sampled_from(["", "# one\n", "\n# two: [x]\n\n"])
values = st.one_of(
    st.booleans(), st.none(), strategies.texts, st.lists(strategies.words, max_size=3).map(tuple), strategies.counts
)


def plain(node):
    if isinstance(node, guard.Map):
        return {key: plain(value) for key, value in node.items()}
    return [plain(one) for one in node] if isinstance(node, guard.Seq) else (node.value, node.null)


@settings(max_examples=150, deadline=None)
@given(
    strategies.specs, st.lists(comments, min_size=1, max_size=4), st.sampled_from("title hold labels x".split()), values
)
def test_whatever_is_set_the_other_lines_stay_and_the_value_comes_back(spec, between, key, value):
    lines = emitter.emit_task(spec).decode().splitlines(keepends=True)
    tops = [number for number, line in enumerate(lines) if line[0] not in " \n:"]
    for count, number in enumerate(reversed(tops)):
        lines.insert(number, between[count % len(between)])
    before = "".join(lines)
    read = guard.load(before.encode())
    after = change(before.encode(), {key: value}).decode()
    now = guard.load(after.encode()) or {}  # without its only key a file is empty
    assert {k: plain(v) for k, v in now.items() if k != key} == {k: plain(v) for k, v in read.items() if k != key}
    assert comments_of(after) == comments_of(before)
    if isinstance(value, str):
        assert plain(now[key]) == (value, False)


def comments_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("#")]
