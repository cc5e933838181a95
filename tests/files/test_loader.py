"""One file becomes one value, or every mistake in it at once."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.core.agent import Role, Token
from coordinator.core.policy import DEFAULT_LANES, Lane, Policy, RepoTarget, Retries, Timeouts
from coordinator.core.task import Answer, Decision, Origin, Priority, Spec
from coordinator.files import convert, loader
from coordinator.files.problem import Problem


def said(result) -> list[str]:
    assert isinstance(result, tuple), result
    return [str(problem) for problem in result]


def task(text: str, path: str = "tasks/t-1.yaml"):
    return loader.load_task(path, text.encode(), "b10b")


def test_a_full_task_file_becomes_a_specification():
    spec = task("""\
title: Write the number 7 to test-output-7.txt
description: |
  Several
  lines.
priority: high
needed_capabilities: [python]
depends_on: [t-a1b2c3d4]
assignee: loash
max_retries: 1
timeout: 30m
deadline: 2026-12-01T12:00:00Z
not_before: 2026-11-30
review: required
hold: true
cancel: false
rerun: 1
answer: {generation: 2, text: no}
review_decision: {generation: 2, approve: true, note: fine}
repo: app
base: main
kind: note
labels: [one, two]
acceptance: [it works]
metadata: {ticket: 7, version: 1.10, flag: true, quoted: '7', none: ~}
x-anything: [1, two]
""")
    assert spec == Spec(
        id="t-1",
        title="Write the number 7 to test-output-7.txt",
        description="Several\nlines.\n",
        priority=Priority.HIGH,
        needed_capabilities=("python",),
        depends_on=("t-a1b2c3d4",),
        assignee="loash",
        max_retries=1,
        timeout_s=1800.0,
        deadline=1796126400000,
        not_before=1795996800000,
        review=True,
        hold=True,
        rerun=1,
        answer=Answer(2, "no"),
        decision=Decision(2, True, "fine"),
        repo="app",
        base="main",
        kind="note",
        labels=("one", "two"),
        acceptance=("it works",),
        metadata={"ticket": 7, "version": "1.10", "flag": True, "quoted": "7", "none": None},
        extra={"x-anything": [1, "two"]},
        origin=Origin.FILE,
        blob="b10b",
        where="tasks/t-1.yaml",
    )


def test_all_mistakes_of_a_file_are_reported_at_once_each_in_its_place():
    result = task("""\
titel: Hello
priority: hihg
timeout: 90
hold: yes
max_retries: many
needed_capabilities:
  - git
  - [python]
depends_on: t-2
deadline: 2026-12-01T12:00:00
answer: {generation: 1, txt: x}
repo: --upload-pack=x
""")
    assert said(result) == [
        "tasks/t-1.yaml:1:1: titel: unknown key, did you mean title?",
        "tasks/t-1.yaml:1:1: title: is missing, add title: ...",
        "tasks/t-1.yaml:2:11: priority: hihg is unknown, did you mean high?",
        "tasks/t-1.yaml:3:10: timeout: expected a duration, got 90, write 90s or 90m",
        "tasks/t-1.yaml:4:7: hold: expected true or false, got yes, write true",
        "tasks/t-1.yaml:5:14: max_retries: expected a whole number, got many, write a number from 0 to 100",
        'tasks/t-1.yaml:8:5: needed_capabilities[1]: expected a word, got a list, did you mean "- python"?',
        "tasks/t-1.yaml:9:13: depends_on: expected a list, got a word, write [t-2]",
        "tasks/t-1.yaml:10:11: deadline: 2026-12-01T12:00:00 has no time zone, write 2026-12-01T12:00:00Z for UTC",
        "tasks/t-1.yaml:11:9: answer.text: is missing, add text: ...",
        "tasks/t-1.yaml:11:25: answer.txt: unknown key, did you mean text?",
        "tasks/t-1.yaml:12:7: repo: --upload-pack=x is no name, write it without blanks and without a leading -",
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("title:", "1:7: title: has no value, write one after the colon, in quotes if it begins with #"),
        ("title: ''", "1:8: title: is empty, write in one line what is to be done"),
        ("title: [a]", "1:8: title: expected a title, got a list, write a without brackets or dash"),
        ("description: [a, b]", "2:14: description: expected a text, got a list, write a text"),
        ("priority: {a: b}", "2:11: priority: expected one of urgent, high, normal, low, got a mapping, "
         "write one of them"),
        ("priority: 1", "2:11: priority: 1 is unknown, write one of urgent, high, normal, low"),
        ("labels: web", "2:9: labels: expected a list, got a word, write [web]"),
        ("labels: '[web'", '2:9: labels: expected a list, got a word, write "- " before each entry'),
        ("labels: {web: 1}", '2:9: labels: expected a list, got a mapping, write "- " before each entry'),
        ("labels: [web, ~]", "2:15: labels[1]: expected a word, got nothing, write one, or delete the line"),
        ("labels: [web, ' ']", "2:15: labels[1]: expected a word, got an empty text, write one, or delete the line"),
        ("labels: [web, web]", "2:15: labels[1]: web stands twice, delete one"),
        ("labels: [[a, b]]", "2:10: labels[0]: expected a word, got a list, "
         'write each in a line of its own: "- a", "- b"'),
        ("labels: [[[a]]]", "2:10: labels[0]: expected a word, got a list, write one word for each entry"),
        ("labels: [python: 3]", '2:10: labels[0]: expected a word, got a mapping, put quotes around it: "python: 3"'),
        ("depends_on: [T-1]", "2:14: depends_on[0]: T-1 is no id, did you mean t-1?"),
        ("depends_on: [main]", "2:14: depends_on[0]: main is a reserved word and no id, "
         "write the id of a task or an agent"),
        ("assignee: ''", '2:11: assignee: "" is no id, write lower-case letters, digits and -, at most 64'),
        ("max_retries: 101", "2:14: max_retries: 101 is out of range, write a number from 0 to 100"),
        ("max_retries: 1.5", "2:14: max_retries: expected a whole number, got 1.5, write a number from 0 to 100"),
        ("max_retries: [1]", "2:14: max_retries: expected a whole number, got a list, "
         "write 1 without brackets or dash"),
        (f"max_retries: {'9' * 5000}", f"2:14: max_retries: {'9' * 57}... is out of range, "
         "write a number from 0 to 100"),
        ("timeout: 1h30m", "2:10: timeout: expected a duration, got 1h30m, did you mean 90m?"),
        ("timeout: 3 months", "2:10: timeout: expected a duration, got 3 months, "
         "write a number and s, m, h or d: 30m"),
        ("timeout: 400d", "2:10: timeout: 400d is out of range, write more than 0 and at most 366d"),
        ("timeout: {m: 3}", "2:10: timeout: expected a duration, got a mapping, write a duration"),
        ("deadline: [x]", "2:11: deadline: expected a time, got a list, write x without brackets or dash"),
        ("hold: [true]", "2:7: hold: expected true or false, got a list, write true without brackets or dash"),
        ("review: yes", "2:9: review: expected required or none, got yes, "
         "write review: required, or delete the line"),
        ("answer: yes", "2:9: answer: expected a mapping, got a word, write {generation: ..., text: ...}"),
        ("answer: {generation: 1, text: a, hold: true}", "2:34: answer.hold: unknown key, "
         "indent it less: it belongs to the top level"),
        ("approve: true", "2:1: approve: unknown key, did you mean review_decision?"),
        ("note: fine", "2:1: note: unknown key, write it below review_decision:, indented"),
        ("X_team: a", "2:1: X_team: unknown key, write x-team to keep it"),
        ("metadata: [a]", "2:11: metadata: expected a mapping, got a list, write key: value lines, indented"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_field_and_what_to_do(line, problem):
    text = line if line.startswith("title") else f"title: x\n{line}"
    assert said(task(text)) == [f"tasks/t-1.yaml:{problem}"]


def test_every_entry_that_stands_twice_is_named():
    assert said(task("title: x\nlabels:\n  - a\n  - b\n  - a\n  - b\n")) == [
        "tasks/t-1.yaml:5:5: labels[2]: a stands twice, delete one",
        "tasks/t-1.yaml:6:5: labels[3]: b stands twice, delete one",
    ]


def test_what_the_hub_wrote_may_say_a_word_twice():
    text = b"title: x\norigin: api\nlabels: [a, a]\nneeded_capabilities: [b, b]\ndepends_on: [c, c]\n"
    spec = loader.load_hub_task("tasks/api/t-1.yaml", text, "b")
    assert isinstance(spec, Spec) and spec.labels == ("a", "a")


@pytest.mark.parametrize(
    ("key", "meant"),
    [("needs", "needed_capabilities"), ("due", "deadline"), ("agent", "assignee"), ("depends-on", "depends_on")],
)
def test_an_unknown_key_gets_the_one_that_is_meant(key, meant):
    assert said(task(f"title: x\n{key}: y\n")) == [f"tasks/t-1.yaml:2:1: {key}: unknown key, did you mean {meant}?"]


def test_an_unknown_key_without_a_likeness_may_be_kept_with_x():
    assert said(task("title: x\nzzzz: y\n")) == ["tasks/t-1.yaml:2:1: zzzz: unknown key, write x-zzzz to keep it"]


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("tasks/T-1.yaml", "the file name is no id"),
        ("tasks/-a.yaml", "the file name is no id"),
        ("tasks/main.yaml", "the id main is reserved"),
        ("tasks/trunk.yaml", "the id trunk is reserved"),
    ],
)
def test_the_file_name_is_the_id_and_must_be_one(path, what):
    result = loader.load_task(path, b"title: x", "b", reserved=("trunk",))
    assert isinstance(result, tuple)
    assert [problem.what for problem in result] == [what]


def test_a_file_that_says_nothing_or_is_no_mapping_says_how_to_begin():
    assert said(task("# title: x\n")) == ["tasks/t-1.yaml: the file is empty, begin with title: ..."]
    assert said(task("- x\n")) == ["tasks/t-1.yaml:1:1: expected key: value lines, got a list, begin with title: ..."]
    assert said(task("a: [")) == [
        "tasks/t-1.yaml:1:5: not readable as YAML: did not find expected node content, "
        "close the bracket that is still open"
    ]
    assert said(task("title:x")) == [
        "tasks/t-1.yaml:1:1: expected key: value lines, got a word, write a blank after the colon: title: ..."
    ]


def test_a_title_has_one_line_of_at_most_300_characters():
    assert isinstance(task(f"title: {'x' * 300}"), Spec)
    assert "longer than 300 characters" in said(task(f"title: {'x' * 301}"))[0]
    assert "has several lines" in said(task('title: "a\\nb"'))[0]
    assert "is empty" in said(task('title: " "'))[0]


def test_an_agent_file_becomes_an_agent():
    agent = loader.load_agent(
        "agents/loash.yaml",
        b"name: Loash\ncapabilities: [python]\nrole: coordinator\nkind: person\ndisabled: true\nx-team: a\n"
        b"tokens:\n  - sha256: " + b"a" * 64 + b"\n    prefix: ac_12345\n    not_after: 2026-12-01\n",
        "b10b",
    )
    assert not isinstance(agent, tuple)
    assert (agent.id, agent.role, agent.kind, agent.disabled) == ("loash", Role.COORDINATOR, "person", True)
    assert agent.tokens == (Token("a" * 64, "ac_12345", 1796169599999),)
    assert agent.extra == {"x-team": "a"}


def test_an_admin_never_comes_from_the_repository():
    result = loader.load_agent("agents/eve.yaml", b"role: admin\ntokens: [{sha256: short}]\n", "b")
    assert said(result) == [
        "agents/eve.yaml:1:7: role: admin is unknown, write one of reader, agent, coordinator",
        "agents/eve.yaml:2:19: tokens[0].sha256: expected a SHA-256 in 64 lower-case hex digits, "
        "make the file with: agentcom agent add",
    ]


def test_a_policy_changes_only_what_it_names():
    policy = loader.load_policy(
        "agentcom.yaml",
        b"timeouts: {lost_after: 3s}\nretries: {max: 5}\nlanes: {Sprint: ready, Ready: in progress}\n"
        b"repos: {app: {url: 'https://example.org/app.git', base: main}}\nlimits: {total: 4, repo: {app: 1}}\n"
        b"default_lane: ready\nproposals: queue\nroot: .agentcom\n",
        "b10b",
    )
    assert isinstance(policy, Policy)
    assert policy.timeouts == Timeouts(lost_after=3.0)
    assert policy.retries == Retries(max=5)
    assert policy.lanes == {**DEFAULT_LANES, "sprint": Lane.READY, "ready": Lane.IN_PROGRESS}
    assert policy.repos == {"app": RepoTarget("https://example.org/app.git", "main")}
    assert (policy.limits.total, policy.limits.repo) == (4, {"app": 1})
    assert (policy.default_lane, policy.proposals, policy.root, policy.blob) == (
        Lane.READY,
        "queue",
        ".agentcom",
        "b10b",
    )


def test_an_empty_policy_means_the_defaults():
    assert loader.load_policy("agentcom.yaml", b"# nothing\n", "b") == Policy(blob="b")


def test_mistakes_deep_in_a_policy_are_found():
    result = loader.load_policy("agentcom.yaml", b"timeouts: {lost: 3s}\nrepos: {app: {uri: x}}\nroot: ../x\n", "b")
    assert said(result) == [
        "agentcom.yaml:1:12: timeouts.lost: unknown key, did you mean lost_after?",
        "agentcom.yaml:2:14: repos.app.url: is missing, add url: ...",
        "agentcom.yaml:2:15: repos.app.uri: unknown key, did you mean url?",
        "agentcom.yaml:3:7: root: ../x is no folder of the repository, write a relative path such as .agentcom",
    ]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("1.5h", 5400), ("2d", 172800), ("0.1s", 0.1), ("366d", 31622400)]
)
def test_durations_are_a_number_and_a_unit(text, seconds):
    assert convert.parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0s", "-1s", "1 m", "1w", "m", "1e3s", "367d", "9" * 30 + "s"])
def test_other_durations_are_refused(text):
    with pytest.raises(convert.PydanticCustomError):
        convert.parse_duration(text)


@settings(max_examples=60, deadline=None)
@given(st.floats(min_value=1e-9, max_value=1e6))
def test_durations_are_written_as_they_are_read(seconds):
    assert convert.parse_duration(convert.write_duration(seconds)) == seconds


@settings(max_examples=60, deadline=None)
@given(st.integers(min_value=0, max_value=253402300799999))
def test_times_are_written_as_they_are_read(ms):
    assert convert.parse_time(convert.write_time(ms)) == ms


def test_times_are_rfc_3339_with_a_zone():
    assert convert.parse_time("2026-12-01T12:00:00+02:00") == convert.parse_time("2026-12-01T10:00:00Z")
    assert convert.parse_time("2026-12-01t10:00:00.5z") == 1796119200500
    assert convert.parse_time("2026-12-01", end_of_day=True) == convert.parse_time("2026-12-02") - 1
    for wrong in ("2026-13-01", "2026-12-01T25:00:00Z", "tomorrow", "1969-01-01", "2026-12-01T10:00Z", "9999-99-99"):
        with pytest.raises(convert.PydanticCustomError):
            convert.parse_time(wrong)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["title", "answer", "labels", "metadata", "timeout", "hold", "zz"]),
        st.text(" []{}:-a1'\n~", max_size=9),
    )
)
def test_any_file_gives_a_value_or_problems_with_words(fields):
    result = task("\n".join(f"{key}: {value}" for key, value in fields.items()))
    if isinstance(result, tuple):
        assert result
        assert all(isinstance(problem, Problem) and problem.what for problem in result)


def test_a_problem_leaves_out_what_it_does_not_know():
    assert str(Problem("a.yaml", what="is wrong")) == "a.yaml: is wrong"
    assert str(Problem("a.yaml", 3, 0, "title", "is wrong", "mend it")) == "a.yaml:3: title: is wrong, mend it"
