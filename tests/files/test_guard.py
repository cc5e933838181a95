"""Hostile YAML never reaches the process; honest YAML keeps its words and places."""

import subprocess
import sys

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from coordinator.files import guard, limits
from coordinator.files.guard import Map, Scalar, Seq, Unreadable

both_parsers = pytest.mark.parametrize(
    "fast", [pytest.param(True, marks=pytest.mark.skipif(not guard.FAST, reason="no libyaml")), False]
)


def refusal(data: bytes, fast: bool = guard.FAST) -> tuple[int, int, str]:
    with pytest.raises(Unreadable) as caught:
        guard.load(data, fast=fast)
    assert caught.value.hint
    return caught.value.line, caught.value.column, caught.value.what


def test_sixty_kilobytes_of_brackets_do_not_kill_the_process():
    code = (
        "from coordinator.files import guard\n"
        "for data in (b'[' * 60000, b'[' * 60000 + b']' * 60000, b'{a: ' * 15000, b'- ' * 30000, b'? ' * 30000):\n"
        "    try: guard.load(data)\n"
        "    except guard.Unreadable as error: print(error.what)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("nested deeper than 16 levels") == 4
    assert run.stdout.count("a key must be one word") == 1


@both_parsers
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a: &x 1\nb: 2", (1, 4, "the anchor &x")),
        (b"a: 1\nb: *x", (2, 4, "the alias *x")),
        (b"a: !!python/object:os.system 1", (1, 4, "the tag tag:yaml.org,2002:python/object:os.system")),
        (b"a: ! x", (1, 4, "the tag !")),
        (b"a: 1\nb: 2\na: 3", (3, 1, "the key a stands twice")),
        (b"<<: {a: 1}", (1, 1, "the merge key <<")),
        (b"a: 1\n---\nb: 2", (2, 1, "a second document")),
        (b"? [a]\n: 1", (1, 3, "a key must be one word")),
        (b"'': 1", (1, 1, "an empty key")),
        (b'"a\\nb": 1\n"a\\nb": 2', (2, 1, "the key a b stands twice")),
        (b"a: \x00", (1, 4, "control character U+0000")),
        (b"a: 1\nb: \xff", (2, 4, "the file is not UTF-8")),
        (b"a: 1\rb: 2\r\nc: \x00", (3, 4, "control character U+0000")),
        (b"a: 1\rb: \xff", (2, 4, "the file is not UTF-8")),
        (b"%TAG ! tag:x,1:\n--- a", (1, 1, "a %TAG line")),
    ],
)
def test_what_is_refused_is_named_with_its_place(data, expected, fast):
    assert refusal(data, fast) == expected


@both_parsers
@pytest.mark.parametrize(
    ("data", "place", "hint"),
    [
        (b"title: a: b", (1, 9), "put quotes around a text that contains a colon, or check the indentation"),
        (b"a: 1\nb: 'x\n", (2, 4), "close the quote that is opened here"),
        (b"a: 1\nb: [x\n", (2, 4), "close the bracket that is opened here, or put quotes around the text"),
        (b"a: 1\nb: [\n\n", (2, 5), "close the bracket that is still open"),
        (b"a: 1\nbb\nc: 2\n", (2, 1), "write key: value here, or indent it as part of the text above"),
        (b"a: 1\n\tb: 2\n", (2, 1), "indent with spaces, not tabs"),
        (b"a: @x", (1, 4), "put quotes around a text that begins with @"),
        (b"a: `x`", (1, 4), "put quotes around a text that begins with `"),
        (b"```yaml\na: 1\n```\n", (1, 1), "delete the line ```: the file holds nothing but YAML"),
        (b"a: 'it's'", (1, 8), "put quotes around the whole text; '' is an apostrophe inside single quotes"),
        (b"a: [b]]", (1, 7), "delete the bracket, or put quotes around the text"),
        (rb'a: "\q"', None, "write \\\\ for a backslash, or use single quotes"),
        (b"a: > x", None, "begin the text in the next line, or put quotes around it"),
        (b"a: - b", (1, 4), "begin the list in the next line, or put quotes around the text"),
        (
            b"a: 1\n<<<<<<< HEAD\nb: 2\n=======\nc: 3\n>>>>>>> main\n",
            (2, 1),
            "keep what is right and delete the lines <<<<<<<, ======= and >>>>>>>",
        ),
    ],
)
def test_a_mistake_of_syntax_says_where_to_look_and_what_helps(data, place, hint, fast):
    with pytest.raises(Unreadable) as caught:
        guard.load(data, fast=fast)
    assert caught.value.hint == hint
    assert place is None or (caught.value.line, caught.value.column) == place


def test_a_merge_bomb_is_refused_at_its_first_anchor():
    bomb = b"a: &a {x: 1}\n" + b"".join(
        b"%c: &%c {<<: [*%c,*%c,*%c]}\n" % (c, c, c - 1, c - 1, c - 1) for c in b"bcdefghij"
    )
    assert refusal(bomb) == (1, 4, "the anchor &a")


def test_files_over_the_limits_are_refused():
    assert "at most 262,144 are read" in refusal(b"a: " + b"x" * limits.YAML_BYTES)[2]
    assert refusal(b"[" + b"a," * 5000 + b"]")[2] == "more than 5,000 parts"
    assert refusal(b"[" * 17 + b"]" * 17) == (1, 17, "nested deeper than 16 levels")
    assert guard.load(b"[" * 16 + b"]" * 16) is not None


@both_parsers
def test_words_stay_as_they_were_written(fast):
    root = guard.load(b"a: no\nb: '012'\nc: [12:30, ~]\nd:\ne: |\n  x\n", fast=fast)
    assert isinstance(root, Map)
    assert isinstance(root["a"], Scalar) and (root["a"].value, root["a"].plain) == ("no", True)
    assert isinstance(root["b"], Scalar) and (root["b"].value, root["b"].plain) == ("012", False)
    assert isinstance(root["c"], Seq) and [node.value for node in root["c"]] == ["12:30", "~"]
    assert isinstance(root["d"], Scalar) and root["d"].null
    assert isinstance(root["e"], Scalar) and root["e"].value == "x\n"
    assert (root["c"].line, root["c"].column, root.marks["c"]) == (3, 4, (3, 1))


def test_a_byte_order_mark_and_windows_line_ends_are_read():
    root = guard.load(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    assert isinstance(root, Map) and list(root) == ["a", "b"]


def test_a_file_that_says_nothing_is_none():
    assert guard.load(b"") is None
    assert guard.load(b"# only a comment\n") is None


def plain(node):
    match node:
        case Map():
            return {key: plain(value) for key, value in node.items()}
        case Seq():
            return [plain(value) for value in node]
        case Scalar():
            return node.value


values = st.recursive(
    st.text(max_size=8),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(min_size=1, max_size=5), v, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(values)
def test_words_are_those_that_pyyaml_reads(value):
    text = yaml.safe_dump(value, allow_unicode=True)
    assume(not set("\x85\u2028\u2029") & set(text))  # line ends in YAML 1.1 only
    assert plain(guard.load(text.encode())) == yaml.load(text, yaml.BaseLoader)  # noqa: S506 - it builds text only


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60) | st.text("[]{}:-?!&*|>'\"% \n\tab#,~<", max_size=40).map(str.encode))
def test_any_bytes_are_read_or_refused_in_words(data):
    try:
        guard.load(data)
    except Unreadable as error:
        assert error.what


@both_parsers
@pytest.mark.parametrize("odd", ["\x85", "\u2028", "\u2029"])
def test_lines_are_counted_as_editors_do(odd, fast):
    root = guard.load(f"# a{odd}b\ntitle: x{odd}y\r\nfoo: 1\n".encode(), fast=fast)
    assert root["title"].value == f"x{odd}y"
    assert (root.marks["title"], root.marks["foo"]) == ((2, 1), (3, 1))
    assert refusal(f"# a{odd}b\na: b: c\n".encode(), fast)[:2] == (2, 5)


@both_parsers
def test_an_escape_for_half_a_character_is_refused(fast):
    assert refusal(b'a: "\\ud800"\n', fast)[0] == 1
