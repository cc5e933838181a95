"""The JSON Schemas that editors get say what our reader does."""

import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from coordinator.files import editors, guard, loader
from coordinator.files.guard import Map, Node, Scalar, Seq

ROOT = Path(__file__).parents[2]
LOADERS = {
    "task": lambda data: loader.load_task("tasks/t-1.yaml", data, "b"),
    "agent": lambda data: loader.load_agent("agents/a.yaml", data, "b"),
    "policy": lambda data: loader.load_policy("agentcom.yaml", data, "b"),
}
_INT = re.compile(r"[-+]?[0-9]+\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")


def as_editors_read(node: Node | None) -> object:
    """Return plain values by the core schema of YAML 1.2, as the language servers of editors do."""
    match node:
        case Map():
            return {key: as_editors_read(value) for key, value in node.items()}
        case Seq():
            return [as_editors_read(value) for value in node]
        case None:
            return None
        case Scalar(plain=False):
            return node.value
    if node.null:
        return None
    if node.value.lower() in ("true", "false"):
        return node.value.lower() == "true"
    if _INT.match(node.value):
        return int(node.value)
    return float(node.value) if _FLOAT.match(node.value) else node.value


def schema(kind: str) -> dict:
    return json.loads((ROOT / "docs/schemas" / editors.file_name(kind)).read_text(encoding="utf-8"))


def mistakes(kind: str, text: str) -> list[str]:
    """Return what a validator says; language servers that know no draft after 7 must say the same."""
    value, rules = as_editors_read(guard.load(text.encode())), schema(kind)
    said, older = (
        [error.message for error in checker(rules).iter_errors(value)]
        for checker in (Draft202012Validator, Draft7Validator)
    )
    assert said == older
    return said


def uncommented(sample: Path) -> str:
    lines = [line.removeprefix("#").removeprefix(" ") for line in sample.read_text(encoding="utf-8").splitlines()[3:]]
    return "\n".join(line for line in lines if not line.endswith("in the same file:")) + "\n"


@pytest.mark.parametrize("kind", editors.KINDS)
def test_the_schemas_in_the_repository_are_made_from_the_models(kind):
    written = (ROOT / "docs/schemas" / editors.file_name(kind)).read_text(encoding="utf-8")
    assert written == editors.document(kind), "run: make schemas"
    Draft202012Validator.check_schema(json.loads(written))


def test_there_is_no_other_schema():
    assert {path.name for path in (ROOT / "docs/schemas").iterdir()} == {
        editors.file_name(kind) for kind in editors.KINDS
    }


@pytest.mark.parametrize("kind", editors.KINDS)
def test_an_editor_can_explain_every_key(kind):
    whole = schema(kind)
    objects = [whole, *whole.get("$defs", {}).values()]
    for one in objects:
        assert one["additionalProperties"] is False
        for key, value in one["properties"].items():
            assert value.get("description"), key
    assert [*whole["properties"]] == [*editors.KINDS[kind][0].model_fields]


@pytest.mark.parametrize(
    ("kind", "info"),
    [("task", "yaml tasks/t-k3m9q2xa.yaml"), ("agent", "yaml agents/loash.yaml"), ("policy", "yaml agentcom.yaml")],
)
def test_the_examples_on_the_page_are_right_for_editors_too(kind, info):
    page = (ROOT / "docs/files.md").read_text(encoding="utf-8")
    (text,) = re.findall(rf"^```{re.escape(info)}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert mistakes(kind, text) == []


@pytest.mark.parametrize(("kind", "folder"), [("task", "tasks"), ("agent", "agents")])
def test_the_samples_begin_with_a_line_for_editors_and_are_right_once_uncommented(kind, folder):
    sample = ROOT / folder / "example.yaml.sample"
    assert sample.read_text(encoding="utf-8").startswith(f"# yaml-language-server: $schema={editors.file_name(kind)}\n")
    text = uncommented(sample)
    assert mistakes(kind, text) == []
    assert not isinstance(LOADERS[kind](text.encode()), tuple)


GOOD = {
    "task": """\
title: 7
title: true
title: "  x  "
title: |  #
  one line
description: 1.10
description:
priority: urgent
priority:
needed_capabilities: [python, 3, 1.10, true]
needed_capabilities: []
needed_capabilities:
depends_on: [t-1, 007, a]
assignee: loash
max_retries: 0
max_retries: 100
timeout: 90s
timeout: 0.5h
timeout: 366d
deadline: 2026-12-01
deadline: 2026-12-01T12:00:00Z
deadline: 2026-12-01 12:00:00.123456789+05:30
deadline: 9999-12-31
not_before: 1970-01-01
review: required
review: none
hold: true
cancel: false
rerun: 1000000
answer: {generation: 0, text: no}
answer:
review_decision: {generation: 2, approve: false}
review_decision: {generation: 2, approve: true, note: 7}
repo: app
base: release/1.10
base: 1.10
kind: note
labels: [a, b]
acceptance: [same, same]
metadata: {anything: [{goes: here}]}
metadata: {}
x-anything: [1, {two: 3}]
x-: 1
""",
    "agent": """\
name: Loash
capabilities: [python]
role: coordinator
kind: person
tokens: []
tokens: [{sha256: 1e1354daca146d7cf2d41085d3e47d42f2937a5c7774bb42cb88b4a12d1b48d2, not_after: 2027-01-01}]
disabled: true
x-team: readers
""",
    "policy": """\
timeouts: {lost_after: 3s, release: 1m}
timeouts:
retries: {max: 0, backoff: 0.1s, backoff_max: 1d}
lanes: {Sprint: ready, "In Arbeit": in_progress}
default_lane: done
repos: {app: {url: "https://example.org/app.git", base: main}}
repos: {app: {url: ../app}}
default_repo: .
limits: {total: 1, repo: {app: 1000000}}
limits: {}
suspend: false
proposals: refuse
root: .
root: .agentcom
root: deep/er
root: ..hidden
x-owner: Ada
""",
}
BAD = {
    "task": """\
title:
title: ""
title: "  "
title: "two\\nlines"
title: [x]
title: {x: y}
description: [x]
priority: High
priority: 1
priority: [high]
needed_capabilities: python
needed_capabilities: [[python]]
needed_capabilities: [{a: b}]
needed_capabilities: [~]
needed_capabilities: [""]
needed_capabilities: [a, a]
needed_capabilities: ["a\\tb"]
depends_on: [T-1]
depends_on: [main]
depends_on: [t-1, t-1]
depends_on: [-a]
depends_on: [1.5]
depends_on: [-1]
assignee: Loash
assignee: ""
max_retries: -1
max_retries: 101
max_retries: 1.5
max_retries: many
max_retries: [1]
max_retries: true
timeout: 90
timeout: 0s
timeout: 0.0h
timeout: 1 m
timeout: 30min
timeout: -1s
timeout: [30m]
deadline: tomorrow
deadline: 2026-12-01T12:00:00
deadline: 2026-13-01
deadline: 2026-12-32
deadline: 2026-12-01T25:00:00Z
deadline: 1969-12-31
deadline: 20261201
not_before: 2026-12-01T10:00Z
review: yes
review: true
hold: yes
hold: 1
cancel: "on"
rerun: 1000001
answer: yes
answer: {text: x}
answer: {generation: 1}
answer: {generation: 1, text: x, more: y}
answer: {generation: -1, text: x}
answer: {generation: 1, text: [x]}
review_decision: {generation: 2, approve: maybe}
repo: a b
repo: -x
repo: ""
kind: bug
labels: a
labels: {a: b}
acceptance: it works
acceptance: [[x]]
metadata: x
metadata: [x]
priorty: high
X-a: b
origin: api
""",
    "agent": """\
name: [x]
capabilities: python
capabilities: [python, python]
role: admin
kind: robot
tokens: abc
tokens: [abc]
tokens: [{}]
tokens: [{sha256: short}]
tokens: [{sha256: 1E1354DACA146D7CF2D41085D3E47D42F2937A5C7774BB42CB88B4A12D1B48D2}]
tokens: [{sha256: 1e1354daca146d7cf2d41085d3e47d42f2937a5c7774bb42cb88b4a12d1b48d2, more: x}]
disabled: no
token: x
""",
    "policy": """\
timeouts: 3s
timeouts: {accept: 60}
timeouts: {lost: 3s}
retries: 3
retries: {max: -1}
retries: {max: 101}
lanes: [Sprint]
lanes: {Sprint: redy}
lanes: {Sprint: [ready]}
default_lane: foo
repos: [app]
repos: {app: x}
repos: {app: {}}
repos: {app: {url: x, uri: y}}
default_repo: a b
limits: {total: 0}
limits: {total: 1000001}
limits: {repo: {app: x}}
limits: {repo: [app]}
suspend: maybe
proposals: no
root: /etc
root: ../x
root: a/../b
root: a//b
root: a/
root: .git
root: .git/x
root: "a\\\\b"
root: ""
suspended: true
""",
}


def examples(table: dict[str, str]) -> list[tuple[str, str]]:
    found = []
    for kind, lines in table.items():
        for example in re.split(r"\n(?! )", lines.rstrip()):
            named = "" if kind != "task" or example.startswith("title:") else "title: x\n"
            found.append((kind, f"{named}{example}\n"))
    return found


@pytest.mark.parametrize(("kind", "text"), examples(GOOD))
def test_what_the_schema_lets_pass_our_reader_takes(kind, text):
    read = LOADERS[kind](text.encode())
    assert not isinstance(read, tuple), read
    assert mistakes(kind, text) == []


@pytest.mark.parametrize(("kind", "text"), examples(BAD))
def test_what_the_schema_marks_our_reader_refuses(kind, text):
    assert isinstance(LOADERS[kind](text.encode()), tuple)
    assert mistakes(kind, text) != []


@pytest.mark.parametrize("line", ["timeout: 367d", "deadline: 2026-02-30", "metadata: {password: hunter2}"])
def test_the_last_word_is_our_readers(line):
    text = f"title: x\n{line}\n"
    assert mistakes("task", text) == []
    assert isinstance(LOADERS["task"](text.encode()), tuple)


@pytest.mark.parametrize("line", ['max_retries: "2"', 'hold: "true"'])
def test_an_unusual_spelling_that_our_reader_takes_is_marked(line):
    text = f"title: x\n{line}\n"
    assert not isinstance(LOADERS["task"](text.encode()), tuple)
    assert mistakes("task", text) != []
