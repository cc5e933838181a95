"""Whatever an agent writes as JSON, every reader takes what comes out of ``plain``."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.wire import frames, plain

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(exclude_categories=())), inner),
    max_leaves=12,
)


@given(anything)
def test_what_is_plain_is_utf_8_and_strict_json_and_stays_as_it_is(value):
    made = plain.plain(value)
    text = json.dumps(made, ensure_ascii=False, allow_nan=False)
    assert json.loads(text.encode()) == made
    assert plain.plain(made) == made


@given(st.dictionaries(st.text(max_size=5), anything, max_size=3))
def test_a_plain_result_crosses_the_wire_unchanged(result):
    frame = frames.TaskComplete(task_id="t-1", generation=1, result=plain.plain(result))
    assert frames.to_hub.validate_json(frame.encode()).result == frame.result


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'"\ud83d"', "\ufffd"),
        (r'"\ud83d\ude00"', "\U0001f600"),
        ("[1e999, NaN, -Infinity]", [None, None, None]),
        ("1" + "0" * 30, "1" + "0" * 30),
        ("true", True),
    ],
)
def test_what_json_or_unicode_do_not_have_is_replaced(text, value):
    assert plain.read(text) == value


def test_what_is_nested_too_deep_is_cut_where_it_gets_too_deep():
    deep = plain.read("[" * 300 + "]" * 300)
    for _ in range(plain.MAX_DEPTH):
        (deep,) = deep
    assert deep == plain.TOO_DEEP


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 5_000, "{", b"\xff"])
def test_what_cannot_be_read_is_a_value_error_and_nothing_else(text):
    with pytest.raises(ValueError):
        plain.read(text)
