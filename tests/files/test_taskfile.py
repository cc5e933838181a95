"""A person's task file is written so that the hub reads just what was meant, or it is not written at all."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from support import strategies

from coordinator.core.task import Origin
from coordinator.files import limits, loader
from coordinator.files.rewrite import CannotChange
from coordinator.files.taskfile import NotMeant, WrongFile, changed, check, head, taken_over

PATH = "tasks/t-1.yaml"
EDITOR = b"# yaml-language-server: $schema=https://example.org/task.json\n"


def refused(values, data: bytes = b"title: x\n", kind: type[WrongFile] = WrongFile) -> list[str]:
    with pytest.raises(kind) as raised:
        changed(PATH, data, values)
    return [str(problem) for problem in raised.value.problems]


def test_a_new_file_reads_as_its_keys_were_given():
    given = {"title": "Fix it", "priority": "high", "timeout": "90m", "review": "required", "labels": ("a", "b c")}
    data = changed(PATH, EDITOR, given)
    assert data.startswith(EDITOR)
    spec = check(PATH, data)
    assert (spec.title, spec.priority.word, spec.timeout_s, spec.review) == ("Fix it", "high", 5400.0, True)
    assert spec.labels == ("a", "b c")
    assert b"timeout: 90m\n" in data


def test_a_new_file_begins_like_the_others_here():
    other = b"# yaml-language-server: $schema=x\n"
    assert head([EDITOR + b"title: a\n", b"title: b\n", EDITOR.replace(b"\n", b"\r\n"), other]) == EDITOR
    assert head([b"title: b\n", b"# a comment\n"]) == b""


@settings(max_examples=60, deadline=None)
@given(strategies.specs)
def test_a_file_that_takes_over_says_all_that_the_hubs_said_but_what_only_a_hub_writes(spec):
    data = taken_over(spec, EDITOR)
    read = loader.load_task(f"tasks/{spec.id}.yaml", data, "b10b")
    where = f"tasks/{spec.id}.yaml"
    assert read == replace(spec, done=False, origin=Origin.FILE, blob="b10b", where=where) or isinstance(read, tuple)


def test_a_key_that_says_so_already_is_not_touched():
    data = b"title:   'x'\nhold: false # no\ntimeout: 60m\n"
    assert changed(PATH, data, {"title": "x", "hold": False, "timeout": "1h", "labels": None}) == data


def test_values_that_the_schema_refuses_are_named_by_their_key():
    assert refused({"timeout": "30"}, kind=NotMeant) == [
        "timeout: expected a duration, got 30, write 30s or 30m",
    ]
    assert refused({"depends_on": ("a", "B C")}, kind=NotMeant)[0].startswith("depends_on[1]: B C is no id")
    assert refused({"title": "\udcff"}, kind=NotMeant) == ["title: is not UTF-8, write it in UTF-8"]


def test_a_wrong_file_is_refused_with_its_places():
    assert refused({"hold": True}, b"titel: x\n")[0] == "tasks/t-1.yaml:1:1: titel: unknown key, did you mean title?"
    assert refused({"hold": True}, b"title: &a x\n")[0].startswith("tasks/t-1.yaml:1:8: the anchor &a")
    assert refused({"title": None}, kind=NotMeant) == ["title: is missing, add title: ..."]


def test_a_file_that_would_grow_too_large_is_refused():
    rest = b"".join(b"# %s\n" % (b"x" * 1000) for _ in range(limits.YAML_BYTES // 1003))
    with pytest.raises((WrongFile, CannotChange)):
        changed(PATH, rest + b"title: x\n", {"description": "y" * 5000})


def test_an_id_that_is_reserved_here_is_refused():
    with pytest.raises(WrongFile, match="the id trunk is reserved"):
        changed("tasks/trunk.yaml", b"", {"title": "x"}, reserved=("trunk",))
