"""Hypothesis strategies for YAML files as people, editors and enemies leave them.

Every strategy gives the bytes or texts that a test reads, so that what failed once can be written down.
"""

from hypothesis import strategies as st

from coordinator.files import schema


def lines_of(text: str) -> list[str]:
    """Return the lines of a block of text, one entry a line, blanks kept."""
    return text.strip("\n").split("\n")


#: Characters that some reader somewhere takes for something else.
ODD = [
    *"\x00\x07\x0b\x0c\x1b\x7f\x85\xa0\xad\u200b\u2028\u2029\u202e\u3000\ufeff\ufffe\ufffd",
    *"\u0130\u00df\u0e33\u05d0\uac00\ue000\U0001f680\U000e0001",
    "e\u0301",
    "\U0001f468\u200d\U0001f469",
]
LINE_ENDS = ("\n", "\n", "\n", "\r\n", "\r")

TASK = """\
# yaml-language-server: $schema=task.schema.json
title: Port the parser to the new reader
priority: high                     # the release waits for it
needed_capabilities:
  - python
  - review
depends_on: [t-a1b2c3d4, t-k3m9q2xa]
assignee: loash
max_retries: 2
timeout: 30m
not_before: 2026-11-30T08:00:00Z
deadline: 2026-12-01
review: required
repo: app
base: main
kind: code
labels: [parser, "release 2"]
answer: {generation: 2, text: Use the second one.}
review_decision:
  generation: 2
  approve: true
  note: 'it''s fine'
acceptance:
  - the file holds a 7
metadata:
  ticket: APP-7
  deep: {a: [1, 2.50, {b: ~}]}
x-team: readers
hold: false
rerun: 1
description: |
  First line.

    - indented # no comment
  Last line.
"""
AGENT = """\
name: Loash
capabilities: [python, review]
role: agent
kind: agent
tokens:
  - sha256: 1e1354daca146d7cf2d41085d3e47d42f2937a5c7774bb42cb88b4a12d1b48d2
    prefix: ac_z1TA1
    not_after: 2027-01-01
disabled: false
x-note: "kept"
"""
POLICY = """\
timeouts:
  lost_after: 120s      # an agent that vanished keeps its task so long
  attempt: 2h
  stuck: 5m
retries: {max: 2, backoff: 10s, backoff_max: 10m}
default_lane: draft
suspend: false
lanes: {Soon: ready, "In Arbeit": in progress}
limits: {total: 8, repo: {app: 1}}
repos: {app: {url: "https://example.org/app.git", base: main}}
default_repo: app
"""
TEMPLATES = {"task": TASK, "agent": AGENT, "policy": POLICY}
_MODELS = {"task": schema.TaskFile, "agent": schema.AgentFile, "policy": schema.PolicyFile}

_SCALARS = [
    *r"""
no 012 12:30 ~ null true True yes 0x10 1e3 .inf -1 1_000 1.10 7 high python t-a1b2c3d4 main 30m 1h30m 0s 1s9 1.5h 366d
2026-12-01 2026-13-01 2026-12-01T12:00:00Z 9999-12-31 9999-12-31T23:59:59-23:59 0001-01-01 code required 367d ٣ ² ac_
&a *a !x !!python/object:os.system !!binary << | > |2- |+ >- ? - : , # #x ' " '' "" "\ud800" "\x00" "open 'open a\
[] {} [a] {a} {a:b} [a,b [a {a: ]] }} [[[[[[[[[[[[[[[[[[[[ --- ... %TAG %YAML @x `x` ``` <<<<<<< ======= >>>>>>>
"\U0001f680\t" https://u:p@example.org/a?b=c#d 99999999999999999999
""".split(),
    *lines_of("""
a: b
a #b
{a: b}
{generation: 1, text: x}
{url: x}
[1, [2, {a: b}]]
{? a : b}
[a: b]
- - a
-----BEGIN PRIVATE KEY-----

"""),
    "x\x85y",
    "x\u2028y",
    "sk-ant-" + "a1" * 20,
    "ghp_" + "a1B" * 15,
    "x" * 201,
    "x" * 301,
    "9" * 401,
]
_scalars = st.one_of(
    st.sampled_from(_SCALARS),
    st.sampled_from(_SCALARS),
    st.text(max_size=12),
    st.text("[]{}:-?!&*|>'\"% \n\tab#,~<", max_size=12),
    st.sampled_from(ODD),
)
_PREFIXES = ("", "", "", "", "&a ", "!x ", "!!str ", "? ", "- ", "*a ")
_flow = st.recursive(
    st.builds("{}{}".format, st.sampled_from(_PREFIXES), _scalars),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda words: f"[{', '.join(words)}]"),
        st.lists(st.tuples(_scalars, inner), max_size=3).map(
            lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"
        ),
    ),
    max_leaves=5,
)
_KEYS = {kind: [*model.model_fields, "x-a", "titel", "token", "password", "<<"] for kind, model in _MODELS.items()}
#: What is written as often as it fits below a limit.
_REPEATED = [
    *(
        "[",
        "{a: ",
        "- ",
        "? ",
        "&a ",
        "*a ",
        "!x ",
        "' \"",
        "''",
        ",a",
        "a: b, ",
        ": }]",
        "- a:",
        "%TAG ",
        "sk-",
        "\\",
        "x: 1\n",
    ),
    *("|\n ", ">\n ", "#\n", "\t ", "\n", " \r", "---\n", "\u2028", "\ufeff", "\x85", "- - - a:\n", "key\n", '"', "x"),
]
_SIZES = (2, 15, 16, 17, 120, 2_000, 30_000, 262_144)


def _key_lines(kind: str) -> st.SearchStrategy[str]:
    value = st.one_of(_scalars, _flow, st.builds("\n  - {}\n  - {}".format, _flow, _scalars))
    line = st.builds(
        "{}{}: {}".format, st.sampled_from(["", "", "", "", " ", "  "]), st.sampled_from(_KEYS[kind]), value
    )
    head = {"task": ["title: x\n", "title: x\n", ""], "agent": [""], "policy": [""]}[kind]
    return st.builds("{}{}\n".format, st.sampled_from(head), st.lists(line, max_size=5).map("\n".join))


@st.composite
def mutated(draw: st.DrawFn, text: str, pieces: st.SearchStrategy[str]) -> str:
    """Spoil a good text: lines go, come twice, change places or indentation, or get something put into them."""
    lines = text.splitlines(keepends=True)
    steps = st.lists(
        st.tuples(st.sampled_from("delete double swap indent insert cut join line".split()), PLACES, pieces)
    )
    for how, at, piece in draw(steps.filter(bool)):
        if not lines:
            break
        number, column = at % len(lines), at // 7
        line = lines[number]
        column = column % (len(line) + 1)
        match how:
            case "delete":
                del lines[number]
            case "double":
                lines.insert(number, line)
            case "swap":
                lines[number], lines[number - 1] = lines[number - 1], line
            case "indent":
                lines[number] = ("  " + line) if column % 3 else ("\t" + line if column % 2 else line.lstrip())
            case "insert":
                lines[number] = line[:column] + piece + line[column:]
            case "cut":
                lines[number] = line[:column]
            case "join":
                lines[number] = line.rstrip("\n")
            case "line":
                lines.insert(number, piece + "\n")
    return "".join(lines)


PLACES = st.integers(0, 9_999)


def _hostile(line: str, count: int, before: str) -> str:
    return before + line * min(count, max(1, 262_144 // len(line.encode())))


def encoded(text: str, end: str, mark: bool) -> bytes:
    data = text.replace("\n", end).encode("utf-8", "surrogatepass")
    return (b"\xef\xbb\xbf" if mark else b"") + data


def yaml_files(kind: str) -> st.SearchStrategy[bytes]:
    """Files of one kind (task, agent, policy) as they should never be, and some as they should."""
    texts = st.one_of(
        mutated(TEMPLATES[kind], st.one_of(_scalars, st.sampled_from(_REPEATED))),
        mutated(TEMPLATES[kind], _scalars),
        _key_lines(kind),
        _key_lines(kind),
        _flow,
        st.builds(
            _hostile,
            st.sampled_from(_REPEATED),
            st.sampled_from(_SIZES),
            st.sampled_from(["", "title: ", "a: [", "x: |\n "]),
        ),
    )
    return st.one_of(
        st.builds(encoded, texts, st.sampled_from(LINE_ENDS), st.integers(0, 9).map(lambda n: n == 0)),
        st.builds(encoded, texts, st.sampled_from(LINE_ENDS), st.just(False)),
        st.binary(max_size=80),
    )
