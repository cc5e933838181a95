"""Backlogs as people write them become items with their lines, and nothing else does."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.core.backlog import CANCELLED, DONE, NO_CHECK, OPEN, MapEntry, spec_of
from coordinator.core.policy import DEFAULT_LANES, Lane, Policy
from coordinator.core.task import Priority
from coordinator.files import emitter, limits, loader, markdown
from coordinator.files.markdown import read


def parse(text: str, **policy):
    return markdown.parse(text, Policy(**policy))


def one(text: str):
    """Return the one item that a text under Ready gives, and what was said about it."""
    parsed = parse("## Ready\n" + text)
    assert len(parsed.items) == 1, parsed.items
    return parsed.items[0], [str(problem) for problem in parsed.problems]


def test_the_item_of_the_design_is_read_whole():
    item, problems = one(
        "- [ ] (A) **Title** - description #label !high @agent-1 needs:python,review depends:t-a1b2c3d4 repo:app"
        " base:main kind:note due:2026-12-01 timeout:30m review:required <!-- t-k3m9q2xa -->\n"
    )
    assert problems == []
    assert (item.title, item.description, item.line, item.heading) == ("Title", "description", 2, "Ready")
    assert (item.check, item.anchor, item.lane) == (OPEN, "t-k3m9q2xa", Lane.READY)
    assert (item.priority, item.labels, item.assignee) == (Priority.HIGH, ("label",), "agent-1")
    assert (item.needs, item.depends) == (("python", "review"), ("t-a1b2c3d4",))
    assert (item.repo, item.base, item.kind, item.review) == ("app", "main", "note", True)
    assert (item.due, item.timeout_s) == (1796169599999, 1800.0)


@pytest.mark.parametrize("dash", ["-", "–", "—", ":"])
def test_a_bold_start_is_the_title_and_a_dash_begins_the_description(dash):
    item, _ = one(f"- **Write docs** {dash} for people\n  who read\n")
    assert (item.title, item.description) == ("Write docs", "for people\nwho read")


@pytest.mark.parametrize("bullet", ["-", "*", "+", "1.", "2)", "- [ ]", "* [ ]", "1. [ ]"])
def test_every_kind_of_list_item_counts_in_a_lane(bullet):
    item, _ = one(f"{bullet} One sentence is fine\n")
    assert item.title == "One sentence is fine"


@pytest.mark.parametrize(
    ("mark", "check"),
    [
        ("", NO_CHECK),
        ("[ ] ", OPEN),
        ("[/] ", OPEN),
        ("[x] ", DONE),
        ("[X] ", DONE),
        ("[-] ", CANCELLED),
        ("✅ ", DONE),
        ("☑️ ", DONE),
    ],
)
def test_check_marks_and_the_emoji_for_them_are_read(mark, check):
    item, _ = one(f"- {mark}Title\n")
    assert (item.title, item.check) == ("Title", check)


@pytest.mark.parametrize(
    ("words", "priority"),
    [
        ("(A) x", 0),
        ("(B) x", 1),
        ("(C) x", 2),
        ("(D) x", 3),
        ("P0 x", 0),
        ("x P3", 3),
        ("x !urgent", 0),
        ("!low x", 3),
        ("x", 2),
    ],
)
def test_priorities_have_three_spellings(words, priority):
    item, _ = one(f"- {words}\n")
    assert (item.title, item.priority) == ("x", Priority(priority))


def test_what_stands_below_an_item_is_description_and_nested_boxes_are_acceptance():
    item, _ = one("""\
- **Title** - start
  - Branch: x
    - deeper
  - [ ] has a picture
    and more
  - [x] has text <!-- note -->

  A paragraph.

  ```sh
  - [ ] not an item
  ```
""")
    assert item.acceptance == ("has a picture\nand more", "has text")
    assert item.description == ("start\n\n- Branch: x\n  - deeper\n\nA paragraph.\n\n```sh\n- [ ] not an item\n```")


def test_code_comments_quotes_and_tables_are_never_items():
    parsed = parse("""\
## Ready
```
- [ ] fenced
```
<!--
- [ ] commented
-->
> - [ ] quoted

| a |
|---|
| - [ ] cell |

    - [ ] indented code

- real
""")
    assert [(item.title, item.line) for item in parsed.items] == [("real", 16)]


def test_outside_the_lanes_only_boxes_count_and_only_as_drafts():
    parsed = parse("Intro\n- how\n- [ ] early\n\n# How to use\n- read this\n- [ ] but do this\n\n## Ready\n- go\n")
    assert [(item.title, item.lane) for item in parsed.items] == [
        ("early", Lane.DRAFT),
        ("but do this", Lane.DRAFT),
        ("go", Lane.READY),
    ]


def test_a_sub_heading_stays_in_the_lane_above_it_until_the_next_section():
    parsed = parse("## Ready\n### Backend\n- a\n### Someday\n- b\n## Notes\n- c\n## Ready\n- d\n")
    assert [(item.title, item.heading, item.lane) for item in parsed.items] == [
        ("a", "Backend", Lane.READY),
        ("b", "Someday", Lane.DEFERRED),
        ("d", "Ready", Lane.READY),
    ]


@pytest.mark.parametrize(
    ("heading", "lane"),
    [
        ("## Inbox", Lane.DRAFT),
        ("# TO  DO ##", Lane.READY),
        ("Next\n----", Lane.READY),
        ("## 🚀 Ready:", Lane.READY),
        ("## In-Progress", Lane.IN_PROGRESS),
        ("## Icebox", Lane.DEFERRED),
        ("## **Done**", Lane.DONE),
        ("## Sprint", Lane.READY),
    ],
)
def test_headings_name_lanes_in_the_ways_people_write_them(heading, lane):
    parsed = parse(f"{heading}\n\n- x\n", lanes={**DEFAULT_LANES, "sprint": Lane.READY})
    assert [item.lane for item in parsed.items] == [lane]


def test_a_file_without_headings_is_draft_unless_the_policy_says_ready():
    assert [item.lane for item in parse("- x\n").items] == [Lane.DRAFT]
    assert [item.lane for item in parse("- x\n", default_lane=Lane.READY).items] == [Lane.READY]


def test_words_in_prose_code_and_links_mean_nothing():
    item, problems = one(
        "- Ask @bob about C# and #42, see `!low needs:x` and [it](http://a/#b) at 12:30 http://x.org/a\n"
    )
    assert problems == []
    assert item.title == "Ask @bob about C# and #42, see `!low needs:x` and [it](http://a/#b) at 12:30 http://x.org/a"
    assert (item.assignee, item.labels, item.needs, item.priority) == (None, (), (), Priority.NORMAL)


def test_a_wrong_value_makes_the_item_invalid_and_says_where():
    item, problems = one("- [ ] Title due:tomorrow depends:T-1\n")
    assert not item.valid
    assert problems == [
        "BACKLOG.md:2:13: due: expected a time, got tomorrow, write 2026-12-01 or 2026-12-01T12:00:00Z",
        "BACKLOG.md:2:26: depends: T-1 is no id, did you mean t-1?",
    ]


def test_a_misspelt_word_is_kept_as_text_and_reported():
    item, problems = one("- Title need:python\n")
    assert item.valid and item.title == "Title need:python"
    assert problems == ["BACKLOG.md:2:9: need:python: unknown word, kept as text, did you mean needs?"]


def test_a_wrapped_title_is_one_line_and_labels_end_it():
    assert one("- One sentence\n  over two lines\n")[0].title == "One sentence over two lines"
    item, _ = one("- Title #label\n  and its description\n")
    assert (item.title, item.labels, item.description) == ("Title", ("label",), "and its description")


def test_a_long_title_is_cut_at_a_word_and_stands_whole_in_the_description():
    item, _ = one("- " + "word " * 80 + "\n\n  more\n")
    assert len(item.title) <= 300 and item.title.endswith("word…")
    assert item.description == ("word " * 80).strip() + "\n\nmore"
    assert len(one("- " + "x" * 400)[0].title) == 300


def test_an_anchor_may_stand_in_the_line_below():
    assert one("- Title\n\n  <!-- t-12345678 -->\n")[0].anchor == "t-12345678"
    assert one("- Title <!-- todo -->\n")[0].anchor is None


def test_windows_line_ends_and_a_byte_order_mark_change_nothing():
    text = "## Ready\n- [ ] **A** - b\n  - c\n"
    plain = markdown.read(text.encode(), Policy())
    assert markdown.read(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode(), Policy()) == plain


def test_a_tick_changes_nothing_but_the_check_mark():
    from dataclasses import replace

    open_item, ticked = one("- [ ] **A** - b\n  - c\n")[0], one("- [x] **A** - b\n  - c\n")[0]
    assert replace(ticked, check=OPEN) == open_item


def test_a_file_too_large_or_not_utf8_is_a_problem_and_not_an_empty_backlog():
    for data, what in (
        (b"- \xff", "not UTF-8"),
        (b"x" * (2 << 20) + b"x", "at most 2,097,152"),
        (b"- a\n" * 20_001, "more than 20,000"),
    ):
        result = markdown.read(data, Policy())
        assert isinstance(result, tuple)
        assert what in str(result[0])


written = st.text("-*+[]x() #!@:`<>|~\n\t ab1*_", max_size=80) | st.text(max_size=60)


@settings(max_examples=80, deadline=None)
@given(written)
def test_the_hub_can_read_back_what_it_writes_of_any_item(text):
    for item in parse("## Ready\n" + text).items:
        if not item.valid:
            continue
        spec = spec_of(item, MapEntry("t-1", "", "", Lane.READY, item.line))
        back = loader.load_hub_task("tasks/backlog/t-1.yaml", emitter.emit_spec(spec), "", where=spec.where)
        assert back == spec


def test_the_hub_can_read_back_an_item_of_unusual_size():
    labels = " ".join(f"#l{number}" for number in range(800))
    item, _ = one(f"- Title {labels} #{'x' * 300}\n" + "  - [ ] criterion\n" * 2000)
    spec = spec_of(item, MapEntry("t-1", "", "", Lane.READY, item.line))
    assert len(spec.acceptance) == 2000
    assert loader.load_hub_task("tasks/backlog/t-1.yaml", emitter.emit_spec(spec), "", where=spec.where) == spec


@settings(max_examples=80, deadline=None)
@given(written)
def test_any_text_gives_items_with_titles_of_at_most_300_characters(text):
    for item in parse("## Ready\n" + text).items:
        assert item.title
        assert "\n" not in item.title
        assert len(item.title) <= 300
        assert 1 <= item.line <= text.count("\n") + text.count("\r") + 2


HOSTILE = ["[" * 4090, "[](a" * 1020, "a" + " " * 4080 + "b", "`" * 4090, "<" * 4090, 'a:"' * 1360, "x due:x" * 580]


@pytest.mark.slow
@pytest.mark.parametrize("line", HOSTILE, ids=lambda line: line[:6])
def test_a_file_within_the_limits_is_read_in_one_pass_however_it_is_written(line):
    parsed = read(("## Ready\n" + f"- a {line}\n" * 500).encode()[: limits.BACKLOG_BYTES], Policy())
    assert len(parsed.items) > 400


def test_long_headings_and_indentation_are_read_in_one_pass():
    text = "## " + "!" * 900_000 + "a!\n\n## Ready\n- a\n\n  " + "\t" * 900_000 + "x\n"
    (item,) = read(text.encode(), Policy()).items
    assert item.lane is Lane.READY and not item.valid


@pytest.mark.parametrize(
    ("line", "columns"),
    [
        ("- [ ] see overdue:x then due:x\n", [26]),
        ("- [ ] `due:x` is bad due:x\n", [22]),
        ("- [ ] <!-- due:x --> a due:x\n", [24]),
        ("- [ ] a [due:x](due:x) due:x b due:x\n", [24, 32]),
    ],
)
def test_a_wrong_word_is_shown_where_it_counts(line, columns):
    problems = parse("## Ready\n" + line).problems
    assert [(problem.line, problem.column) for problem in problems] == [(2, column) for column in columns]


def test_acceptance_criteria_count_towards_the_length_of_a_description():
    criterion = "  - [ ] " + "x" * 1000 + "\n"
    item, problems = one("- a\n" + criterion * 140)
    assert not item.valid
    assert problems[0].startswith("BACKLOG.md:2:1: description: longer than")


def test_code_ends_at_a_run_of_as_many_backticks():
    item, _ = one("- ``#a ` #b`` and `#c` #d\n")
    assert item.labels == ("d",)


def test_a_key_that_nobody_knows_is_kept_as_text_and_reported_where_it_stands_among_words_that_mean_something():
    item, problems = one("- [ ] Fix it estimate:3h #web !high\n")
    assert (item.title, item.labels, item.priority) == ("Fix it estimate:3h", ("web",), Priority.HIGH)
    assert problems == [
        "BACKLOG.md:2:14: estimate:3h: unknown word, kept as text, "
        "known are needs:, depends:, repo:, base:, kind:, due:, timeout:, review:"
    ]


@pytest.mark.parametrize("title", ["Upgrade to node:20", "Call foo::bar", "See https://x.example/a:b", "Meet at 10:30"])
def test_a_colon_in_plain_words_is_no_key(title):
    item, problems = one(f"- [ ] {title}\n")
    assert (item.title, problems) == (title, [])


def test_a_comment_in_a_heading_or_before_an_item_takes_nothing_away():
    parsed = parse("## Ready <!-- agents take from here -->\n- one\n- <!-- t-lead1234 --> two\n- <b>html</b>\n")
    assert [(item.title, item.anchor) for item in parsed.items] == [
        ("one", None),
        ("two", "t-lead1234"),
        ("<b>html</b>", None),
    ]


@pytest.mark.parametrize(
    ("line", "title", "description"),
    [
        ("***Both*** - x", "Both", "x"),
        ("P0 - fix the crash", "fix the crash", ""),
        ("(A) **Fix** - it", "Fix", "it"),
        ("**添加暗色模式**：用户需要它", "添加暗色模式", "用户需要它"),
    ],
)
def test_titles_end_where_people_mean_them_to(line, title, description):
    item, _ = one(f"- {line}\n")
    assert (item.title, item.description) == (title, description)


@pytest.mark.parametrize("title", ["\u200b", "**\u200b**", "\u2060 \u200d"])
def test_what_nobody_can_see_is_no_title(title):
    parsed = parse(f"## Ready\n- {title}\n")
    assert parsed.items == ()
    assert [one.why for one in parsed.ignored] == ["it has no title"]


def test_the_settings_of_an_editor_at_the_top_are_no_heading():
    text = "---\nkanban-plugin: basic\ntags: [a]\n---\n\n- one\n"
    (item,) = parse(text, default_lane=Lane.READY).items
    assert (item.title, item.line, item.lane) == ("one", 6, Lane.READY)
    assert [item.title for item in parse("---\n\ntext\n\n---\n\n## Ready\n- two\n").items] == ["two"]
