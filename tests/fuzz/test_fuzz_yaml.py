"""Any bytes in a YAML file give a value, or problems with places in that file; a change of a key changes only that."""

from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st
from support import hostile, strategies
from support.claims import problems_are_sound
from support.fuzzing import fuzz, no_hang

from coordinator.core.agent import AgentSpec
from coordinator.core.policy import Policy
from coordinator.core.task import Spec
from coordinator.files import emitter, guard, loader, taskfile
from coordinator.files.rewrite import CannotChange, change

TASK_PATH = "tasks/t-1.yaml"


@fuzz("task files")
@given(hostile.yaml_files("task"))
@example(b"[")
@example(b"title: x\rlabels: [a\r\r")
def test_any_task_file_is_a_task_or_a_list_of_mistakes_in_it(data):
    with no_hang():
        read = loader.load_task(TASK_PATH, data, "b10b")
    if isinstance(read, tuple):
        problems_are_sound(read, TASK_PATH, data)
        return
    assert isinstance(read, Spec)
    back = loader.load_task(TASK_PATH, emitter.emit_task(read), "b10b")
    assert back == read, "what was read can be written, and says the same"


@fuzz("agent files")
@given(hostile.yaml_files("agent"))
def test_any_agent_file_is_an_agent_or_a_list_of_mistakes_in_it(data):
    with no_hang():
        read = loader.load_agent("agents/loash.yaml", data, "b10b")
    if isinstance(read, tuple):
        problems_are_sound(read, "agents/loash.yaml", data)
    else:
        assert isinstance(read, AgentSpec)
        assert hash(read.id) and read == loader.load_agent("agents/loash.yaml", data, "b10b")


@fuzz("policy files")
@given(hostile.yaml_files("policy"))
@example(b"\xef\xbb\xbftimeouts:\r\x1f\r  lost_after: 120s\r")
@example(b"{\xc2\x85: [],\xc2\x85")
@example(b"root: no\rroot: sk-ant-a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1\r")
def test_any_policy_file_is_a_policy_or_a_list_of_mistakes_in_it(data):
    with no_hang():
        read = loader.load_policy("agentcom.yaml", data, "b10b")
    if isinstance(read, tuple):
        problems_are_sound(read, "agentcom.yaml", data)
    else:
        assert isinstance(read, Policy)
        assert read == loader.load_policy("agentcom.yaml", data, "b10b")


VALUES = {
    "title": strategies.texts,
    "description": strategies.texts,
    "hold": st.sampled_from([True, False, None]),
    "priority": st.sampled_from(["high", "low", "x", None]),
    "labels": st.sampled_from([("a",), ("a b", "c, d"), (), None]) | st.lists(strategies.words, max_size=2).map(tuple),
    "timeout": st.sampled_from(["30m", "0s", None]),
    "deadline": st.sampled_from(["2026-12-01", "x", None]),
    "rerun": st.sampled_from([1, 7, None]),
    "answer": st.builds(lambda text: {"generation": 1, "text": text}, strategies.texts) | st.none(),
    "acceptance": st.lists(strategies.texts, max_size=2),
}
changes = st.lists(
    st.sampled_from(sorted(VALUES)).flatmap(lambda key: VALUES[key].map(lambda value: (key, value))),
    min_size=1,
    max_size=2,
).map(dict)


@fuzz("task keys")
@given(hostile.yaml_files("task"), changes)
def test_a_changed_key_says_what_was_meant_and_the_others_what_they_said(data, values):
    before = loader.load_task(TASK_PATH, data, "")
    try:
        with no_hang():
            after = taskfile.changed(TASK_PATH, data, values)
    except taskfile.WrongFile as error:
        assert error.problems
        return
    except CannotChange as error:
        assert str(error)
        return
    with no_hang():
        read = loader.load_task(TASK_PATH, after, "")
        again = taskfile.changed(TASK_PATH, after, values)
    assert isinstance(read, Spec)
    assert again == after, "a key that says so already is not touched"
    if isinstance(before, Spec):
        fields = {"deadline": "deadline", "timeout": "timeout_s", "acceptance": "acceptance"}
        same = {fields.get(key, key): getattr(read, fields.get(key, key)) for key in values}
        assert replace(before, **same) == read
    untouched = [line for line in data.splitlines() if line.lstrip().startswith(b"x-")]
    assert all(line in after.splitlines() for line in untouched)


@fuzz("any keys")
@given(hostile.yaml_files("task"), changes)
def test_any_yaml_is_changed_or_left_alone_with_a_word(data, values):
    try:
        with no_hang():
            after = change(data, values)
    except (CannotChange, guard.Unreadable) as error:
        assert str(error)
        return
    before, now = guard.load(data), guard.load(after)
    kept = {key: plain(node) for key, node in (before or {}).items() if key not in values}
    assert {key: plain(node) for key, node in (now or {}).items() if key not in values} == kept


def plain(node):
    if isinstance(node, guard.Map):
        return {key: plain(value) for key, value in node.items()}
    return [plain(one) for one in node] if isinstance(node, guard.Seq) else (node.value, node.null)
